//! Rollouts, one task for each: what is seen goes into the pure machine of `core::rollout`, its state to the disk, and
//! then its effects are carried out.
//!
//! In: the CanaryDeploys and CanaryTests of the store, pods, acks and counts, what people say. Out: weights, pods,
//! judgments.
//!
//! * [`machine`]: the two machines behind one face, with the evidence. Pure.
//! * [`rules`]: from the user's YAML to the plan and the judge's rules. Pure.
//! * [`record`]: what is remembered of a rollout, safe on disk before any effect of it; [`history`] of it.
//! * [`engine`]: the task. What takes long it has done beside it ([`job`]): pods ([`hands`]), webhooks it asks
//!   ([`gates`]) and tells ([`teller`]), metrics ([`readings`]).
//! * [`sight`]: what the hub and the tally know of a rollout's splits; [`windows`]: what was counted since; [`series`]: over time.
//! * [`view`]: what the admin port shows; [`words`] for people, [`conditions`] for Kubernetes.

pub mod conditions;
pub mod engine;
pub mod gates;
pub mod hands;
pub mod history;
pub mod job;
pub mod machine;
pub mod reach;
pub mod readings;
pub mod record;
pub mod rules;
pub mod series;
pub mod sight;
pub mod teller;
pub mod view;
pub mod windows;
pub mod words;

use crate::api::accept_rollout::{Deploy, Judgment, Test};
use engine::{Engine, Tools, orders::Order};
use record::Files;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tracing::error;

/// What a user wants of one rollout.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// `kind: CanaryDeploy`.
    Deploy(Arc<Deploy>),
    /// `kind: CanaryTest`.
    Test(Arc<Test>),
}

impl Wanted {
    /// Kind and name, as it is called in messages.
    pub fn title(&self) -> String {
        match self {
            Self::Deploy(deploy) => format!("CanaryDeploy {}", deploy.name),
            Self::Test(test) => format!("CanaryTest {}", test.name),
        }
    }

    /// The kind of its document.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Deploy(_) => "CanaryDeploy",
            Self::Test(_) => "CanaryTest",
        }
    }

    /// The version that is wanted.
    pub fn version(&self) -> String {
        match self {
            Self::Deploy(deploy) => deploy.version.clone(),
            Self::Test(test) => test.version.clone(),
        }
    }
}

/// A rollout as it was read, with the file it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What is wanted.
    pub wanted: Wanted,
    /// Its file in the folder.
    pub file: String,
    /// `metadata.generation` of its object, in a cluster.
    pub generation: Option<i64>,
    /// What persons wrote about it, in order of name.
    pub judgments: Vec<Arc<Judgment>>,
}

/// All rollouts that are wanted, by `namespace/name`.
pub type AllWanted = BTreeMap<String, Found>;

/// What the files say was wanted when the process last ran.
pub fn remembered(files: &Files) -> AllWanted {
    // What cannot be read is told by its engine.
    let one = |name: String| Some((name.clone(), files.load(&name).ok().flatten()?.found()));
    files.names().into_iter().filter_map(one).collect()
}

/// Orders wait here while an engine talks to pods; a person does not type faster.
const ORDERS: usize = 16;

/// Where orders for each rollout go.
#[derive(Debug, Clone, Default)]
pub struct Desks(Arc<std::sync::Mutex<HashMap<String, mpsc::Sender<Order>>>>);

impl Desks {
    /// The desk of a rollout.
    pub fn get(&self, name: &str) -> Option<mpsc::Sender<Order>> {
        self.lock().get(name).cloned()
    }

    /// The names of all rollouts.
    pub fn names(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// All are gone.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Order>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Runs all rollouts: begins one for each that is wanted or remembered, until the process closes.
pub async fn run(tools: Tools, desks: Desks) {
    let mut wanted = tools.context.wanted();
    let mut engines = JoinSet::new();
    let mut specs: HashMap<String, watch::Sender<Option<Found>>> = HashMap::new();
    let mut closing = tools.context.closing();
    loop {
        let all = wanted.borrow_and_update().clone();
        // Those that are wanted, those that are remembered, and those that run: of their end they have to hear.
        let names = all.keys().cloned().chain(tools.records.names()).chain(specs.keys().cloned());
        for name in &names.collect::<BTreeSet<_>>() {
            let found = all.get(name).cloned();
            if let Some(told) = specs.get(name) {
                told.send_if_modified(|known| std::mem::replace(known, found.clone()) != found);
                continue;
            }
            let (sender, orders) = mpsc::channel(ORDERS);
            let (told, spec) = watch::channel(found);
            let tools = tools.clone();
            let name = name.clone();
            specs.insert(name.clone(), told);
            desks.lock().insert(name.clone(), sender);
            engines.spawn(async move {
                let engine = Engine::new(name.clone(), tools, spec, orders);
                engine.run().await;
                name
            });
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { break },
            Some(ended) = engines.join_next() => match ended {
                Ok(name) => {
                    specs.remove(&name);
                    desks.lock().remove(&name);
                }
                Err(why) => error!(%why, "a rollout's task ended with a panic, which is a bug; it is begun again at restart"),
            },
            _ = closing.wait_for(|closing| *closing) => break,
        }
    }
    // Each finishes the write it is in.
    while engines.join_next().await.is_some() {}
}
