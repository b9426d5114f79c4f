//! What a step showed: the judges, and the one word each of them ends with.

pub mod metrics;

use serde::{Deserialize, Serialize};

/// What a judge says about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// Go on.
    Pass,
    /// Roll back.
    Fail,
    /// It cannot be told: too little data, or none, or something in between.
    Inconclusive,
}
