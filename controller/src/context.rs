//! The state all handlers share, and who waits for it to change.

use crate::{
    admin::metrics::PROPAGATION,
    clock::{Clock, Now},
    hub::{Hub, PollId, Reply, Wake, answer::Answer, record::Propagated},
    rollouts::{AllWanted, Desks, series::AllSeries, view::View},
    store::{self, Change, Complaint, Sink},
    tally::Tally,
};
use jiff::Timestamp;
use prometheus_client::metrics::histogram::Histogram;
use sluicegate_core::wire::SyncRequest;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{oneshot, watch};
use tracing::info;

/// Everything behind the one lock. It is held for as long as a pure function takes, never across an await.
#[derive(Debug)]
pub struct Inner {
    /// Splits and proxies.
    pub hub: Hub,
    /// Counts.
    pub tally: Tally,
    /// What is wrong in the store.
    pub complaints: Vec<Complaint>,
    /// Rollouts as they stand, by name.
    pub rollouts: BTreeMap<String, View>,
    /// What was counted of those under way, over time.
    pub series: AllSeries,
    /// How often each rollout was promoted and rolled back since the start, by name and phase.
    pub outcomes: BTreeMap<(String, &'static str), u64>,
    /// The store has been read once.
    pub loaded: bool,
    /// This process leads the rollouts; where there are no replicas, always.
    pub leads: bool,
    /// Syncs since the start, and reports, and what the ports refused.
    pub totals: Totals,
    /// How long generations took to reach all proxies.
    pub propagation: Histogram,
    /// Of each split: whether its newest document is in force, and since when that is so.
    accepted: HashMap<String, (bool, Timestamp)>,
    started: Timestamp,
    held: HashMap<PollId, oneshot::Sender<Arc<Answer>>>,
}

/// Counted since the start.
#[derive(Debug, Default, Clone, Copy)]
pub struct Totals {
    /// `POST /v1/sync`.
    pub syncs: u64,
    /// `POST /v1/report`.
    pub reports: u64,
    /// Requests on the proxy port that were refused.
    pub refused: u64,
    /// Times something in the store was found to be wrong.
    pub complaints: u64,
}

/// See the module; cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Mutex<Inner>>,
    /// Ticks whenever a split has reached everybody, or no longer has, or changed.
    settled: Arc<watch::Sender<()>>,
    /// Ticks whenever what people are shown may have changed.
    shown: Arc<watch::Sender<()>>,
    /// Ticks whenever pods may have been deleted.
    deleted: Arc<watch::Sender<()>>,
    /// Rollouts that are wanted.
    wanted: Arc<watch::Sender<AllWanted>>,
    /// True: shutting down; held polls are answered at once.
    closing: Arc<watch::Sender<bool>>,
    /// Tells the moment.
    pub clock: Clock,
}

/// A poll in hand: dropped without an answer (the peer hung up), it is taken off the hub.
#[derive(Debug)]
pub struct Held {
    context: Context,
    id: PollId,
    answer: oneshot::Receiver<Arc<Answer>>,
}

/// What a sync gets.
#[derive(Debug)]
pub enum Synced {
    /// This, at once.
    Answer(Arc<Answer>),
    /// To be waited for.
    Held(Held),
}

impl Inner {
    /// When the Accepted condition of a split last changed.
    pub fn accepted_since(&self, split: &str) -> Timestamp {
        self.accepted.get(split).map_or(self.started, |(_, since)| *since)
    }

    /// Counts a rollout that has got to a phase, if that is an end of one.
    pub fn count_outcome(&mut self, rollout: &str, phase: &'static str) {
        if ["Promoted", "RolledBack"].contains(&phase) {
            *self.outcomes.entry((rollout.to_owned(), phase)).or_default() += 1;
        }
    }

    fn note_accepted(&mut self, now: Timestamp) {
        let refused: HashSet<&str> =
            self.complaints.iter().filter(|c| c.refused).filter_map(|c| c.split.as_deref()).collect();
        for (split, (accepted, since)) in &mut self.accepted {
            if *accepted == refused.contains(split.as_str()) {
                (*accepted, *since) = (!*accepted, now);
            }
        }
        for split in refused {
            if !self.accepted.contains_key(split) {
                self.accepted.insert(split.to_owned(), (false, now));
            }
        }
        let known = |split: &str| self.hub.record(split).is_some();
        self.accepted.retain(|split, (accepted, _)| !*accepted || known(split));
    }
}

impl Context {
    /// Nothing known yet.
    pub fn new(instance: u64, report: Duration, clock: Clock) -> Self {
        let inner = Inner {
            hub: Hub::new(instance, report),
            tally: Tally::default(),
            complaints: Vec::new(),
            rollouts: BTreeMap::new(),
            series: AllSeries::default(),
            outcomes: BTreeMap::new(),
            loaded: false,
            leads: true,
            totals: Totals::default(),
            propagation: Histogram::new(PROPAGATION),
            accepted: HashMap::new(),
            started: clock.now().wall,
            held: HashMap::new(),
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            settled: Arc::new(watch::Sender::new(())),
            shown: Arc::new(watch::Sender::new(())),
            deleted: Arc::new(watch::Sender::new(())),
            wanted: Arc::new(watch::Sender::new(AllWanted::new())),
            closing: Arc::new(watch::Sender::new(false)),
            clock,
        }
    }

