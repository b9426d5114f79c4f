//! Webhooks that a rollout asks before it goes on. Without their yes it stays where it is, and asks again.

use super::{
    job::{Job, Progress},
    machine::Machine,
};
use crate::webhooks::{self, Answer, Event, Webhook, WebhookPhase};
use sluicegate_core::rollout::deploy::Phase;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// After a no, or no answer, it is asked again.
const AGAIN: Duration = Duration::from_secs(30);

/// A question: what is about to happen, and in which run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Which.
    pub phase: WebhookPhase,
    /// The step it is about, counting from 0.
    pub step: Option<usize>,
    /// The version.
    pub version: String,
    /// Tells one run of a rollout from another.
    pub run: u64,
}

/// Where the questions stand.
#[derive(Debug)]
pub struct Gates {
    wake: Arc<Notify>,
    asked: Option<Asked>,
}

#[derive(Debug)]
struct Asked {
    gate: Gate,
    attempt: u32,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    Waiting(Job<Result<(), String>>),
    Open,
    Closed { why: String, again: Duration },
}

/// The gate between two states; `None`: nobody is to be asked.
pub fn between(before: &Machine, after: &Machine) -> Option<(WebhookPhase, Option<usize>)> {
    let (Machine::CanaryDeploy { state: from, .. }, Machine::CanaryDeploy { state: to, .. }) = (before, after) else {
        return None;
    };
    match (from.phase, to.phase) {
        (Phase::Idle | Phase::Promoted | Phase::RolledBack, Phase::Scale { step: 0 }) => {
            Some((WebhookPhase::BeforeStart, None))
        }
        (Phase::Scale { .. }, Phase::Weigh { step }) => Some((WebhookPhase::BeforeIncrease, Some(step))),
        (Phase::Scale { .. }, Phase::Probe { .. }) => Some((WebhookPhase::BeforeIncrease, Some(0))),
        (Phase::Hold { step }, Phase::Update) => Some((WebhookPhase::BeforePromote, Some(step))),
        _ => None,
    }
}

impl Gates {
    /// Nothing asked.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { wake, asked: None }
    }

    /// Whether the rollout may go on; asks those that are to be asked. `hooks`: of this gate. `event` makes what is sent.
    pub fn pass(&mut self, gate: &Gate, hooks: Vec<Webhook>, event: impl Fn(u32) -> Event, now: Duration) -> bool {
        if hooks.is_empty() {
            return true;
        }
        let before = self.asked.take().filter(|asked| asked.gate == *gate);
        let (attempt, standing) = match before.map(|asked| (asked.attempt, asked.standing)) {
            None => (0, self.ask(hooks, event(0))),
            Some((attempt, Standing::Closed { again, .. })) if now >= again => {
                (attempt + 1, self.ask(hooks, event(attempt + 1)))
            }
            Some((attempt, Standing::Waiting(job))) => {
                let closed = |why| Standing::Closed { why, again: now + AGAIN };
                let standing = match job.look() {
                    Progress::Busy(job) => Standing::Waiting(job),
                    Progress::Done(Ok(())) => Standing::Open,
                    Progress::Done(Err(why)) => closed(why),
                    Progress::Lost => closed("asking ended with a panic, which is a bug".to_owned()),
                };
                (attempt, standing)
            }
            Some(other) => other,
        };
        let open = matches!(standing, Standing::Open);
        self.asked = Some(Asked { gate: gate.clone(), attempt, standing });
        open
    }

    fn ask(&self, hooks: Vec<Webhook>, event: Event) -> Standing {
        Standing::Waiting(Job::start(&self.wake, async move {
            for hook in hooks {
                let host = webhooks::send::host(&hook.url).to_owned();
                match webhooks::call(&hook, &event).await {
                    Answer::Go => {}
                    Answer::Refused(why) => return Err(format!("{host} said no: {why}")),
                    Answer::Failed(why) => return Err(why.to_string()),
                }
            }
            Ok(())
        }))
    }

    /// Nobody is asked any more: the rollout does not want to go on now.
    pub fn leave(&mut self) {
        self.asked = None;
    }

    /// What is waited for, in words.
    pub fn waits(&self) -> Option<String> {
        let Asked { gate, standing, .. } = self.asked.as_ref()?;
        match standing {
            Standing::Waiting(_) => Some(format!("an answer of the {} webhook", gate.phase.name())),
            Standing::Closed { why, .. } => {
                Some(format!("a yes of the {} webhook, asked every {} s: {why}", gate.phase.name(), AGAIN.as_secs()))
            }
            Standing::Open => None,
        }
    }

    /// The no that keeps it, or what went wrong.
    pub fn closed(&self) -> Option<&str> {
        match &self.asked.as_ref()?.standing {
            Standing::Closed { why, .. } => Some(why),
            _ => None,
        }
    }
}
