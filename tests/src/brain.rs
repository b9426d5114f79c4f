//! A controller in a few lines, for tests that must decide to the byte what the filter is told: holds polls, answers
//! each with what was published since its cursor, notes every ack. Everything else uses the real controller.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use sluicegate_core::spec::{Assignment, Protocol, SplitSpec, SubsetSpec};
use sluicegate_core::wire::{Ack, Cursor, PROTOCOL, Report, SYNC_PATH, SyncAnswer, SyncRequest};

use crate::fault_controller::{Asked, FaultController, Reply};
use crate::poll;

/// How long a poll is held.
const HOLD: Duration = Duration::from_secs(20);
/// Its instance, as told in every cursor.
const INSTANCE: u64 = 0xb7a1;

/// The running brain.
pub struct Brain {
    /// Its port, and faults to put in front of it.
    pub door: FaultController,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    published: Vec<SplitSpec>,
    acks: BTreeMap<String, Ack>,
    syncs: Vec<SyncRequest>,
    reports: Vec<Report>,
}

impl Brain {
    /// Starts it, knowing nothing yet.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start() -> Result<Self> {
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let asked = Arc::clone(&state);
        Ok(Self { door: FaultController::start(move |request| reply(&asked, request))?, state })
    }

    /// The script that answers as it should, for after a fault.
    pub fn heal(&self) {
        let state = Arc::clone(&self.state);
        self.door.script(move |request| reply(&state, request));
    }

    /// Publishes a split; held polls are answered at once.
    pub fn publish(&self, split: SplitSpec) {
        self.lock(|state| state.published.push(split));
        self.state.1.notify_all();
    }

    /// Publishes and waits for its ack.
    ///
    /// # Errors
    /// When nobody acks it in time.
    pub fn publish_and_wait(&self, split: SplitSpec) -> Result<()> {
        let (name, generation) = (split.name.clone(), split.generation);
        self.publish(split);
        self.wait_ack(&name, generation)
    }

    /// Waits until some proxy acked this generation.
    ///
    /// # Errors
    /// When nobody acks it in time.
    pub fn wait_ack(&self, name: &str, generation: u64) -> Result<()> {
        poll::until(&format!("the ack of {name} generation {generation}"), poll::LONG, || {
            match self.lock(|state| state.acks.get(name).copied()) {
                Some(Ack(acked, _)) if acked == generation => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
    }

    /// All syncs so far.
    #[must_use]
    pub fn syncs(&self) -> Vec<SyncRequest> {
        self.lock(|state| state.syncs.clone())
    }

    /// All reports so far.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.lock(|state| state.reports.clone())
    }

    fn lock<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.state.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn reply(state: &(Mutex<State>, Condvar), request: &Asked) -> Reply {
    let mut known = state.0.lock().unwrap_or_else(PoisonError::into_inner);
    if request.path != SYNC_PATH {
        if let Ok(report) = serde_json::from_slice(&request.body) {
            known.reports.push(report);
        }
        return Reply::ok("content-type: application/json\r\n", "{\"sluicegate\":1}");
    }
    let Ok(sync) = serde_json::from_slice::<SyncRequest>(&request.body) else {
        return Reply::Http(400, String::new(), Vec::new());
    };
    known.acks.extend(sync.acks.clone());
    let since = sync.cursor.filter(|cursor| cursor.instance == INSTANCE).map_or(0, |cursor| cursor.seq as usize);
    let first = sync.cursor.is_none();
    known.syncs.push(sync);
    let waited = state.1.wait_timeout_while(known, HOLD, |state| !first && state.published.len() <= since);
    let (known, _) = waited.unwrap_or_else(PoisonError::into_inner);
    Reply::ok("", answer(known.published.len() as u64, known.published.get(since..).unwrap_or_default()).encode())
}

/// An answer to a sync.
#[must_use]
pub fn answer(seq: u64, splits: &[SplitSpec]) -> SyncAnswer {
    SyncAnswer {
        sluicegate: PROTOCOL,
        cursor: Cursor { instance: INSTANCE, seq },
        splits: splits.to_vec(),
        removed: Vec::new(),
        report: 500,
    }
}

/// An even split `default/NAME` whose first subset is the default.
#[must_use]
pub fn split(name: &str, generation: u64, subsets: &[(&str, u32)]) -> SplitSpec {
    SplitSpec {
        name: format!("default/{name}"),
        generation,
        subsets: subsets
            .iter()
            .map(|(name, weight)| SubsetSpec { name: (*name).to_owned(), weight: *weight })
            .collect(),
        default: subsets.first().map_or_else(String::new, |(name, _)| (*name).to_owned()),
        hosts: Vec::new(),
        assignment: Assignment::Even,
        overrides: Vec::new(),
        trust_upstream: false,
        write_default: false,
        protocol: Protocol::Http,
    }
}
