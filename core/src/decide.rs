//! The decision for one request, the same behind every door (Wasm filter, ext_proc).

use crate::{
    key,
    pick::Even,
    spec::{OverrideSource, StickyKey},
    split::{Chooser, Split, Sticky},
};

/// What a decision may ask of a request. Each call may cost the door a copy, so only what the split needs is asked.
pub trait Request {
    /// First value of a header, as bytes.
    fn header(&mut self, name: &str) -> Option<Vec<u8>>;
    /// Value of the first cookie with this name in any `cookie` header.
    fn cookie(&mut self, name: &str) -> Option<Vec<u8>>;
    /// The client's address as the proxy trusts it, with port.
    fn source_address(&mut self) -> Option<Vec<u8>>;
}

/// What one worker remembers of one split from request to request.
#[derive(Debug, Clone)]
pub struct Memory {
    even: Even,
    random: u64,
}

/// Which subset, and what else to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Index of the subset.
    pub subset: usize,
    /// The header is to stay as it came, because an earlier hop is trusted.
    pub keep: bool,
    /// Id to set as the sticky cookie on the response.
    pub issue: Option<[u8; 19]>,
}

impl Memory {
    /// Begins at a random place.
    pub fn new(seed: u64) -> Self {
        Self { even: Even::new(seed), random: seed }
    }

    /// For weights that just changed: evenness counts from here.
    pub fn rebase(&mut self) {
        self.even.rebase();
    }

    /// A fresh random point: SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        key::mix(self.random)
    }
}

/// Decides one request: an earlier hop's choice if trusted, then overrides, then weights.
pub fn decide(split: &Split, memory: &mut Memory, header: &str, request: &mut impl Request) -> Decision {
    let plain = |subset| Decision { subset, keep: false, issue: None };
    if split.trust_upstream
        && let Some(subset) = request.header(header).and_then(|value| split.index(&value))
    {
        return Decision { subset, keep: true, issue: None };
    }
    for o in &split.overrides {
        let value = match &o.source {
            OverrideSource::Header(name) => request.header(name),
            OverrideSource::Cookie(name) => request.cookie(name),
        };
        if value.is_some_and(|v| v == o.value) {
            return plain(o.subset);
        }
    }
    match &split.chooser {
        Chooser::Even => plain(memory.even.next(split)),
        Chooser::Random => plain(split.at(memory.random())),
        Chooser::Sticky(sticky) => decide_sticky(split, sticky, memory, request),
    }
}

fn decide_sticky(split: &Split, sticky: &Sticky, memory: &mut Memory, request: &mut impl Request) -> Decision {
    let key = match &sticky.key {
        StickyKey::Header(name) => request.header(name),
        StickyKey::Cookie { name, .. } => request.cookie(name),
        StickyKey::SourceAddress => request.source_address().map(|source| key::address(&source).to_vec()),
    };
    if let Some(key) = key.filter(|k| !k.is_empty()) {
        return Decision { subset: split.at(key::point(&key, sticky.seed)), keep: false, issue: None };
    }
    match sticky.key {
        StickyKey::Cookie { .. } => {
            let choice = memory.even.next_choice(split);
            Decision { subset: choice.subset, keep: false, issue: Some(key::issue(choice.point, sticky.seed)) }
        }
        _ => Decision { subset: memory.even.next(split), keep: false, issue: None },
    }
}
