//! One proxy, its acks and whether it is alive.

use super::record::Record;
use crate::clock::Now;
use sluicegate_core::wire::{Abilities, Ack, ProxyId, Subscription};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Acks of one proxy are remembered up to this many.
pub const MAX_ACKS: usize = 65_536;

/// What a proxy said it runs, and since when we know.
#[derive(Debug, Clone, Copy)]
pub struct Acked {
    /// Generation and digest.
    pub ack: Ack,
    /// When it said so first.
    pub at: Duration,
}

/// How what a proxy runs stands to what it should run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Exactly that.
    Acked,
    /// Something older, or nothing yet.
    Behind,
    /// A newer generation than this controller ever published.
    Ahead,
    /// The same generation, but not the same content.
    Conflict,
}

/// One Envoy process.
#[derive(Debug)]
pub struct Proxy {
    /// Names for people.
    pub id: ProxyId,
    /// Of the filter.
    pub version: String,
    /// What this build of the filter can do.
    pub abilities: Abilities,
    /// What it wants to know.
    pub subscription: Subscription,
    /// A cursor before this has not seen what the subscription needs.
    pub needs: u64,
    /// What it runs, by split.
    pub acks: HashMap<Arc<str>, Acked>,
    /// Polls held for it. More than one for a while when its filter is reconfigured or a VM of it died.
    pub open: usize,
    /// When it was first heard of.
    pub first: Now,
    /// When its last sync or report ended.
    pub heard: Now,
    /// When it was found to be lost; `None`: alive.
    pub lost: Option<Duration>,
}

impl Proxy {
    /// Whether it is one of the live subscribers that run exactly this.
    pub fn counts(&self, name: &str, record: &Record) -> bool {
        self.lost.is_none()
            && record.is_for(name, &self.subscription)
            && self.acks.get(name).is_some_and(|known| known.ack == record.ack)
    }

    /// How what it runs stands to what it should run.
    pub fn standing(&self, name: &str, record: &Record) -> Standing {
        match self.acks.get(name).map(|known| known.ack) {
            Some(ack) if ack == record.ack => Standing::Acked,
            Some(Ack(generation, _)) if generation > record.ack.0 => Standing::Ahead,
            Some(Ack(generation, _)) if generation == record.ack.0 => Standing::Conflict,
            _ => Standing::Behind,
        }
    }

    /// How long it took from the publication, or from its own beginning if that was later, to its ack.
    pub fn lag(&self, name: &str, record: &Record) -> Option<Duration> {
        let known = self.acks.get(name).filter(|known| known.ack == record.ack)?;
        Some(known.at.saturating_sub(record.published.at.max(self.first.at)))
    }
}
