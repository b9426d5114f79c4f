//! Weights that a rollout holds in place of those in the user's file.

use super::{Driven, plan::Source, state::Known};
use crate::api::document::{Meaning, Problem};
use sluicegate_core::{spec::SplitSpec, split::Split};
use std::collections::BTreeMap;

/// The subsets a rollout drives, in the order that keeps users where they are: the canary grows from one end, the
/// baseline from the other.
const ORDER: [&str; 3] = ["canary", "main", "baseline"];

/// Puts held weights in place of those that were read.
pub fn hold(known: &BTreeMap<String, Known>, sources: &mut [Source]) {
    for document in sources.iter_mut().flat_map(|source| &mut source.documents) {
        let driven = document.name.as_ref().and_then(|name| known.get(name)?.driven.as_ref());
        let (Some(driven), Some(split)) = (driven, document.split()) else { continue };
        let held = with(split, driven).map(Meaning::Split);
        document.meaning = held.map_err(|message| Problem { place: document.place, reason: "Driven", message });
    }
}

/// The split with the weights of a rollout, or why it cannot be driven.
pub fn with(split: &SplitSpec, driven: &Driven) -> Result<SplitSpec, String> {
    let names: Vec<&str> = split.subsets.iter().map(|s| s.name.as_str()).collect();
    let wanted = ORDER.iter().filter(|name| names.contains(*name) || driven.weights.contains_key(**name));
    if !names.iter().eq(wanted) || split.default != "main" {
        return Err(format!(
            "{} drives it, so it must list the subsets canary, main and baseline (a CanaryTest needs no baseline), in this \
             order, so that no user changes sides, with default: main; it lists {} with default: {}",
            driven.by,
            names.join(", "),
            split.default,
        ));
    }
    let mut new = split.clone();
    for subset in &mut new.subsets {
        subset.weight = driven.weights.get(&subset.name).copied().unwrap_or(0);
    }
    Split::try_from(new.clone()).map(|_| new).map_err(|why| why.to_string())
}
