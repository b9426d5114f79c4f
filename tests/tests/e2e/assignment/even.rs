//! Even: counts track the weights at every moment.

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::brain::split;
use sluicegate_tests::lab::Door;

use super::Gate;

at_both_doors! {
    any_hundred_requests_in_a_row_are_split_90_to_10,
    each_of_four_workers_is_even_by_itself_and_so_is_their_sum,
    weights_of_any_size_and_number_keep_their_shares,
}

/// How far a count may be from its share, per worker and subset: a window is off by at most one at either end.
const OFF: u64 = 2;

fn any_hundred_requests_in_a_row_are_split_90_to_10(door: Door) -> Result<()> {
    let gate = Gate::open(door, 1, json!({}))?;
    for (generation, ten) in [(1, 10), (2, 50), (3, 10)] {
        gate.publish(split("backend", generation, &[("v1", 100 - ten), ("v2", ten)]))?;
        let subsets = gate.sequence(2_000, "")?;
        for (at, window) in subsets.windows(100).enumerate() {
            let v2 = window.iter().filter(|subset| *subset == "v2").count() as u64;
            ensure!(v2.abs_diff(ten.into()) <= OFF, "{v2} of {ten} in the hundred from {at}");
        }
        // Also from the very first request on.
        for upto in 1..=200_u64 {
            let v2 = subsets.iter().take(upto as usize).filter(|subset| *subset == "v2").count() as u64;
            ensure!((v2 * 100).abs_diff(upto * u64::from(ten)) <= OFF * 100, "{v2} of the first {upto}");
        }
    }
    Ok(())
}

fn each_of_four_workers_is_even_by_itself_and_so_is_their_sum(door: Door) -> Result<()> {
    let gate = Gate::open(door, 4, json!({}))?;
    gate.publish(split("backend", 1, &[("v1", 70), ("v2", 20), ("v3", 10)]))?;
    let tally = gate.lab.load(4_000, 16, "")?;
    ensure!(tally.answers() == 4_000 && tally.failures() == 0, "{tally:?}");
    for (subset, share) in [("", 2_800), ("v2", 800), ("v3", 400)] {
        ensure!(tally.subset(subset).abs_diff(share) <= 4 * OFF, "{subset:?}: {:?}", tally.subsets);
    }
    // One connection at a time is one worker at a time, and its count goes on from where it was.
    for connection in 0..12 {
        let subsets = gate.sequence(100, "")?;
        for (subset, share) in [("", 70), ("v2", 20), ("v3", 10)] {
            let got = subsets.iter().filter(|got| *got == subset).count() as u64;
            ensure!(got.abs_diff(share) <= OFF, "connection {connection}, {subset:?}: {got} of {share}");
        }
    }
    Ok(())
}

fn weights_of_any_size_and_number_keep_their_shares(door: Door) -> Result<()> {
    let gate = Gate::open(door, 2, json!({}))?;
    let names: Vec<String> = (1..=16).map(|n| format!("s{n}")).collect();
    let sixteen: Vec<u32> = (1..=16).collect();
    let cases: Vec<Vec<u32>> = vec![
        vec![0, 1, 0],
        vec![1, 1_000_000],
        vec![1_000_000, 1],
        vec![u32::MAX, u32::MAX, u32::MAX],
        vec![u32::MAX, 1, 0, u32::MAX],
        vec![7, 0, 13, 0, 80],
        vec![1, 2, 3],
        vec![333, 333, 333],
        sixteen,
        vec![1; 16],
        vec![u32::MAX; 16],
        vec![1],
    ];
    for (generation, weights) in (1..).zip(cases) {
        let subsets: Vec<(&str, u32)> = names.iter().map(String::as_str).zip(weights.iter().copied()).collect();
        gate.publish(split("backend", generation, &subsets))?;
        let requests = 2_000;
        let tally = gate.lab.load(requests, 4, "")?;
        ensure!(tally.answers() == requests && tally.failures() == 0, "{tally:?}");
        let total: u64 = weights.iter().copied().map(u64::from).sum();
        for (at, (name, weight)) in subsets.iter().enumerate() {
            let got = tally.subset(if at == 0 { "" } else { name });
            ensure!(*weight > 0 || got == 0, "{weights:?}: {got} for weight 0");
            let share = requests as f64 * f64::from(*weight) / total as f64;
            ensure!((got as f64 - share).abs() <= 2.0 * OFF as f64, "{weights:?}: {name} got {got} of {share}");
        }
    }
    Ok(())
}
