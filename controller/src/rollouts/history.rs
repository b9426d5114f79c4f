//! What happened to a rollout, for people: the last hundred entries, written down with its state.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

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
    /// The step it was at, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Where it changed weights: by role, in percent, of the first split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<BTreeMap<String, String>>,
    /// Where somebody judged, or the evidence did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

/// What was said to a rollout, by whom and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// `continue`, `rollback`, `pause` …, as it is typed.
    pub verb: String,
    /// The step it was said at, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// Who; `evidence`: nobody had to.
    pub by: String,
    /// Why, as they said; may be empty.
    #[serde(default)]
    pub why: String,
    /// The Judgment among the documents that says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
    /// Why it was not carried out; `None`: it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Entry {
    /// What happened, and nothing more.
    pub fn new(at: Timestamp, phase: &str, message: String) -> Self {
        Self { at, phase: phase.to_owned(), message, step: None, weights: None, said: None }
    }
}

/// In order of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History(VecDeque<Entry>);

impl History {
    /// Adds one.
    pub fn add(&mut self, at: Timestamp, phase: &str, message: String) {
        self.push(Entry::new(at, phase, message));
    }

    /// Adds one with all that is known of it.
    pub fn push(&mut self, entry: Entry) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// All that are known.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }
}
