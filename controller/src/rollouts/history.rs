//! What happened to a rollout, for people: the last hundred entries, written down with its state.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The oldest of more are forgotten.
const MOST: usize = 100;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// The phase it led to.
    pub phase: String,
    /// What happened.
    pub message: String,
}

/// In order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(VecDeque<Entry>);

impl History {
    /// Adds one.
    pub fn add(&mut self, at: Timestamp, phase: &str, message: String) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Entry { at, phase: phase.to_owned(), message });
    }

    /// All that are known.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }
}