    /// The lock. A panic under it is a bug that one request has seen; the others go on.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a sync.
    pub fn sync(&self, request: SyncRequest, now: Now) -> Synced {
        let mut inner = self.lock();
        inner.totals.syncs += 1;
        if request.cursor.is_some_and(|cursor| cursor.instance != inner.hub.cursor().instance) {
            inner.tally.meet(request.proxy.epoch, now.at);
        }
        let reply = inner.hub.sync(request, now);
        let synced = match reply {
            Reply::Answer(answer) => Synced::Answer(answer),
            Reply::Held(id) => {
                let (sender, answer) = oneshot::channel();
                inner.held.insert(id, sender);
                Synced::Held(Held { context: self.clone(), id, answer })
            }
        };
        self.announce(inner);
        synced
    }

    /// Time has passed.
    pub fn tick(&self, now: Now) {
        let mut inner = self.lock();
        inner.hub.tick(now);
        inner.tally.tick(now.at);
        let Inner { series, rollouts, tally, .. } = &mut *inner;
        series.tick(rollouts, tally, now);
        self.announce(inner);
    }

    /// Tells those who wait what has reached everybody.
    pub fn announce(&self, mut inner: MutexGuard<'_, Inner>) {
        let propagated = inner.hub.take_propagated();
        propagated.iter().for_each(|p| inner.propagation.observe(p.took.as_secs_f64()));
        drop(inner);
        for Propagated { split, generation, proxies, took } in propagated {
            info!(split, generation, proxies, ms = took.as_secs_f64() * 1e3, "weights acked");
        }
        self.settled.send_replace(());
        self.note_shown();
    }

    /// Ticks whenever [`Hub::is_settled`] may have changed.
    pub fn settled(&self) -> watch::Receiver<()> {
        self.settled.subscribe()
    }

    /// Ticks whenever what people are shown may have changed.
    pub fn shown(&self) -> watch::Receiver<()> {
        self.shown.subscribe()
    }

    /// What people are shown may have changed.
    pub fn note_shown(&self) {
        self.shown.send_replace(());
    }

    /// Ticks whenever pods may have been deleted.
    pub fn deleted(&self) -> watch::Receiver<()> {
        self.deleted.subscribe()
    }

    /// Pods may have been deleted: whoever needs them looks at once.
    pub fn note_deleted(&self) {
        self.deleted.send_replace(());
    }

    /// Rollouts that are wanted.
    pub fn wanted(&self) -> watch::Receiver<AllWanted> {
        self.wanted.subscribe()
    }

    /// Before the store is read: what was wanted when the process last ran.
    pub fn remember(&self, wanted: AllWanted) {
        self.wanted.send_replace(wanted);
    }

    /// Turns true when the process is shutting down.
    pub fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    /// Answers all held polls; from now on nothing is held.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }
}

impl Held {
    /// Waits for news, at most this long, and not beyond the end of the process.
    /// `None`: there is nothing to say, which does not happen while the process runs.
    pub async fn wait(mut self, hold: Duration) -> Option<Arc<Answer>> {
        let mut closing = self.context.closing();
        let answer = tokio::select! {
            answer = tokio::time::timeout(hold, &mut self.answer) => answer.ok().and_then(Result::ok),
            _ = closing.wait_for(|closing| *closing) => None,
        };
        if answer.is_some() {
            return answer;
        }
        let now = self.context.clock.now();
        let expired = self.context.lock().hub.expire(self.id, now);
        // If it is not there any more, it was answered in this very moment.
        expired.or_else(|| self.answer.try_recv().ok())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let now = self.context.clock.now();
        let mut inner = self.context.lock();
        inner.held.remove(&self.id);
        inner.hub.close(self.id, now);
    }
}

impl Sink for Context {
    fn publish(&self, changes: Vec<Change>) {
        let now = self.clock.now();
        let mut inner = self.lock();
        for change in &changes {
            inner.accepted.entry(change.name.clone()).or_insert((true, now.wall));
        }
        for Wake { polls, answer } in inner.hub.publish(changes, now) {
            for id in polls {
                if let Some(sender) = inner.held.remove(&id) {
                    // Fails only when the peer hung up meanwhile.
                    let _ = sender.send(Arc::clone(&answer));
                }
            }
        }
        self.announce(inner);
    }

    fn complain(&self, complaints: Vec<Complaint>) {
        let mut inner = self.lock();
        let new = complaints.iter().filter(|c| !inner.complaints.contains(c)).count();
        inner.totals.complaints += new as u64;
        inner.complaints = complaints;
        inner.note_accepted(self.clock.now().wall);
        drop(inner);
        self.note_shown();
    }

    fn rollouts(&self, wanted: AllWanted) {
        self.wanted.send_replace(wanted);
    }

    fn remembered(&self) -> AllWanted {
        self.wanted.borrow().clone()
    }

    fn rival(&self, split: &str) -> Option<u64> {
        self.lock().hub.rival(split)
    }
}

/// What the handlers of the admin port have beside the context.
#[derive(Debug, Clone)]
pub struct Desk {
    /// The shared state.
    pub context: Context,
    /// Who sets weights.
    pub store: store::Handle,
    /// Where orders for rollouts go.
    pub rollouts: Desks,
}
