//! Answers, made once and shared by all polls they are for.

use super::Hub;
use bytes::Bytes;
use sluicegate_core::{
    snapshot::Entry,
    wire::{Cursor, PROTOCOL, Removed, Subscription, SyncAnswer},
};
use std::sync::{Arc, OnceLock};

/// An answer with its bytes, which are made when the first poll needs them.
#[derive(Debug)]
pub struct Answer {
    /// What it says.
    pub message: SyncAnswer,
    compact: OnceLock<Bytes>,
    json: OnceLock<Bytes>,
}

impl Answer {
    fn new(message: SyncAnswer) -> Self {
        Self { message, compact: OnceLock::new(), json: OnceLock::new() }
    }

    /// For filters.
    pub fn compact(&self) -> Bytes {
        self.compact.get_or_init(|| self.message.encode().into()).clone()
    }

    /// For people and tests.
    pub fn json(&self) -> Bytes {
        // Maps with text keys, numbers and text: nothing in the type can fail to be written.
        self.json.get_or_init(|| serde_json::to_vec(&self.message).unwrap_or_default().into()).clone()
    }
}

impl Hub {
    /// These splits as they are now.
    pub(super) fn answer(&self, names: &[Arc<str>], seq: u64) -> Arc<Answer> {
        let cursor = Cursor { instance: self.instance, seq };
        let mut answer =
            SyncAnswer { sluicegate: PROTOCOL, cursor, splits: Vec::new(), removed: Vec::new(), report: self.report };
        for name in names {
            match self.records.get(name).map(|record| &record.entry) {
                Some(Entry::Live(split)) => answer.splits.push(split.clone()),
                Some(Entry::Gone(generation)) => {
                    answer.removed.push(Removed { name: name.to_string(), generation: *generation });
                }
                None => {}
            }
        }
        Arc::new(Answer::new(answer))
    }

    /// All there is, deleted splits included: a proxy may still have them.
    pub(super) fn full_answer(&mut self, subscription: &Subscription) -> Arc<Answer> {
        let names = self.since(subscription, 0);
        if *subscription != Subscription::Hosts {
            return self.answer(&names, self.seq);
        }
        match &self.full {
            Some((seq, answer)) if *seq == self.seq => Arc::clone(answer),
            _ => {
                let answer = self.answer(&names, self.seq);
                self.full = Some((self.seq, Arc::clone(&answer)));
                answer
            }
        }
    }
}
