//! Everything a proxy knows: what the poller keeps in shared data and every worker reads.
//!
//! The merge rule is promise 2: an entry only ever gives way to a higher generation, so the order in which answers
//! arrive, and which controller sent them, does not matter.

use crate::{
    spec::SplitSpec,
    wire::{Cursor, SyncAnswer},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// First byte of the encoding; another layout gets another number.
const LAYOUT: u8 = 1;

/// A split, or the memory that there was one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Entry {
    /// In force.
    Live(SplitSpec),
    /// Deleted at this generation; older answers must not bring it back.
    Gone(u64),
}

impl Entry {
    /// The generation of the content, or of its deletion.
    pub fn generation(&self) -> u64 {
        match self {
            Self::Live(split) => split.generation,
            Self::Gone(generation) => *generation,
        }
    }

    /// See [`SplitSpec::digest`]; 0 for a deleted split.
    pub fn digest(&self) -> u32 {
        match self {
            Self::Live(split) => split.digest(),
            Self::Gone(_) => 0,
        }
    }
}

/// Everything a proxy knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// How far in which controller's sequence of changes this is.
    pub cursor: Option<Cursor>,
    /// The controller has been out of reach for longer than `on_loss` allows.
    pub lost: bool,
    /// By split name.
    pub entries: BTreeMap<String, Entry>,
}

/// Why bytes are not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Nothing there, or written by another version of the filter.
    #[error("not a snapshot of layout {LAYOUT}")]
    Layout,
    /// Cut or damaged.
    #[error("snapshot damaged: {0}")]
    Damaged(#[from] postcard::Error),
}

impl Snapshot {
    /// Takes what is newer in the answer. Returns whether any entry changed.
    pub fn merge(&mut self, answer: SyncAnswer) -> bool {
        let mut changed = false;
        let live = answer.splits.into_iter().map(|s| (s.name.clone(), Entry::Live(s)));
        let gone = answer.removed.into_iter().map(|r| (r.name, Entry::Gone(r.generation)));
        for (name, entry) in live.chain(gone) {
            let newer = self.entries.get(&name).is_none_or(|known| known.generation() < entry.generation());
            if newer {
                self.entries.insert(name, entry);
                changed = true;
            }
        }
        let same = self.cursor.filter(|c| c.instance == answer.cursor.instance);
        self.cursor = Some(match same {
            Some(known) if known.seq > answer.cursor.seq => known,
            _ => answer.cursor,
        });
        changed
    }

    /// Bytes for shared data.
    pub fn encode(&self) -> Result<Vec<u8>, DecodeError> {
        let mut bytes = vec![LAYOUT];
        bytes.extend(postcard::to_allocvec(self)?);
        Ok(bytes)
    }

    /// From bytes of shared data. Never panics, whatever they are.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        match bytes.split_first() {
            Some((&LAYOUT, rest)) => Ok(postcard::from_bytes(rest)?),
            _ => Err(DecodeError::Layout),
        }
    }
}
