//! A snapshot made ready to pick from: splits by name and by host. Look-ups cost the same for one split and for
//! thousands.

use crate::{
    name::MAX_HOST,
    snapshot::{Entry, Snapshot},
    split::{Split, SplitError},
};
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// Keys come from the controller only, so nobody can choose them to collide.
type HashMap<K, V> = std::collections::HashMap<K, V, Xxh3DefaultBuilder>;

/// All splits a proxy knows, ready to pick from.
#[derive(Debug, Default)]
pub struct Table {
    splits: Vec<Split>,
    by_name: HashMap<String, usize>,
    by_host: HashMap<String, usize>,
    /// Keyed by what follows the `*`, dot included.
    by_suffix: HashMap<String, usize>,
}

impl Table {
    /// Builds the table; splits that are wrong are left out and returned with the reason.
    pub fn build(snapshot: Snapshot) -> (Self, Vec<(String, SplitError)>) {
        let mut table = Self::default();
        let mut refused = Vec::new();
        for (name, entry) in snapshot.entries {
            let Entry::Live(spec) = entry else { continue };
            match Split::try_from(spec) {
                Ok(split) => table.insert(split),
                Err(why) => refused.push((name, why)),
            }
        }
        (table, refused)
    }

    /// Adds one split. The first split by name keeps a host that two of them list.
    pub fn insert(&mut self, split: Split) {
        let index = self.splits.len();
        for host in &split.hosts {
            match host.strip_prefix('*') {
                Some(suffix) => self.by_suffix.entry(suffix.to_owned()).or_insert(index),
                None => self.by_host.entry(host.clone()).or_insert(index),
            };
        }
        self.by_name.insert(split.name.clone(), index);
        self.splits.push(split);
    }

    /// Index of a split by its name.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Index of the split that serves this `:authority`: exact host first, then the longest wildcard. Port, case and
    /// a trailing dot do not matter.
    pub fn by_authority(&self, authority: &[u8]) -> Option<usize> {
        let mut buffer = [0_u8; MAX_HOST];
        let host = host_of(authority, &mut buffer)?;
        if let Some(index) = self.by_host.get(host) {
            return Some(*index);
        }
        if self.by_suffix.is_empty() {
            return None;
        }
        // `*` stands for one label or more, so a dot at the very start begins no suffix.
        let dots = host.bytes().enumerate().skip(1).filter(|(_, b)| *b == b'.');
        dots.filter_map(|(at, _)| host.get(at..)).find_map(|suffix| self.by_suffix.get(suffix).copied())
    }

    /// A split by index.
    pub fn get(&self, index: usize) -> Option<&Split> {
        self.splits.get(index)
    }

    /// All splits, in order of name.
    pub fn splits(&self) -> &[Split] {
        &self.splits
    }
}

/// The host of an authority in lower case, without port and trailing dot; `None` for what cannot be a host.
fn host_of<'a>(authority: &[u8], buffer: &'a mut [u8; MAX_HOST]) -> Option<&'a str> {
    let end = match authority.first()? {
        b'[' => authority.iter().position(|b| *b == b']')? + 1,
        _ => authority.iter().position(|b| *b == b':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(end)?;
    if !port.is_empty() && !port.starts_with(b":") {
        return None;
    }
    let host = host.strip_suffix(b".").unwrap_or(host);
    let place = buffer.get_mut(..host.len())?;
    place.copy_from_slice(host);
    place.make_ascii_lowercase();
    std::str::from_utf8(place).ok()
}
