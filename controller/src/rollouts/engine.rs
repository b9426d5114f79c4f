//! One rollout's task: looks, steps the machine, writes its state down, carries out its effects.
//!
//! * [`gone`]: what users deleted under it.
//! * [`orders`]: what persons say to it.
//! * [`weigh`]: the weight they give to a CanaryTest.
//! * [`keep`]: its state, written down, and what is told of it.

pub mod gone;
pub mod keep;
pub mod orders;
pub mod weigh;

use super::{
    Found, Wanted,
    gates::{self, Gate, Gates},
    hands::Hands,
    machine::Machine,
    reach::Probing,
    readings::Readings,
    record::{Record, Records},
    sight,
    teller::Teller,
    view::View,
    windows::Windows,
    words,
};
use crate::{
    context::Context,
    store,
    workloads::{Care, Keeper, Role, Target},
};
use orders::Order;
use sluicegate_core::{
    latency::Histogram,
    rollout::{Observation, desired::Effect, probe::Reach},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{Notify, mpsc, watch};
use tracing::{info, warn};

/// A state that cannot be read is tried again this often.
const AGAIN: Duration = Duration::from_secs(5);
/// Weights that could not be published are tried again after so long.
const AGAIN_WEIGH: Duration = Duration::from_secs(2);
/// How often it looks around when nothing wakes it.
const TURN: Duration = Duration::from_millis(250);
/// Evidence is written down this often at first, so that a crash loses no more of it …
const SAVE: Duration = Duration::from_secs(2);
/// … and in a long step less often, up to this; a crash loses at most an eighth of a step's.
const SAVE_LATE: Duration = Duration::from_secs(30);
/// After a restart proxies have so long to come back before those that do not are taken for gone.
const RETURN: Duration = Duration::from_secs(30);
/// Proxies flush what they counted once a second; one more for it to arrive.
const FLUSH: Duration = Duration::from_secs(2);
/// More phases than any rollout passes without waiting for something.
const PHASES: usize = 16;

/// Everything an engine works with.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The shared state.
    pub context: Context,
    /// Who publishes weights.
    pub store: store::Handle,
    /// Where states and judgments are written down.
    pub records: Records,
    /// What relative paths in documents are seen from.
    pub folder: PathBuf,
    /// Who looks after pods.
    pub keeper: Keeper,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    name: String,
    tools: Tools,
    spec: watch::Receiver<Option<Found>>,
    orders: mpsc::Receiver<Order>,
    record: Option<Record>,
    wake: Arc<Notify>,
    hands: Hands,
    gates: Gates,
    teller: Teller,
    readings: Readings,
    windows: Windows,
    probing: Probing,
    /// What the proxies say of the probe under way.
    reach: Option<Reach>,
    /// Until then proxies may still be on their way back.
    returning: Option<Duration>,
    /// Of the object as it was when this turn began.
    generation: Option<i64>,
    /// What went wrong in this turn.
    trouble: Option<String>,
    /// A state may have been written down, or not.
    doubtful: bool,
    /// Why weights could not be published, and when it is tried again.
    weighed: Option<String>,
    weigh_again: Duration,
    saved: Duration,
}

impl Engine {
    /// Not yet running.
    pub fn new(
        name: String,
        tools: Tools,
        spec: watch::Receiver<Option<Found>>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        let wake = Arc::new(Notify::new());
        Self {
            hands: Hands::new(name.clone(), Arc::clone(&wake)),
            gates: Gates::new(Arc::clone(&wake)),
            teller: Teller::new(Arc::clone(&wake)),
            readings: Readings::new(Arc::clone(&wake)),
            windows: Windows::default(),
            probing: Probing::default(),
            reach: None,
            name,
            tools,
            spec,
            orders,
            record: None,
            wake,
            returning: None,
            generation: None,
            trouble: None,
            doubtful: false,
            weighed: None,
            weigh_again: Duration::ZERO,
            saved: Duration::ZERO,
        }
    }

