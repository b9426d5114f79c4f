//! Weights change all the time while requests run: how soon every worker obeys, and what it costs those who ask.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::load::Latencies;
use sluicegate_tests::steady::{Seen, Steady};

use crate::print::{good, ms, row, table, thousands};
use crate::stage::{Stage, V1, V2};

const CHANGES: usize = 20;
const RATE: f64 = 1_000.0;

/// From the moment when `set-weight` had returned until the next one began, only this pod may answer.
struct Phase {
    from: Instant,
    to: Instant,
    pod: &'static str,
}

/// See the module.
pub(crate) fn run(stage: &Stage) -> Result<()> {
    stage.edit("assignment: even", 100, 0, "")?;
    println!("\n{} requests per second, and {CHANGES} times: all of them to the other pod\n", thousands(RATE as u64));
    let load = Steady::start(stage.web()?, RATE)?;
    let (mut commands, mut acks) = (Latencies::default(), Latencies::default());
    let mut phases: Vec<Phase> = Vec::new();
    for change in 0..CHANGES {
        let (weights, pod) = if change % 2 == 0 { (["v1=0", "v2=100"], V2) } else { (["v1=100", "v2=0"], V1) };
        let began = Instant::now();
        if let Some(last) = phases.last_mut() {
            last.to = began;
        }
        let said = stage.controller.cli(&["set-weight", "backend", weights[0], weights[1]])?;
        let from = Instant::now();
        ensure!(said.contains("acked by 1/1 proxies"), "change {change}: {said}");
        commands.push(from - began);
        let took = stage.split()?["propagatedMs"].as_f64().context("the controller does not say how long it took")?;
        acks.push(Duration::from_secs_f64(took / 1e3));
        phases.push(Phase { from, to: from, pod });
        stage.await_requests(100)?;
    }
    if let Some(last) = phases.last_mut() {
        last.to = Instant::now();
    }
    let seen = load.stop()?;
    tell(&seen, &phases, &commands, &acks)
}

fn tell(seen: &Seen, phases: &[Phase], commands: &Latencies, acks: &Latencies) -> Result<()> {
    let line = |what: &str, times: &Latencies| -> Vec<String> {
        [what.to_owned()].into_iter().chain([0.0, 0.5, 0.99, 1.0].map(|q| ms(times.quantile(q)))).collect()
    };
    table(&[
        row(["from `set-weight` to the ack of all workers", "min", "p50", "p99", "max"]),
        line("published to acked, as the controller sees it", acks),
        line("the whole command, process start and files included", commands),
    ]);
    let (mut after, mut late) = (0_u64, 0_u64);
    for phase in phases {
        for answer in seen.between(phase.from, phase.to) {
            after += 1;
            late += u64::from(answer.pod != phase.pod);
        }
    }
    let failures = seen.tally.failures();
    println!();
    table(&[
        row(["requests", &thousands(seen.tally.answers())]),
        row(["  not answered with 200", &failures.to_string()]),
        row(["  sent after an ack", &thousands(after)]),
        row(["  of these, decided by older weights", &late.to_string()]),
    ]);
    ensure!(failures == 0, "{failures} requests were not answered with 200: {:?}", seen.tally.statuses);
    ensure!(after > 500, "only {after} requests were sent after an ack: too few to tell");
    ensure!(late == 0, "{late} requests sent after an ack were decided by older weights");
    println!("\n{}", good("every ack was true, and no request failed"));
    Ok(())
}
