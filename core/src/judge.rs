//! From what came back to a verdict: is the canary worse than what it is compared with?
//!
//! * [`evidence`]: the judge that needs nothing but our own counts, right at every look; its state and its verdict.
//! * [`rules`]: what the user asks of it. [`window`]: what it is fed.
//! * [`report`]: its verdict with every number behind it.
//! * [`hypergeometric`]: how bad events fall on two sides. [`wealth`]: bets on that, over many windows.
//! * [`bounds`]: one side alone, against a limit. [`power`]: what a step could have seen.
//! * [`metrics`]: the other judge: series from a metrics system, by groups and marks.
//! * [`exact`]: numbers that come back from JSON with the same bits.

pub mod bounds;
pub mod evidence;
pub mod exact;
pub mod hypergeometric;
pub mod metrics;
pub mod power;
pub mod report;
pub mod rules;
pub mod wealth;
pub mod window;

use serde::{Deserialize, Serialize};

/// What a judge says about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Nothing speaks against the next step.
    Pass,
    /// The canary does harm: take it back.
    Fail,
    /// Not enough is known, or something looks odd: wait, or ask a person.
    Inconclusive,
}
