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

impl Decision {
    /// This subset, and nothing else to do.
    pub fn plain(subset: usize) -> Self {
        Self { subset, keep: false, issue: None }
    }
}

/// What becomes of a request's subset header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubsetHeader {
    /// It stays as it came.
    Keep,
    /// It says the subset, whatever a client wrote.
    Write,
    /// There must be none.
    Remove,
}

impl Split {
    /// What a door does with the subset header of a request.
    pub fn subset_header(&self, decision: &Decision) -> SubsetHeader {
        match decision.keep {
            true => SubsetHeader::Keep,
            false if decision.subset != self.default || self.write_default => SubsetHeader::Write,
            false => SubsetHeader::Remove,
        }
    }

    /// The value of `set-cookie` on the response, where the decision issues an id.
    pub fn set_cookie(&self, decision: &Decision) -> Option<String> {
        let id = std::str::from_utf8(decision.issue.as_ref()?).ok()?;
        let Chooser::Sticky(Sticky { key: StickyKey::Cookie { name, ttl }, .. }) = &self.chooser else { return None };
        let age = ttl.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
        Some(format!("{name}={id}; Path=/{age}; HttpOnly; SameSite=Lax"))
    }
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
            return Decision::plain(o.subset);
        }
    }
    match &split.chooser {
        Chooser::Even => Decision::plain(memory.even.next(split)),
        Chooser::Random => Decision::plain(split.at(memory.random())),
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
        return Decision::plain(split.at(key::point(&key, sticky.seed)));
    }
    match sticky.key {
        StickyKey::Cookie { .. } => {
            let choice = memory.even.next_choice(split);
            Decision { subset: choice.subset, keep: false, issue: Some(key::issue(choice.point, sticky.seed)) }
        }
        _ => Decision::plain(memory.even.next(split)),
    }
}
