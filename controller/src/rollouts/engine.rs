//! One rollout's task: looks, steps the machine, writes its state down, carries out its effects.

use super::{
    Found, Wanted,
    machine::Machine,
    record::{Record, Records},
    sight,
    view::{self, View},
};
use crate::{
    context::Context,
    store::{self, Driven},
    workloads::{Care, Keeper, Observed, Role, Target, Workloads, given::Given},
};
use serde_json::json;
use sluicegate_core::{
    counts::Counts,
    judge::window::Window,
    latency::Histogram,
    rollout::{
        Observation,
        command::{Command, Refused},
        deploy::{By, Why},
        desired::Effect,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

/// A state that cannot be read is tried again this often.
const AGAIN: Duration = Duration::from_secs(5);
/// How often it looks around when nothing wakes it.
const TURN: Duration = Duration::from_millis(250);
/// Pods are looked at this often while they are waited for …
const PODS: Duration = Duration::from_millis(500);
/// … and this often otherwise.
const PODS_IDLE: Duration = Duration::from_secs(5);
/// Length of a window of evidence: the proxies report once a second.
const WINDOW: Duration = Duration::from_secs(1);
/// Evidence is written down at least this often; a crash loses no more of it.
const SAVE: Duration = Duration::from_secs(5);
/// After a restart proxies have so long to come back before those that do not are taken for gone.
const RETURN: Duration = Duration::from_secs(30);

/// What a person says to a rollout.
#[derive(Debug)]
pub struct Order {
    /// What.
    pub command: Command,
    /// The step it is about, counting from 0.
    pub about: Option<usize>,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What became of it.
    pub reply: oneshot::Sender<Result<(), OrderError>>,
}

/// Why an order was not carried out. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Not now.
    #[error("{rollout}: {why}")]
    Refused {
        /// Which rollout.
        rollout: String,
        /// Why not.
        why: Refused,
    },
    /// It could not be written down.
    #[error("{0}; nothing has changed")]
    Disk(String),
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    name: String,
    context: Context,
    store: store::Handle,
    records: Records,
    keeper: Keeper,
    spec: watch::Receiver<Option<Found>>,
    orders: mpsc::Receiver<Order>,
    record: Option<Record>,
    workloads: Option<(Care, Arc<dyn Workloads>)>,
    pods: Observed,
    /// When pods are to be looked at again.
    look_at: Duration,
    /// Where the window under way began: when, canary and baseline.
    window: Option<(Duration, Counts, Counts)>,
    /// Until then proxies may still be on their way back.
    returning: Option<Duration>,
    trouble: Option<String>,
    saved: Duration,
}

impl Engine {
    /// Not yet running.
    pub fn new(
        name: String,
        context: Context,
        store: store::Handle,
        records: Records,
        keeper: Keeper,
        spec: watch::Receiver<Option<Found>>,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self {
            name,
            context,
            store,
            records,
            keeper,
            spec,
            orders,
            record: None,
            workloads: None,
            pods: Observed::default(),
            look_at: Duration::ZERO,
            window: None,
            returning: None,
            trouble: None,
            saved: Duration::ZERO,
        }
    }

    /// Until the rollout is gone or the process closes.
    pub async fn run(mut self) {
        let mut closing = self.context.closing();
        loop {
            match self.records.load(&self.name).await {
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
        self.returning = self.record.as_ref().map(|_| self.context.clock.now().at + RETURN);
        let mut settled = self.context.settled();
        loop {
            // What is cut off here is begun again after the restart: states are written in one piece, effects repeat.
            tokio::select! {
                () = self.turn() => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
            // Not while a split could not be let go: nobody would be left to do it.
            let gone = self.record.as_ref().is_some_and(|r| r.machine.is_gone()) && self.trouble.is_none();
            if gone || (self.record.is_none() && self.spec.borrow().is_none()) {
                if let Err(why) = self.records.remove(&self.name).await {
                    warn!(rollout = self.name, %why, "a rollout that is gone cannot be forgotten");
                }
                self.context.lock().rollouts.remove(&self.name);
                info!(rollout = self.name, "rollout gone");
                return;
            }
            let order = tokio::select! {
                () = tokio::time::sleep(TURN) => None,
                changed = settled.changed() => if changed.is_err() { return } else { None },
                changed = self.spec.changed() => if changed.is_err() { return } else { None },
                Some(order) = self.orders.recv() => Some(order),
                _ = closing.wait_for(|closing| *closing) => return,
            };
            if let Some(order) = order {
                self.obey(order).await;
            }
        }
    }

    /// Looks, steps as far as it goes, and carries out what follows.
    async fn turn(&mut self) {
        self.trouble = None;
        let now = self.context.clock.now();
        self.prepare().await;
        if now.at >= self.look_at {
            self.look().await;
        }
        if self.record.is_none() && !self.begin() {
            return self.publish();
        }
        self.take_window(now.at).await;
        for _ in 0..16 {
            match self.advance().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(why) => {
                    self.trouble = Some(why);
                    return self.publish();
                }
            }
        }
        self.carry_out().await;
        self.publish();
    }

    /// Makes sure that somebody looks after the pods.
    async fn prepare(&mut self) {
        let spec = self.spec.borrow().as_ref().map(|found| found.wanted.clone());
        let care = match (&self.record, &spec) {
            // A command is whatever the user says now; a Deployment stays the one that the rollout began with.
            (Some(record), Some(_)) if self.keeper.is_cluster() && record.machine.is_under_way() => {
                record.machine.care()
            }
            (_, Some(wanted)) => Care::of(wanted),
            (Some(record), None) => record.machine.care(),
            (None, None) => return,
        };
        if self.workloads.as_ref().is_some_and(|(known, _)| *known == care) {
            return;
        }
        let workloads: Arc<dyn Workloads> = match self.keeper.workloads(&care) {
            Some(workloads) => workloads,
            None => {
                let given = Given::new();
                // What runs is what was wanted first, or what is remembered.
                let main = match (&self.record, self.spec.borrow().as_ref().map(|f| &f.wanted)) {
                    (Some(record), _) => record.machine.main(),
                    (None, Some(Wanted::Deploy(d))) => Target { version: d.version.clone(), replicas: 1 },
                    _ => Target { version: String::new(), replicas: 1 },
                };
                // It only notes what it is told, and has nothing to fail by.
                let _ = given.apply(&self.name, Role::Main, &main).await;
                Arc::new(given)
            }
        };
        self.workloads = Some((care, workloads));
        self.look_at = Duration::ZERO;
    }

    async fn look(&mut self) {
        let Some((_, workloads)) = self.workloads.clone() else { return };
        let seen = workloads.observe(&self.name, &Role::ALL).await;
        let often = self.record.as_ref().is_none_or(|r| r.machine.waits_for_pods());
        self.look_at = self.context.clock.now().at + if often { PODS } else { PODS_IDLE };
        match seen {
            Ok(pods) => self.pods = pods,
            Err(why) => {
                self.pods = Observed::default();
                self.trouble = Some(why.to_string());
            }
        }
    }

    /// The first state of a rollout nobody remembers.
    fn begin(&mut self) -> bool {
        let Some(found) = self.spec.borrow().clone() else { return false };
        let running = self.pods.main.as_ref().map(|main| main.version.clone());
        if let (Wanted::Deploy(_), None) = (&found.wanted, running.as_deref().filter(|v| !v.is_empty())) {
            self.trouble.get_or_insert_with(|| "main is not there, so there is nothing to roll out against".to_owned());
            return false;
        }
        let now = self.wall_ms();
        let machine = Machine::new(&found.wanted, running.unwrap_or_default(), now);
        self.record = Some(Record { machine, file: found.file, proxies: 0 });
        true
    }

    /// Unix ms: what states are dated by, since they outlive the process.
    fn wall_ms(&self) -> u64 {
        self.context.clock.now().wall.as_millisecond().max(0) as u64
    }

    fn seen(&self, record: &Record) -> Observation {
        let now = self.context.clock.now().at;
        let expected = if self.returning.is_some_and(|until| now < until) { record.proxies.max(1) } else { 1 };
        let inner = self.context.lock();
        let splits = record.machine.splits().iter().map(|name| sight::split(&inner, name, expected)).collect();
        let [main, baseline, canary] = Role::ALL.map(|role| self.pods.get(role).cloned());
        Observation { main, baseline, canary, splits, verdict: record.machine.verdict() }
    }

    async fn take_window(&mut self, now: Duration) {
        let Some(record) = &mut self.record else { return };
        if !record.machine.is_compared() {
            self.window = None;
            return;
        }
        let splits = record.machine.splits();
        let (canary, baseline, missing) = {
            let inner = self.context.lock();
            let counts = |role| sight::counts(&inner, splits.iter().map(String::as_str), role);
            let missing = sight::missing(&inner, splits.iter().map(String::as_str), now);
            (counts(Role::Canary), counts(Role::Baseline), missing)
        };
        let Some((began, canary_then, baseline_then)) = &self.window else {
            self.window = Some((now, canary, baseline));
            return;
        };
        if now.saturating_sub(*began) < WINDOW {
            return;
        }
        let grown = (canary.since(canary_then), baseline.since(baseline_then));
        if let (Machine::CanaryDeploy { evidence: Some(evidence), .. }, (Some(canary), Some(baseline))) =
            (&mut record.machine, grown)
        {
            let window = Window::of(evidence.rules(), &canary, &baseline, missing);
            if let Err(why) = evidence.observe(&window) {
                warn!(rollout = self.name, %why, "a window of evidence is left out");
            }
        }
        self.window = Some((now, canary, baseline));
        if now.saturating_sub(self.saved) >= SAVE {
            let machine = record.machine.clone();
            if let Err(why) = self.keep(machine).await {
                self.trouble = Some(why);
            }
        }
    }

    /// One step of the machine, written down before anything follows from it.
    async fn advance(&mut self) -> Result<bool, String> {
        let Some(record) = self.record.clone() else { return Ok(false) };
        let seen = self.seen(&record);
        let wanted = self.spec.borrow().as_ref().map(|found| found.wanted.clone());
        let now = self.wall_ms();
        let before = self.main_latencies(&record);
        let stepped = record.machine.step(wanted.as_ref(), &seen, &before, now).map_err(|why| why.to_string())?;
        let Some(machine) = stepped else { return Ok(false) };
        self.judged(&record.machine, &machine).await.map_err(|why| why.to_string())?;
        self.keep(machine).await?;
        Ok(true)
    }

    fn main_latencies(&self, record: &Record) -> Histogram {
        let inner = self.context.lock();
        sight::counts(&inner, record.machine.splits().iter().map(String::as_str), Role::Main).latency
    }

    /// Writes a state down; only then is it the state.
    async fn keep(&mut self, machine: Machine) -> Result<(), String> {
        let Some(before) = &self.record else { return Ok(()) };
        let proxies = {
            let inner = self.context.lock();
            sight::live(&inner, machine.splits().iter().map(String::as_str))
        };
        let returning = self.returning.is_some_and(|until| self.context.clock.now().at < until);
        let proxies = if returning { proxies.max(before.proxies) } else { proxies };
        let file = self.spec.borrow().as_ref().map_or_else(|| before.file.clone(), |found| found.file.clone());
        let record = Record { machine, file, proxies };
        self.records.save(&self.name, &record).await.map_err(|why| why.to_string())?;
        let (from, to) = (view::phase(&before.machine), view::phase(&record.machine));
        if from != to {
            info!(rollout = self.name, from, to, "rollout moved");
        }
        self.record = Some(record);
        self.saved = self.context.clock.now().at;
        Ok(())
    }

    /// Keeps the judgment of the evidence, when a step was decided by it.
    async fn judged(&self, before: &Machine, after: &Machine) -> Result<(), super::record::RecordError> {
        let (Machine::CanaryDeploy { state: old, evidence, .. }, Machine::CanaryDeploy { state: new, .. }) =
            (before, after)
        else {
            return Ok(());
        };
        let Some(rollout) = &new.rollout else { return Ok(()) };
        let passed = old.rollout.as_ref().map_or(0, |r| r.judged.len()) < rollout.judged.len();
        let by_evidence = rollout.judged.last().is_some_and(|j| j.by == By::Evidence);
        let back = rollout.back.as_ref().filter(|_| old.rollout.as_ref().is_none_or(|r| r.back.is_none()));
        let failed = back.is_some_and(|b| b.why == Why::Verdict);
        if !(failed || (passed && by_evidence)) {
            return Ok(());
        }
        let step = old.phase.step().unwrap_or_default() + 1;
        let assessment = evidence.as_ref().map(|e| e.assess());
        let judgment = json!({
            "rollout": self.name, "version": rollout.version, "step": step,
            "verdict": if failed { "fail" } else { "pass" },
            "decision": if failed { "rollback" } else { "continue" },
            "by": "evidence", "at": self.context.clock.now().wall, "evidence": assessment,
        });
        self.records.judge(&format!("{}_{}_{step}_evidence", self.name, rollout.version), &judgment).await
    }

    async fn obey(&mut self, order: Order) {
        let Order { command, about, by, reason, reply } = order;
        let done = self.carry_order(command, about, &by, &reason).await;
        match &done {
            Ok(()) => info!(rollout = self.name, ?command, by, reason, "a person said"),
            Err(why) => info!(rollout = self.name, ?command, by, %why, "a person was refused"),
        }
        self.publish();
        // The asker may have gone; what was done stays done.
        let _ = reply.send(done);
    }

    async fn carry_order(
        &mut self,
        command: Command,
        about: Option<usize>,
        by: &str,
        reason: &str,
    ) -> Result<(), OrderError> {
        let refused = |why| OrderError::Refused { rollout: self.name.clone(), why };
        let record = self.record.clone().ok_or_else(|| refused(Refused::Idle))?;
        let (now, ms) = (self.context.clock.now(), self.wall_ms());
        let machine = record.machine.command(command, about, &self.seen(&record), ms).map_err(refused)?;
        if let Machine::CanaryDeploy { state, evidence, .. } = &record.machine {
            let (step, version) =
                (state.phase.step().map(|s| s + 1), state.rollout.as_ref().map(|r| r.version.clone()));
            let judgment = json!({
                "rollout": self.name, "version": version, "step": step, "decision": format!("{command:?}"),
                "by": by, "reason": reason, "at": now.wall, "evidence": evidence.as_ref().map(|e| e.assess()),
            });
            let name = format!("{}_{}_{ms}_{by}", self.name, version.unwrap_or_default());
            self.records.judge(&name, &judgment).await.map_err(|why| OrderError::Disk(why.to_string()))?;
        }
        self.keep(machine).await.map_err(OrderError::Disk)
    }

    /// Makes the world what the state wants. What fails is tried again at the next turn.
    async fn carry_out(&mut self) {
        let Some(record) = self.record.clone() else { return };
        let Ok(desired) = record.machine.desired() else { return };
        let splits = record.machine.splits();
        if desired.weights.is_empty() {
            for split in splits {
                if let Err(why) = self.store.drive(split, None).await {
                    self.trouble = Some(why.to_string());
                }
            }
            return;
        }
        for effect in desired.effects(&self.seen(&record)) {
            let done = match &effect {
                Effect::Weigh { split, weights } => {
                    let Some(split) = splits.get(*split) else { continue };
                    let driven = Driven { by: record.machine.title(), weights: sight::published(*weights) };
                    let done = self.store.drive(split.clone(), Some(driven)).await;
                    done.map(drop).map_err(|why| why.to_string())
                }
                Effect::Apply { role, target: wanted } => {
                    let Some((_, workloads)) = self.workloads.clone() else { continue };
                    self.look_at = Duration::ZERO;
                    let done = workloads.apply(&self.name, *role, wanted).await;
                    done.map_err(|why| why.to_string())
                }
            };
            match done {
                Ok(()) => info!(rollout = self.name, effect = view::effect(&effect), "carried out"),
                Err(why) => self.trouble = Some(why),
            }
        }
    }

    fn publish(&self) {
        let now = self.wall_ms();
        let found = self.spec.borrow().clone();
        let seen = self.record.as_ref().map(|record| self.seen(record));
        let mut inner = self.context.lock();
        let splits = self.record.as_ref().map(|record| record.machine.splits()).unwrap_or_default();
        let acks = splits.iter().map(|split| inner.hub.acked(split));
        let (acked, live) = acks.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let mut view = View { name: self.name.clone(), acked, live, trouble: self.trouble.clone(), ..View::default() };
        view.file = found.map(|found| found.file).or(self.record.as_ref().map(|r| r.file.clone())).unwrap_or_default();
        if let (Some(record), Some(seen)) = (&self.record, &seen) {
            view.tell(&record.machine, seen, now);
        }
        inner.rollouts.insert(self.name.clone(), view);
    }
}
