//! What somebody sees of a cluster: followed as it changes, kept when the API server is away.
//!
//! In: what the watches notice. Out: a [`Look`] for the page, and a tick whenever that may be another one.

use crate::{
    admin::{
        look::{About, Access, Look, Looker, MayNot, Shown},
        model::{Problem, Split, Splits},
    },
    clock::Clock,
    kube::{
        cluster::{Cluster, Kind, ask},
        lease::Fence,
        person::NO_CRDS,
        rights::Right,
        shown,
        watch::{self, Noticed},
    },
    rollouts::{series::Known, view::View},
};
use jiff::Timestamp;
use kube::Client;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, watch as channel},
    task::JoinSet,
    time::{sleep, timeout},
};

/// What is shown. Judgments are not: a rollout's history tells of them.
const KINDS: [Kind; 3] = [Kind::TrafficSplit, Kind::CanaryDeploy, Kind::CanaryTest];
/// What is heard of the cluster waits here until it is noted.
const NOTICED: usize = 256;
/// How long the objects may take to be listed before the page is shown without.
const BEGIN: Duration = Duration::from_secs(5);
/// How often the API server is asked whether it is there; a broken watch has it asked at once.
const BEAT: Duration = Duration::from_secs(5);
/// How long it may take to say so.
const PATIENCE: Duration = Duration::from_secs(4);
/// What a rollout waits for is told in seconds.
const TURN: Duration = Duration::from_secs(1);
/// A watch that is refused is tried again well before this: what it was refused for is not so any more.
const REPEATED: Duration = Duration::from_secs(15);

/// See the module. Clones share it.
#[derive(Clone)]
pub(super) struct Sight(Arc<Inner>);

struct Inner {
    client: Client,
    cluster: Cluster,
    clock: Clock,
    looker: Looker,
    seen: Mutex<Seen>,
    changes: channel::Sender<()>,
    closing: channel::Sender<bool>,
    /// A watch broke.
    broke: Notify,
}

#[derive(Default)]
struct Seen {
    splits: BTreeMap<String, Split>,
    rollouts: BTreeMap<String, View>,
    /// Kinds that were listed, or refused.
    begun: BTreeSet<Kind>,
    refused: BTreeMap<Kind, Refusal>,
    lost: Option<(Timestamp, String)>,
    lacks: BTreeMap<String, Vec<Right>>,
}

struct Refusal {
    message: String,
    /// Of the clock.
    at: Duration,
}

impl Sight {
    pub(super) fn new(client: Client, looker: Looker, clock: Clock) -> Self {
        // Its own writes go by no lease, and not by this.
        let fence = Fence::new(clock.clone());
        let cluster = Cluster::new(client.clone(), looker.namespace.clone(), fence);
        Self(Arc::new(Inner {
            client,
            cluster,
            clock,
            looker,
            seen: Mutex::default(),
            changes: channel::Sender::new(()),
            closing: channel::Sender::new(false),
            broke: Notify::new(),
        }))
    }

    /// Begins to look; returns when there is something to show, or why there is not.
    pub(super) async fn begin(&self) {
        let (told, noticed) = mpsc::channel(NOTICED);
        drop(tokio::spawn(self.clone().follow(noticed)));
        drop(tokio::spawn(self.clone().beat(told)));
        drop(tokio::spawn(self.clone().turn()));
        let mut changes = self.changes();
        let begun = changes.wait_for(|()| self.lock().begun.len() == KINDS.len());
        // Later is no matter: the page hears of what comes.
        let _ = timeout(BEGIN, begun).await;
    }

