//! The state of a rollout, written down before anything follows from it; and what is told of it.

use super::Engine;
use crate::{
    api::accept_rollout::{Deploy, Webhook},
    rollouts::{
        history::{Entry, Said},
        machine::Machine,
        record::Record,
        sight, teller, words,
    },
    webhooks::{Event, SplitWeights, WebhookPhase},
};
use jiff::Timestamp;
use serde_json::json;
use sluicegate_core::rollout::{
    Weights,
    deploy::{By, Phase, Why},
};
use std::path::Path;
use tracing::info;

impl Engine {
    /// Changes what is remembered; only once it is written down it is so.
    pub(super) async fn keep(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), String> {
        let Some(before) = &self.record else { return Ok(()) };
        let mut record = before.clone();
        change(&mut record);
        let live = {
            let inner = self.tools.context.lock();
            sight::live(&inner, record.machine.splits().iter().map(String::as_str))
        };
        record.proxies = if self.is_returning() { live.max(before.proxies) } else { live };
        if let Some(found) = self.spec.borrow().as_ref() {
            record.file.clone_from(&found.file);
        }
        let (from, to) = (words::phase(&before.machine), words::phase(&record.machine));
        if record.machine != before.machine {
            self.note(before, &mut record);
        }
        if let Err(why) = self.tools.records.save(&self.name, &record).await {
            self.doubtful |= why.is_doubtful();
            return Err(why.to_string());
        }
        if from != to {
            info!(rollout = self.name, from, to, "rollout moved");
            self.gates.leave();
            self.tools.context.lock().count_outcome(&self.name, to);
        }
        self.record = Some(record);
        self.saved = self.now();
        Ok(())
    }

    /// Goes on from what was written down, when it is not known whether that was the last that was to be.
    pub(super) async fn settle(&mut self) -> Result<(), String> {
        if self.doubtful {
            let there = self.tools.records.load(&self.name).await.map_err(|why| why.to_string())?;
            // None: it has never been written.
            self.record = there.or(self.record.take());
            self.doubtful = false;
        }
        Ok(())
    }

    /// What a step adds to the history, and whom it is to be told.
    fn note(&self, before: &Record, after: &mut Record) {
        after.run = run(before, &after.machine);
        let at = self.tools.context.clock.now().wall;
        let (from, to) = (words::place(&before.machine), words::place(&after.machine));
        let had = words::weights_by_role(&before.machine);
        let weights = words::weights_by_role(&after.machine).filter(|weights| had.as_ref() != Some(weights));
        if from != to || weights.is_some() {
            let (phase, message) = (words::phase(&after.machine), words::moved(&after.machine));
            let said = by_evidence(before, &after.machine);
            let step = to.1.map(|step| step + 1);
            after.history.push(Entry { step, weights, said, ..Entry::new(at, phase, message) });
        }
        let (Machine::CanaryDeploy { state: old, .. }, Machine::CanaryDeploy { state: new, spec, .. }) =
            (&before.machine, &after.machine)
        else {
            return;
        };
        let hooks: Vec<Webhook> = hooks(spec, &self.tools.folder).collect();
        for phase in teller::told(old, new) {
            let event = event(&self.name, before, &after.machine, phase, 0, at);
            after.outbox.add(&hooks, &event);
        }
    }

    /// Writes down what was decided by the evidence, when a step to `after` was.
    pub(super) async fn judged(&self, after: &Machine) -> Result<(), String> {
        let Some(before) = &self.record else { return Ok(()) };
        let (
            Machine::CanaryDeploy { spec, state: old, evidence, reading, .. },
            Machine::CanaryDeploy { state: new, .. },
        ) = (&before.machine, after)
        else {
            return Ok(());
        };
        let Some(Said { verb: decision, .. }) = by_evidence(before, after) else { return Ok(()) };
        let version = new.rollout.as_ref().map_or("", |rollout| rollout.version.as_str());
        let step = old.phase.step().unwrap_or_default() + 1;
        let judgment = json!({
            "rollout": self.name, "version": version, "step": step,
            "verdict": words::verdict(before.machine.judge()), "dryRun": spec.judging.dry_run,
            "decision": decision, "by": "evidence", "at": self.tools.context.clock.now().wall,
            "evidence": evidence.as_ref().map(|e| e.assess()), "metrics": reading.as_ref().map(|r| &r.judgment),
        });
        // The same version may be rolled out again.
        let name = format!("{}_{version}_{}_{step}_evidence", self.name, before.run);
        self.tools.records.judge(&name, &judgment).await.map_err(|why| why.to_string())
    }
}

