//! Everything a proxy knows: what the poller keeps in shared data and every worker reads.
//!
//! The merge rule is promise 2: an entry only ever gives way to a higher generation, so the order in which answers
//! arrive, and which controller sent them, does not matter.

use crate::{
    codec::{self, Damaged},
    sorted::Sorted,
    spec::SplitSpec,
    split::Split,
    wire::{Ack, Cursor, SyncAnswer},
};

/// First number of the encoding, unlikely as the start of any text; an incompatible layout gets another.
const LAYOUT: u64 = 0x5301;

/// A split, or the memory that there was one.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// How far in which controller's sequence of changes this is.
    pub cursor: Option<Cursor>,
    /// The controller has been out of reach for longer than `on_loss` allows.
    pub lost: bool,
    /// By split name.
    pub entries: Sorted<String, Entry>,
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

    /// The acks of these splits, as far as they are known.
    pub fn acks<'a>(&self, names: impl Iterator<Item = &'a String>) -> Sorted<String, Ack> {
        let mut acks = Sorted::default();
        for name in names {
            if let Some(entry) = self.entries.get(name) {
                acks.insert(name.clone(), Ack(entry.generation(), entry.digest()));
            }
        }
        acks
    }

    /// Bytes for shared data.
    pub fn encode(&self) -> Vec<u8> {
        codec::message(LAYOUT, |to| {
            Cursor::write(to, self.cursor);
            to.number(self.lost.into());
            to.list(self.entries.iter(), |w, (name, entry)| match entry {
                Entry::Live(split) => {
                    w.number(1);
                    split.write(w);
                }
                Entry::Gone(generation) => {
                    w.number(0);
                    w.number(*generation);
                    w.string(name);
                }
            });
        })
    }

    /// From bytes of shared data. Never panics, whatever they are.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = codec::read_message(LAYOUT, bytes)?;
        let mut snapshot = Self { cursor: Cursor::read(&mut from)?, lost: from.flag()?, ..Self::default() };
        let entries = from.list(|r| {
            Ok(match r.flag()? {
                true => {
                    let split = SplitSpec::read(r)?;
                    (split.name.clone(), Entry::Live(split))
                }
                false => {
                    let generation = r.number()?;
                    (r.string()?, Entry::Gone(generation))
                }
            })
        })?;
        for (name, entry) in entries {
            snapshot.entries.insert(name, entry);
        }
        Ok(snapshot)
    }
}

impl SyncAnswer {
    /// Leaves out the splits that would not do, for one of those never replaces one that does. Returns which, and why.
    pub fn refuse(&mut self) -> Vec<String> {
        let mut refused = Vec::new();
        self.splits.retain(|split| {
            let why = match Split::try_from(split.clone()) {
                Ok(_) if split.generation > 0 => return true,
                // That is the fallback's.
                Ok(_) => "generations begin at 1".to_owned(),
                Err(why) => why.to_string(),
            };
            refused.push(format!("split {} generation {} is refused: {why}", split.name, split.generation));
            false
        });
        refused
    }

    /// The splits it says anything of.
    pub fn names(&self) -> Vec<String> {
        let live = self.splits.iter().map(|s| &s.name);
        live.chain(self.removed.iter().map(|r| &r.name)).cloned().collect()
    }
}
