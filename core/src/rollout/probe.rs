//! The first requests for pods that had none: can the proxies reach them?
//!
//! Pods are ready some time before every proxy has heard of their addresses. So a group that has had no traffic first
//! gets a small weight, its probe, until each proxy has had an answer. A request that finds no upstream then means "not
//! yet", not "bad version": the weight goes back, and the probe is tried again.

use super::{Observation, Weights};
use serde::{Deserialize, Serialize};

/// Weight of a probe, in thousandths of a percent: 1 %.
pub const PROBE: u32 = 1_000;
/// Milliseconds after which a probe that had no request at some proxy is taken for good: with so little traffic, little
/// can fail.
pub const PATIENCE: u64 = 5_000;
/// Milliseconds before the second try; each further try waits twice as long …
const FIRST_WAIT: u64 = 4_000;
/// … up to this.
const LONGEST_WAIT: u64 = 30_000;

/// What the proxies have counted since the probe under way began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Reach {
    /// Every proxy had an answer of each group that is probed.
    pub proved: bool,
    /// Requests that found no upstream.
    pub unreached: u64,
}

/// Tries of a probe, as they are remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tries {
    /// Of the probe under way, those that said "not yet".
    pub failed: u32,
    /// When the first of these began, Unix ms.
    pub since: u64,
    /// Requests that found no upstream, in all probes.
    pub unreached: u64,
}

/// What a probe says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing so far.
    Open,
    /// So many requests found no upstream.
    NotYet(u64),
    /// The pods are reached.
    Reached,
}

impl Tries {
    /// How long the pods are left alone before the next try.
    pub fn wait(&self) -> u64 {
        match self.failed.checked_sub(1) {
            None => 0,
            Some(before) => FIRST_WAIT.saturating_mul(1 << before.min(8)).min(LONGEST_WAIT),
        }
    }

    /// Notes a try that began at `began`.
    pub(super) fn not_yet(&mut self, unreached: u64, began: u64) {
        if self.failed == 0 {
            self.since = began;
        }
        self.failed = self.failed.saturating_add(1);
        self.unreached = self.unreached.saturating_add(unreached);
    }

    /// Notes that the pods are reached.
    pub(super) fn reached(&mut self) {
        self.failed = 0;
    }
}

/// What a probe that is `elapsed` old says; `met`: all proxies run its weights, or are not waited for.
pub(super) fn find(seen: &Observation, met: bool, elapsed: u64) -> Finding {
    match seen.reach {
        Some(reach) if reach.unreached > 0 => Finding::NotYet(reach.unreached),
        _ if !met => Finding::Open,
        // No proxy counts, so none can tell.
        None => Finding::Reached,
        Some(reach) if reach.proved || elapsed >= PATIENCE => Finding::Reached,
        Some(_) => Finding::Open,
    }
}

/// These weights, with a probe's for main when it has none; canary and baseline give it in proportion.
pub(super) fn lend_to_main(weights: Weights) -> Weights {
    let Weights { canary, main, baseline } = weights;
    let others = u64::from(canary) + u64::from(baseline);
    if main > 0 || others < u64::from(PROBE) {
        return weights;
    }
    let from_canary = (u64::from(PROBE) * u64::from(canary) / others) as u32;
    Weights { canary: canary - from_canary, main: PROBE, baseline: baseline - (PROBE - from_canary) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute() {
        let wait = |failed| Tries { failed, ..Tries::default() }.wait();
        assert_eq!([0, 1, 2, 3, 4, u32::MAX].map(wait), [0, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn main_is_lent_a_probe_of_what_the_others_have() {
        let lent = |canary, baseline| lend_to_main(Weights { canary, main: 0, baseline });
        assert_eq!(lent(50_000, 50_000), Weights { canary: 49_500, main: 1_000, baseline: 49_500 });
        assert_eq!(lent(0, 100_000), Weights { canary: 0, main: 1_000, baseline: 99_000 });
        assert_eq!(lent(100_000, 0), Weights { canary: 99_000, main: 1_000, baseline: 0 });
        assert_eq!(lend_to_main(Weights::MAIN), Weights::MAIN);
    }
}
