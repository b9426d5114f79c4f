//! `make bench-kube`: what the controller asks of an API server, and what memory it takes, by the size of the cluster.
//!
//! In: `SPLITS:ROLLOUTS` per size (100:10 and 1000:100 when none is given). Out: a Markdown table on standard output.
//! How to read it: docs/BENCHMARKS.md.
#![allow(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sluicegate_tests::kube::Cluster;
use sluicegate_tests::kube_size::KubeSize;

const MINUTE: Duration = Duration::from_mins(1);

fn main() -> Result<()> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let sizes = if given.is_empty() { vec!["100:10".to_owned(), "1000:100".to_owned()] } else { given };
    println!("| splits | rollouts | | memory | took | calls per minute |\n|---|---|---|---|---|---|");
    for size in sizes {
        let (splits, rollouts) = size.split_once(':').context("write SPLITS:ROLLOUTS")?;
        measure(splits.parse()?, rollouts.parse()?).with_context(|| size.clone())?;
    }
    Ok(())
}

fn measure(splits: usize, rollouts: usize) -> Result<()> {
    // One of its own for each, so that none pays for the one before.
    let cluster = Arc::new(Cluster::start()?);
    let mut size = KubeSize::start(&cluster, splits, rollouts)?;
    let calls = size.calls(MINUTE)?;
    row(&mut size, (splits, rollouts), "idle; until all were published", None, &calls)?;
    let took = size.begin()?;
    let calls = size.calls(MINUTE)?;
    row(&mut size, (splits, rollouts), "all rollouts hold a step; until they did", Some(took), &calls)
}

fn row(
    size: &mut KubeSize,
    (splits, rollouts): (usize, usize),
    what: &str,
    took: Option<Duration>,
    calls: &BTreeMap<String, u64>,
) -> Result<()> {
    let took = took.unwrap_or(size.published).as_secs_f64();
    let memory = size.controller.process().resident()? as f64 / f64::from(1 << 20);
    let calls: Vec<_> = calls.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("| {splits} | {rollouts} | {what} | {memory:.0} MiB | {took:.1} s | {} |", calls.join(", "));
    Ok(())
}