/// What the evidence decided by itself on the way from `before` to `after`, and why; `None`: nothing.
fn by_evidence(before: &Record, after: &Machine) -> Option<Said> {
    let (Machine::CanaryDeploy { state: old, evidence, reading, .. }, Machine::CanaryDeploy { state: new, .. }) =
        (&before.machine, after)
    else {
        return None;
    };
    let rollout = new.rollout.as_ref()?;
    let passed = old.rollout.as_ref().map_or(0, |r| r.judged.len()) < rollout.judged.len()
        && rollout.judged.last().is_some_and(|j| j.by == By::Evidence);
    let back = rollout.back.as_ref().filter(|_| old.rollout.as_ref().is_none_or(|r| r.back.is_none()));
    let failed = back.is_some_and(|b| b.why == Why::Verdict);
    if !(failed || passed) {
        return None;
    }
    let counted = evidence.iter().flat_map(|e| e.assess().reasons);
    let measured = reading.iter().flat_map(|r| r.judgment.reasons.iter().cloned());
    Some(Said {
        verb: if failed { "rollback" } else { "continue" }.to_owned(),
        step: old.phase.step().map(|step| step + 1),
        by: "evidence".to_owned(),
        why: counted.chain(measured).collect::<Vec<_>>().join("; "),
        ..Said::default()
    })
}

/// When the run began that `next` belongs to, Unix ms: the moment from which on nothing else was under way.
pub(super) fn run(before: &Record, next: &Machine) -> u64 {
    match (&before.machine, next) {
        (Machine::CanaryDeploy { state: old, .. }, Machine::CanaryDeploy { state: new, .. })
            if !old.phase.is_forward() && new.phase == (Phase::Scale { step: 0 }) =>
        {
            old.entered
        }
        _ => before.run,
    }
}

/// The webhooks of a rollout; relative paths are seen from `folder`.
pub(super) fn hooks<'a>(spec: &'a Deploy, folder: &'a Path) -> impl Iterator<Item = Webhook> + 'a {
    spec.webhooks.iter().map(|hook| hook.clone().seen_from(folder))
}

/// What webhooks are sent of a step from `before` to `next`.
pub(super) fn event(
    name: &str,
    before: &Record,
    next: &Machine,
    phase: WebhookPhase,
    attempt: u32,
    time: Timestamp,
) -> Event {
    let weights = next.desired().map(|desired| desired.weights).unwrap_or_default();
    let weights = next.splits().into_iter().zip(weights);
    let weights =
        weights.map(|(split, Weights { canary, main, baseline })| SplitWeights { split, canary, main, baseline });
    let (version, step, verdict) = match next {
        Machine::CanaryDeploy { state, .. } => (
            state.rollout.as_ref().map_or_else(String::new, |rollout| rollout.version.clone()),
            state.phase.step().and_then(|step| u32::try_from(step + 1).ok()),
            state.phase.step().map(|_| before.machine.judge()),
        ),
        Machine::CanaryTest { spec, .. } => (spec.version.clone(), None, None),
    };
    Event {
        rollout: name.to_owned(),
        run: run(before, next).to_string(),
        phase,
        step,
        version,
        weights: weights.collect(),
        verdict: verdict.map(|verdict| words::verdict(verdict).to_owned()),
        message: Some(words::moved(next)),
        attempt,
        time,
    }
}
