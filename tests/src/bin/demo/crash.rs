//! The controller is killed. Requests go on by the last weights; it comes back, and weights move again.

use std::time::Instant;

use anyhow::{Result, ensure};
use sluicegate_tests::steady::{Seen, Steady};

use crate::print::{good, row, table, thousands, typed};
use crate::stage::{Stage, V2, WORKERS};

const RATE: f64 = 1_000.0;
/// Off by this much at most at either end of a window, and by what was under way there.
const OFF: f64 = 2.0 * (2 * WORKERS) as f64 + 16.0;

/// See the module.
pub(crate) fn run(stage: &mut Stage) -> Result<()> {
    stage.set_weight(75, 25)?;
    let load = Steady::start(stage.web()?, RATE)?;
    stage.await_requests(200)?;

    typed("kill -9 $(pidof sluicegate)");
    stage.controller.kill();
    let killed = Instant::now();
    typed("sluicegate set-weight backend v1=0 v2=100");
    let said = stage.controller.try_cli(&["set-weight", "backend", "v1=0", "v2=100"])?;
    print!("{}", String::from_utf8_lossy(&said.stderr));
    ensure!(said.status.code() == Some(1), "without a controller, set-weight ended with {}", said.status);
    stage.await_requests(2_000)?;
    typed("sluicegate serve --dir splits &");
    let started = Instant::now();
    stage.controller.restart()?;
    stage.settled("Envoy to find the controller again", |_| true)?;
    println!("Envoy is back after {:.1} s, with the weights it had", started.elapsed().as_secs_f64());
    let back = Instant::now();
    stage.await_requests(500)?;
    stage.set_weight(50, 50)?;
    let moved = Instant::now();
    stage.await_requests(1_000)?;
    let end = Instant::now();
    let seen = load.stop()?;

    println!();
    let mut rows = vec![row(["", "requests", "on v2", "share", "weight"])];
    for (what, from, to, weight) in [
        ("without a controller", killed, started, 25),
        ("while it started", started, back, 25),
        ("after the next set-weight", moved, end, 50),
    ] {
        rows.push(window(&seen, what, from, to, weight)?);
    }
    table(&rows);
    let failures = seen.tally.failures();
    ensure!(failures == 0, "{failures} requests were not answered with 200: {:?}", seen.tally.statuses);
    println!("\n{}", good(&format!("none of {} requests failed", thousands(seen.tally.answers()))));
    Ok(())
}

fn window(seen: &Seen, what: &str, from: Instant, to: Instant, weight: u64) -> Result<Vec<String>> {
    let answers: Vec<_> = seen.between(from, to).collect();
    let (all, on_v2) = (answers.len(), answers.iter().filter(|answer| answer.pod == V2).count());
    let off = on_v2 as f64 - all as f64 * weight as f64 / 100.0;
    ensure!(all > 0, "no request {what}");
    ensure!(off.abs() <= OFF, "{what}, v2 got {on_v2} of {all} requests at a weight of {weight} %");
    let share = format!("{:.1} %", on_v2 as f64 * 100.0 / all as f64);
    Ok(row([what, &thousands(all as u64), &thousands(on_v2 as u64), &share, &format!("{weight} %")]))
}
