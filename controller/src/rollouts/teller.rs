//! Webhooks that are told what a rollout did. What is to be told is written down with the state, and crossed out when
//! it was told; so a crash repeats a call, with the same idempotency key, and loses none.

use super::job::{Job, Progress};
use crate::webhooks::{self, Answer, Event, Webhook, WebhookPhase};
use serde::{Deserialize, Serialize};
use sluicegate_core::rollout::deploy::{Phase, State};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::Notify;

/// More than this many wait only for a receiver that has long been gone; the oldest are left out.
const MOST: usize = 200;

/// What is still to be told, in order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outbox(VecDeque<Letter>);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Letter {
    to: Webhook,
    event: Event,
}

impl Outbox {
    /// To every webhook of the event's phase.
    pub fn add(&mut self, hooks: &[Webhook], event: &Event) {
        let to = hooks.iter().filter(|hook| hook.phase == event.phase);
        self.0.extend(to.map(|hook| Letter { to: hook.clone(), event: event.clone() }));
        let over = self.0.len().saturating_sub(MOST);
        self.0.drain(..over);
    }

    /// Everything was told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Crosses out the first.
    pub fn cross_out(&mut self) {
        self.0.pop_front();
    }
}

/// The calls that a step from one state to the next makes, but for gates.
pub fn told(before: &State, after: &State) -> impl Iterator<Item = WebhookPhase> {
    let promoted = after.phase == Phase::CleanUp && before.phase != Phase::CleanUp;
    let back = after.phase.is_back() && !before.phase.is_back();
    let moved = before.phase != after.phase;
    [(promoted, WebhookPhase::AfterPromote), (back, WebhookPhase::OnRollback), (moved, WebhookPhase::Notify)]
        .into_iter()
        .filter_map(|(is, phase)| is.then_some(phase))
}

/// Tells what is in the outbox, one call at a time.
#[derive(Debug)]
pub struct Teller {
    wake: Arc<Notify>,
    job: Option<Job<Answer>>,
    /// Why the last call was given up.
    pub trouble: Option<String>,
}

impl Teller {
    /// Tells nothing yet.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { wake, job: None, trouble: None }
    }

    /// True: the first of the outbox is done with, told or given up.
    pub fn turn(&mut self, outbox: &Outbox) -> bool {
        match self.job.take().map(Job::look) {
            Some(Progress::Busy(job)) => {
                self.job = Some(job);
                false
            }
            Some(Progress::Done(answer)) => {
                self.trouble = match answer {
                    Answer::Go => None,
                    Answer::Refused(why) => Some(format!("a webhook refused to be told: {why}")),
                    Answer::Failed(why) => Some(format!("a webhook was not told: {why}")),
                };
                true
            }
            Some(Progress::Lost) => {
                self.trouble = Some("a webhook was not told: the call ended with a panic, which is a bug".to_owned());
                true
            }
            None => {
                let Some(Letter { to, event }) = outbox.0.front().cloned() else { return false };
                self.job = Some(Job::start(&self.wake, async move { webhooks::call(&to, &event).await }));
                false
            }
        }
    }
}