    /// Until the rollout is gone or the process closes.
    pub async fn run(mut self) {
        let mut closing = self.tools.context.closing();
        loop {
            match self.tools.records.load(&self.name).await {
                Ok(record) => {
                    self.record = record;
                    break;
                }
                Err(why) => {
                    // Going on without would begin anew under traffic.
                    warn!(rollout = self.name, %why, "rollout stands still");
                    self.trouble = Some(why.to_string());
                    self.publish();
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN) => {}
                        _ = closing.wait_for(|closing| *closing) => return,
                    }
                }
            }
        }
        self.returning = self.record.as_ref().map(|_| self.now() + RETURN);
        let mut settled = self.tools.context.settled();
        let mut deleted = self.tools.context.deleted();
        loop {
            // What is cut off here is begun again after the restart: states are written in one piece, effects repeat.
            tokio::select! {
                () = self.turn() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            if self.is_over() {
                return self.forget().await;
            }
            let acks = self.record.as_ref().is_some_and(|record| record.machine.waits_for_acks());
            let order = tokio::select! {
                () = tokio::time::sleep(TURN) => None,
                () = self.wake.notified() => None,
                changed = settled.changed(), if acks => if changed.is_err() { return } else { None },
                changed = deleted.changed() => {
                    if changed.is_err() { return }
                    self.hands.look_soon();
                    None
                },
                changed = self.spec.changed() => if changed.is_err() { return } else { None },
                Some(order) = self.orders.recv() => Some(order),
                _ = closing.wait_for(|closing| *closing) => return,
            };
            if let Some(order) = order {
                self.obey(order).await;
            }
        }
    }

    fn is_over(&self) -> bool {
        match &self.record {
            // Not while a split could not be let go: nobody would be left to do it.
            Some(record) => record.machine.is_gone() && self.trouble.is_none() && record.outbox.is_empty(),
            None => self.spec.borrow().is_none(),
        }
    }

    async fn forget(self) {
        if let Err(why) = self.tools.records.remove(&self.name).await {
            warn!(rollout = self.name, %why, "a rollout that is gone cannot be forgotten");
        }
        self.tools.context.lock().rollouts.remove(&self.name);
        self.tools.context.note_shown();
        info!(rollout = self.name, "rollout gone");
    }

    /// Looks, steps as far as it goes, and carries out what follows.
    async fn turn(&mut self) {
        self.trouble = None;
        self.generation = self.spec.borrow().as_ref().and_then(|found| found.generation);
        self.prepare().await;
        // In a cluster a look costs nothing, and users delete pods at any time.
        let often = self.tools.keeper.is_cluster();
        let waiting = self.record.as_ref().map(|record| &record.machine);
        let waiting = waiting.is_none_or(|machine| machine.waits_for_pods() || (often && machine.is_under_way()));
        self.hands.turn(waiting, self.now());
        if self.record.is_some() || self.begin() {
            match self.go_on().await {
                Ok(()) => self.carry_out().await,
                Err(why) => self.trouble = Some(why),
            }
        }
        self.publish();
    }

    async fn go_on(&mut self) -> Result<(), String> {
        self.settle().await?;
        self.own_up().await?;
        self.heed().await?;
        self.observe().await?;
        self.advance().await
    }

    /// Makes sure that somebody looks after the pods.
    async fn prepare(&mut self) {
        let found = self.spec.borrow().as_ref().map(|found| found.wanted.clone());
        let (care, main) = match (&self.record, &found) {
            // A command is whatever the user says now; a Deployment stays the one that the rollout began with.
            (Some(record), Some(wanted)) => {
                let keep = self.tools.keeper.is_cluster() && record.machine.is_under_way();
                (if keep { record.machine.care() } else { Care::of(wanted) }, record.machine.main())
            }
            (Some(record), None) => (record.machine.care(), record.machine.main()),
            // What runs is what was wanted first.
            (None, Some(wanted)) => (Care::of(wanted), Target { version: wanted.version(), replicas: 1 }),
            (None, None) => return,
        };
        self.hands.prepare(&self.tools.keeper, care, main).await;
    }

    /// The first state of a rollout nobody remembers.
    fn begin(&mut self) -> bool {
        let Some(found) = self.spec.borrow().clone() else { return false };
        let Some(main) = &self.hands.pods.main else { return false };
        let running = match &found.wanted {
            // Its own main is made of what is wanted first.
            Wanted::Deploy(deploy) if main.version.is_empty() && deploy.replicas.is_some() => deploy.version.clone(),
            Wanted::Deploy(_) if main.version.is_empty() => {
                self.trouble = Some("main is not there, so there is nothing to roll out against".to_owned());
                return false;
            }
            _ => main.version.clone(),
        };
        let machine = Machine::new(&found.wanted, running, self.wall_ms());
        self.record = Some(Record::new(machine, found.file));
        true
    }

    /// Since the process began.
    fn now(&self) -> Duration {
        self.tools.context.clock.now().at
    }

    /// Unix ms: what states are dated by, since they outlive the process.
    fn wall_ms(&self) -> u64 {
        self.tools.context.clock.now().wall.as_millisecond().max(0) as u64
    }

    fn is_returning(&self) -> bool {
        self.returning.is_some_and(|until| self.now() < until)
    }

    fn seen(&self, record: &Record) -> Observation {
        let expected = if self.is_returning() { record.proxies.max(1) } else { 1 };
        let inner = self.tools.context.lock();
        let splits = record.machine.splits().iter().map(|name| sight::split(&inner, name, expected)).collect();
        drop(inner);
        let [main, baseline, canary] = Role::ALL.map(|role| self.hands.pods.get(role).cloned());
        let mut seen =
            Observation { main, baseline, canary, splits, verdict: record.machine.verdict(), reach: self.reach };
        self.write_off(record, &mut seen);
        seen
    }

    /// Takes in what was counted and what metrics say.
    async fn observe(&mut self) -> Result<(), String> {
        let Some(record) = &mut self.record else { return Ok(()) };
        if let Some(reading) = self.readings.turn(&record.machine, &self.tools.folder, self.tools.context.clock.now()) {
            let machine = record.machine.read(reading);
            return self.keep(|record| record.machine = machine).await;
        }
        if !record.machine.is_compared() {
            self.windows.stop();
            return Ok(());
        }
        let splits = record.machine.splits();
        let wall = self.tools.context.clock.now().wall.as_millisecond().max(0) as u64;
        let Machine::CanaryDeploy { evidence, state, .. } = &mut record.machine else { return Ok(()) };
        let save = Duration::from_millis(state.elapsed(wall) / 8).clamp(SAVE, SAVE_LATE);
        let window = self.windows.take(&self.tools.context, &splits, evidence.as_ref().map(|e| e.rules()));
        if let (Some(window), Some(evidence)) = (window, evidence)
            && let Err(why) = evidence.observe(&window)
        {
            warn!(rollout = self.name, %why, "a window of evidence is left out");
        }
        match self.now().saturating_sub(self.saved) >= save {
            true => self.keep(|_| ()).await,
            false => Ok(()),
        }
    }

    /// Steps the machine as far as it goes; each state is written down before anything follows from it.
    async fn advance(&mut self) -> Result<(), String> {
        for _ in 0..PHASES {
            let Some(record) = &self.record else { return Ok(()) };
            self.reach = self.probing.look(&self.tools.context, &record.machine);
            let (seen, before) = (self.seen(record), self.main_latencies(record));
            let wanted = self.spec.borrow().as_ref().map(|found| found.wanted.clone());
            let next = record.machine.step(wanted.as_ref(), &seen, &before, self.wall_ms());
            let Some(next) = next.map_err(|why| why.to_string())? else { return Ok(()) };
            if !self.may_pass(&next) {
                return Ok(());
            }
            self.judged(&next).await?;
            self.keep(|record| record.machine = next).await?;
        }
        Ok(())
    }

    fn main_latencies(&self, record: &Record) -> Histogram {
        let inner = self.tools.context.lock();
        sight::counts(&inner, record.machine.splits().iter().map(String::as_str), Role::Main).latency
    }

    /// Whether webhooks that are to be asked before this have said yes.
    fn may_pass(&mut self, next: &Machine) -> bool {
        let Some(record) = &self.record else { return true };
        if next.probes().is_some() && record.machine.probes().is_none() && self.is_settling(&record.machine) {
            return false;
        }
        let Machine::CanaryDeploy { spec, state, .. } = next else { return true };
        let Some((phase, step)) = gates::between(&record.machine, next) else { return true };
        let hooks = keep::hooks(spec, &self.tools.folder).filter(|hook| hook.phase == phase).collect();
        let version = state.rollout.as_ref().map_or_else(String::new, |rollout| rollout.version.clone());
        let gate = Gate { phase, step, version, run: keep::run(record, next) };
        // Who is asked about a step is told its weights, not those of the probe before it.
        let next = next.past_probe();
        let event =
            |attempt| keep::event(&self.name, record, &next, phase, attempt, self.tools.context.clock.now().wall);
        self.gates.pass(&gate, hooks, event, self.tools.context.clock.now().at)
    }

    /// Counts of what ran before may still be on their way, and are not to be taken for the new version's.
    fn is_settling(&self, machine: &Machine) -> bool {
        let report = self.tools.context.lock().hub.report_interval();
        self.wall_ms().saturating_sub(machine.entered()) < (report + FLUSH).as_millis() as u64
    }

    /// Makes the world what the state wants. What fails is tried again at the next turn.
    async fn carry_out(&mut self) {
        let Some(record) = self.record.clone() else { return };
        let Ok(desired) = record.machine.desired() else { return };
        let splits = record.machine.splits();
        if desired.weights.is_empty() {
            for split in &splits {
                if let Err(why) = self.tools.store.drive(split.clone(), record.machine.title(), None).await {
                    self.trouble = Some(why.to_string());
                }
            }
        }
        let (mut floor, mut targets) = (None, Vec::new());
        for effect in desired.effects(&self.seen(&record)) {
            match effect {
                Effect::Weigh { .. } if self.now() < self.weigh_again => self.trouble.clone_from(&self.weighed),
                Effect::Weigh { split, weights } => {
                    let Some(split) = splits.get(split) else { continue };
                    let (by, published) = (record.machine.title(), sight::published(weights));
                    match self.tools.store.drive(split.clone(), by, Some(published)).await {
                        Ok(generation) => {
                            info!(rollout = self.name, split, generation, "{}", words::weights(weights));
                        }
                        Err(why) => {
                            self.trouble = Some(why.to_string());
                            (self.weighed, self.weigh_again) = (self.trouble.clone(), self.now() + AGAIN_WEIGH);
                        }
                    }
                }
                Effect::Floor { replicas } => floor = Some(replicas),
                // They would be deleted again.
                Effect::Apply { role, target } if role != Role::Main && target.replicas > 0 && self.is_doomed() => {}
                Effect::Apply { role, target } => targets.push((role, target)),
            }
        }
        self.hands.tell(floor, targets);
        if self.teller.turn(&record.outbox)
            && let Err(why) = self.keep(|record| record.outbox.cross_out()).await
        {
            self.trouble = Some(why);
        }
    }

    fn publish(&self) {
        let found = self.spec.borrow().clone();
        let record = self.record.as_ref();
        let seen = record.map(|record| self.seen(record));
        // Also while nothing could be begun: whoever looks at the object wants to know why.
        let kind = found.as_ref().map(|found| found.wanted.kind().to_owned()).unwrap_or_default();
        let pending = record.and_then(|record| record.machine.pending(found.as_ref().map(|found| &found.wanted)));
        let file = found.map(|found| found.file).or(record.map(|r| r.file.clone())).unwrap_or_default();
        let parts = [&self.hands.trouble, &self.readings.trouble, &self.teller.trouble];
        let trouble = self.trouble.clone().or(self.gates.closed().map(str::to_owned));
        let trouble = trouble.or(parts.into_iter().flatten().next().cloned());
        let now = self.tools.context.clock.now().wall;
        let mut inner = self.tools.context.lock();
        let splits = record.map(|record| record.machine.splits()).unwrap_or_default();
        let acks = splits.iter().map(|split| inner.hub.acked(split));
        let (acked, live) = acks.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let generation = self.generation;
        let name = self.name.clone();
        let mut view = View { kind, name, file, splits, generation, pending, acked, live, trouble, ..View::default() };
        if let (Some(record), Some(seen)) = (record, &seen) {
            view.tell(record, seen, self.gates.waits(), now);
        }
        let before = inner.rollouts.get(&self.name).map(|view| view.conditions.as_slice());
        view.conditions = super::conditions::conditions(&view, before.unwrap_or_default(), now);
        if inner.rollouts.get(&self.name) != Some(&view) {
            inner.rollouts.insert(self.name.clone(), view);
            drop(inner);
            self.tools.context.note_shown();
        }
    }
}
