//! Random: independent draws.

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::spec::{Assignment, SplitSpec};
use sluicegate_tests::brain::split;
use sluicegate_tests::lab::Door;

use super::Gate;

at_both_doors! {
    random_draws_follow_the_weights_and_no_pattern,
}

fn random_draws_follow_the_weights_and_no_pattern(door: Door) -> Result<()> {
    let gate = Gate::open(door, 1, json!({}))?;
    gate.publish(SplitSpec { assignment: Assignment::Random, ..split("backend", 1, &[("v1", 80), ("v2", 20)]) })?;
    let n = 5_000_u32;
    let drawn: Vec<bool> = gate.sequence(n.into(), "")?.iter().map(|subset| subset == "v2").collect();
    let bounds = |share: f64| {
        let sigma = (f64::from(n) * share * (1.0 - share)).sqrt();
        // Five sigma: wrong once in two million runs.
        (f64::from(n) * share - 5.0 * sigma, f64::from(n) * share + 5.0 * sigma)
    };
    let count = |hits: usize, share: f64, what: &str| {
        let (low, high) = bounds(share);
        ensure!((low..=high).contains(&(hits as f64)), "{what}: {hits}, not within {low:.0} to {high:.0}");
        Ok(())
    };
    count(drawn.iter().filter(|v2| **v2).count(), 0.2, "v2")?;
    // A draw says nothing about the next.
    for gap in 1..=3 {
        let pairs = drawn.iter().zip(&drawn[gap..]).filter(|(a, b)| **a && **b).count();
        // Pairs overlap, which widens their spread by less than a half.
        let (low, high) = bounds(0.04);
        let slack = (high - low) / 4.0;
        ensure!((low - slack..=high + slack).contains(&(pairs as f64)), "{gap} apart: {pairs}");
    }
    let far_off = drawn.windows(100).any(|w| w.iter().filter(|v2| **v2).count().abs_diff(20) > 4);
    ensure!(
        far_off,
        "5,000 independent draws without one hundred that is off by more than 4: that is the even sequence"
    );
    Ok(())
}
