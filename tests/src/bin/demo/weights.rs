//! The lab: set weights, ask a hundred times, count the answering pods; then the same with ten thousand.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::client;
use sluicegate_tests::load::{Limits, Load};

use crate::print::{row, table, thousands, typed};
use crate::stage::{Stage, V1, V2, WORKERS};

/// Each worker is off by at most the number of subsets, at every moment.
const OFF: u64 = 2 * WORKERS;

/// See the module.
pub(crate) fn run(stage: &Stage) -> Result<()> {
    for (v1, v2) in [(90, 10), (50, 50), (0, 100)] {
        stage.set_weight(v1, v2)?;
        hundred(stage, v1, v2)?;
        ten_thousand(stage, v1, v2)?;
    }
    Ok(())
}

/// As with curl: each request on a connection of its own.
fn hundred(stage: &Stage, v1: u64, v2: u64) -> Result<()> {
    typed("for i in {1..100}; do curl -s $GATEWAY; done | jq -r .pod | sort | uniq -c");
    let mut pods: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..100 {
        let answer = client::get(stage.web()?, "/get")?;
        ensure!(answer.status == 200, "a request was answered with {}", answer.status);
        let pod = answer.json()?["pod"].as_str().context("an answer without a pod")?.to_owned();
        *pods.entry(pod).or_default() += 1;
    }
    pods.iter().for_each(|(pod, count)| println!("{count:>7} {pod}"));
    for (pod, weight) in [(V1, v1), (V2, v2)] {
        let count = pods.get(pod).copied().unwrap_or(0);
        ensure!(count.abs_diff(weight) <= OFF, "{pod} got {count} of 100 requests at a weight of {weight} %");
        ensure!(weight > 0 || count == 0, "{pod} got {count} requests at weight 0");
    }
    Ok(())
}

/// Over connections that stay open, as from other services.
fn ten_thousand(stage: &Stage, v1: u64, v2: u64) -> Result<()> {
    let tally = Load::new(stage.web()?, 16, "")?.run(&Limits::count(10_000))?;
    let failures = tally.failures();
    ensure!(failures == 0, "{failures} of 10,000 requests failed: {:?}", tally.statuses);
    println!("\n10,000 requests, by subset:");
    let mut rows = vec![row(["subset", "header", "requests", "share", "weight", "off by"])];
    // The default subset is the one without a header.
    for (subset, header, weight) in [("v1", "", v1), ("v2", "v2", v2)] {
        let count = tally.subset(header);
        let off = count as i64 - (weight * 100) as i64;
        let header = if header.is_empty() { "-" } else { header };
        let share = format!("{:.2} %", count as f64 / 100.0);
        rows.push(row([subset, header, &thousands(count), &share, &format!("{weight} %"), &format!("{off:+}")]));
        // At the beginning and at the end of this window.
        ensure!(off.unsigned_abs() <= 2 * OFF, "{subset} is off by {off} requests");
    }
    table(&rows);
    Ok(())
}
