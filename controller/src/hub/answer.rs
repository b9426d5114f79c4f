//! Answers, serialised once and shared by all polls they are for.

use super::Hub;
use bytes::Bytes;
use sluicegate_core::{
    snapshot::Entry,
    wire::{Cursor, PROTOCOL, Removed, Subscription, SyncAnswer},
};
use std::sync::Arc;

impl Hub {
    /// These splits as they are now.
    pub(super) fn answer(&self, names: &[Arc<str>], seq: u64) -> Bytes {
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
        // Maps with text keys, numbers and text: nothing in the type can fail to be written.
        serde_json::to_vec(&answer).map(Bytes::from).unwrap_or_default()
    }

    /// All there is, deleted splits included: a proxy may still have them.
    pub(super) fn full_answer(&mut self, subscription: &Subscription) -> Bytes {
        let names = self.since(subscription, 0);
        if *subscription != Subscription::Hosts {
            return self.answer(&names, self.seq);
        }
        match &self.full {
            Some((seq, body)) if *seq == self.seq => body.clone(),
            _ => {
                let body = self.answer(&names, self.seq);
                self.full = Some((self.seq, body.clone()));
                body
            }
        }
    }
}
