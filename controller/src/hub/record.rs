//! One split and how far it has spread.

use crate::{clock::Now, store::Change};
use jiff::Timestamp;
use sluicegate_core::{
    snapshot::Entry,
    spec::SplitSpec,
    wire::{Ack, Subscription},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};

/// Generations whose weights are remembered: proxies are not further behind for long.
const PAST: usize = 8;

/// Whether all live proxies that subscribe run the generation in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// There is none.
    Nobody,
    /// Not all of them.
    Partly,
    /// All of them.
    Everywhere,
}

/// A generation has reached every live proxy that subscribes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Propagated {
    /// `namespace/name`.
    pub split: String,
    /// Which.
    pub generation: u64,
    /// How many proxies.
    pub proxies: usize,
    /// Since it was published.
    pub took: Duration,
}

/// One split, live or deleted.
#[derive(Debug)]
pub struct Record {
    /// What is in force.
    pub entry: Entry,
    /// Generation and digest of the entry.
    pub ack: Ack,
    /// Lists hosts, or once did: whoever subscribes to hosts may have it.
    pub hosted: bool,
    /// Of the last change.
    pub seq: u64,
    /// What went before, the newest first, as far as this process published it: generation, digest and weights.
    pub past: VecDeque<(Ack, Vec<(String, u32)>)>,
    /// When this generation began.
    pub began: Timestamp,
    /// When this generation was handed out here for the first time.
    pub published: Now,
    /// Live subscribers that run exactly this.
    pub acked: usize,
    /// The highest generation some proxy runs that was not published here.
    pub rival: u64,
    /// How far it has spread.
    pub spread: Spread,
    /// Since when.
    pub since: Timestamp,
    /// How long it took to reach everybody for the first time.
    pub took: Option<Duration>,
}

impl Record {
    /// A generation that was just published.
    pub fn new(change: Change, seq: u64, rival: u64, now: Now) -> Self {
        Self {
            ack: Ack(change.entry.generation(), change.entry.digest()),
            entry: change.entry,
            hosted: change.hosted,
            past: VecDeque::new(),
            began: change.since,
            seq,
            published: now,
            acked: 0,
            rival,
            spread: Spread::Nobody,
            since: now.wall,
            took: None,
        }
    }

    /// Of the content, or of its deletion.
    pub fn generation(&self) -> u64 {
        self.ack.0
    }

    /// Takes over what is known of the generations before.
    pub fn follow(&mut self, before: Self) {
        self.past = before.past;
        if let Entry::Live(spec) = before.entry {
            self.past.push_front((before.ack, weights(&spec)));
        }
        self.past.truncate(PAST);
    }

    /// The weights of what a proxy says it runs; `None`: this process does not know them.
    pub fn weights_of(&self, ack: Ack) -> Option<Vec<(String, u32)>> {
        match &self.entry {
            Entry::Live(spec) if ack == self.ack => Some(weights(spec)),
            _ => self.past.iter().find(|(past, _)| *past == ack).map(|(_, weights)| weights.clone()),
        }
    }

    /// Whether somebody with this subscription is to have this split.
    pub fn is_for(&self, name: &str, subscription: &Subscription) -> bool {
        match subscription {
            Subscription::Split(wanted) => wanted == name,
            Subscription::Hosts => self.hosted,
        }
    }

    /// Takes notice of an ack.
    pub fn heed(&mut self, ack: Ack) {
        if ack != self.ack && ack.0 >= self.ack.0 {
            self.rival = self.rival.max(ack.0);
        }
    }

    /// Compares with how many live subscribers there are.
    pub fn settle(&mut self, name: &Arc<str>, live: usize, now: Now) -> Option<Propagated> {
        let spread = match live {
            0 => Spread::Nobody,
            _ if self.acked == live => Spread::Everywhere,
            _ => Spread::Partly,
        };
        if spread != self.spread {
            (self.spread, self.since) = (spread, now.wall);
        }
        if spread != Spread::Everywhere || self.took.is_some() {
            return None;
        }
        let took = now.at.saturating_sub(self.published.at);
        self.took = Some(took);
        Some(Propagated { split: name.to_string(), generation: self.generation(), proxies: live, took })
    }
}

fn weights(spec: &SplitSpec) -> Vec<(String, u32)> {
    spec.subsets.iter().map(|subset| (subset.name.clone(), subset.weight)).collect()
}