    /// Ends the streams.
    pub(super) fn close(&self) {
        self.0.closing.send_replace(true);
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    pub(super) fn user(&self) -> &str {
        &self.0.looker.user
    }

    /// The namespaces in which something could be done.
    pub(super) fn namespaces(&self) -> BTreeSet<String> {
        let seen = self.lock();
        let names = seen.splits.keys().chain(seen.rollouts.keys());
        let of = names.filter_map(|name| name.split_once('/')).map(|(namespace, _)| namespace.to_owned());
        of.chain(self.0.looker.namespace.clone()).collect()
    }

    /// Whether only one namespace is shown.
    pub(super) fn is_narrow(&self) -> bool {
        self.0.looker.namespace.is_some()
    }

    /// Notes what there is no right to in a namespace.
    pub(super) fn note_lacks(&self, namespace: &str, lacks: Vec<Right>) {
        self.lock().lacks.insert(namespace.to_owned(), lacks);
        self.tick();
    }

    /// All splits, and what is wrong.
    pub(super) fn splits(&self) -> Splits {
        self.lock().all_splits(&self.0.looker.context)
    }

    /// All rollouts.
    pub(super) fn rollouts(&self) -> Vec<View> {
        self.lock().rollouts.values().cloned().collect()
    }

    /// A split as it is shown.
    pub(super) fn split(&self, name: &str) -> Option<Split> {
        self.lock().splits.get(name).cloned()
    }

    /// A rollout as it is shown.
    pub(super) fn rollout(&self, name: &str) -> Option<View> {
        self.lock().rollouts.get(name).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // One insert or one look at a time: a panic elsewhere leaves nothing half done.
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tick(&self) {
        self.0.changes.send_replace(());
    }

    async fn follow(self, mut noticed: mpsc::Receiver<Noticed>) {
        while let Some(one) = noticed.recv().await {
            self.note(one);
            while let Ok(one) = noticed.try_recv() {
                self.note(one);
            }
            self.tick();
        }
    }

    fn note(&self, noticed: Noticed) {
        match noticed {
            Noticed::Changed(Kind::TrafficSplit, name) => {
                let split = self.0.cluster.get(Kind::TrafficSplit, &name).map(|object| shown::split(&object));
                put(&mut self.lock().splits, name, split);
            }
            Noticed::Changed(_, name) => {
                let view = self.view(&name);
                put(&mut self.lock().rollouts, name, view);
            }
            Noticed::Listed(kind) => {
                let mut seen = self.lock();
                seen.begun.insert(kind);
                seen.refused.remove(&kind);
            }
            Noticed::Failed { kind, status: Some(status), verb, why } if (400..500).contains(&status) => {
                let (user, namespace) = (self.user(), self.0.looker.namespace.as_deref());
                let message = match status {
                    403 => {
                        let one = if namespace.is_none() { "; `--namespace NAME` shows one of them" } else { "" };
                        format!("{}{one}", Right { verb, kind }.missing(user, namespace))
                    }
                    404 => NO_CRDS.to_owned(),
                    401 => format!("the API server does not know you any more ({why}); log in again"),
                    _ => why,
                };
                let mut seen = self.lock();
                seen.begun.insert(kind);
                seen.refused.insert(kind, Refusal { message, at: self.0.clock.now().at });
            }
            Noticed::Failed { .. } => self.0.broke.notify_one(),
        }
    }

    fn view(&self, name: &str) -> Option<View> {
        let now = self.0.clock.now().wall;
        let object = |kind| self.0.cluster.get(kind, name).map(|object| shown::rollout(kind, &object, now));
        Kind::ROLLOUTS.into_iter().find_map(object)
    }

    /// Asks the API server again and again whether it is there, and looks at everything anew when it is back: after a
    /// machine slept, its watches may be dead and not know it.
    async fn beat(self, told: mpsc::Sender<Noticed>) {
        let mut watches = JoinSet::new();
        loop {
            if watches.is_empty() {
                for kind in KINDS {
                    watches.spawn(watch::run(self.0.cluster.clone(), kind, told.clone()));
                }
            }
            let asked = timeout(PATIENCE, ask("the API server", self.0.client.apiserver_version())).await;
            let why = match asked {
                Ok(Ok(_)) => None,
                Ok(Err(why)) => Some(why.reason()),
                Err(_) => Some(format!("the API server did not answer within {} s", PATIENCE.as_secs())),
            };
            let lost = why.is_some();
            if self.note_lost(why) && !lost {
                watches.shutdown().await;
                continue;
            }
            self.tick();
            tokio::select! {
                () = sleep(if lost { TURN } else { BEAT }) => {}
                () = self.0.broke.notified(), if !lost => {}
            }
        }
    }

    /// Notes why the API server does not answer, if it does not; true: it did not before.
    fn note_lost(&self, why: Option<String>) -> bool {
        let now = self.0.clock.now();
        let mut seen = self.lock();
        let before = seen.lost.take();
        let since = before.as_ref().map_or(now.wall, |(since, _)| *since);
        seen.lost = why.map(|why| (since, why));
        let lost = seen.lost.is_some();
        seen.refused.retain(|_, refusal| lost || now.at.saturating_sub(refusal.at) < REPEATED);
        before.is_some()
    }

    /// Renews what changes with time alone.
    async fn turn(self) {
        loop {
            sleep(TURN).await;
            let moves =
                |view: &&View| !["", "Idle", "Promoted", "RolledBack", "On", "Off"].contains(&view.phase.as_str());
            let moving: Vec<_> = self.lock().rollouts.values().filter(moves).map(|view| view.name.clone()).collect();
            for name in &moving {
                let view = self.view(name);
                put(&mut self.lock().rollouts, name.clone(), view);
            }
            if !moving.is_empty() {
                self.tick();
            }
        }
    }
}

impl Seen {
    fn all_splits(&self, context: &str) -> Splits {
        let lost = self.lost.iter().map(|(_, why)| problem(context, "Lost", why));
        let refused = self.refused.iter().map(|(kind, refusal)| problem(kind.name(), "Refused", &refusal.message));
        let of_splits = self.splits.values().flat_map(|split| split.problems.clone());
        Splits {
            splits: self.splits.values().cloned().collect(),
            problems: lost.chain(refused).chain(of_splits).collect(),
            missing: Vec::new(),
        }
    }
}

fn put<T>(map: &mut BTreeMap<String, T>, name: String, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(name, value)),
        None => drop(map.remove(&name)),
    }
}

fn problem(file: &str, reason: &str, message: &str) -> Problem {
    Problem {
        file: file.to_owned(),
        line: None,
        column: None,
        split: None,
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

impl Shown for Sight {
    fn look(&self, _: &About, _: Option<Known>) -> Look {
        let seen = self.lock();
        let lacks =
            seen.lacks.iter().flat_map(|(namespace, rights)| rights.iter().map(move |right| (namespace, right)));
        let may_not = |(namespace, right): (&String, &Right)| MayNot {
            namespace: namespace.clone(),
            verbs: right.verbs(),
            why: right.missing(self.user(), Some(namespace)),
        };
        Look {
            now: self.0.clock.now().wall,
            splits: seen.all_splits(&self.0.looker.context),
            rollouts: seen.rollouts.values().cloned().collect(),
            access: Some(Access {
                lost: seen.lost.as_ref().map(|(since, _)| *since),
                may_not: lacks.map(may_not).collect(),
            }),
            // Only a controller knows more.
            ..Look::default()
        }
    }

    fn changes(&self) -> channel::Receiver<()> {
        self.0.changes.subscribe()
    }

    fn closing(&self) -> channel::Receiver<bool> {
        self.0.closing.subscribe()
    }

    fn looker(&self) -> Option<Looker> {
        Some(self.0.looker.clone())
    }
}
