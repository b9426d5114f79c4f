//! Versions are rolled out: a good one, one that fails, one that is slow, and one that a person leads.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::steady::{Seeing, Seen};

use crate::print::{good, row, table, thousands};
use crate::theatre::{RATE, Reached, STEPS, Theatre, number};

/// A version that is not slow answers within this time.
const SLOW: Duration = Duration::from_millis(100);

/// From 1 % to all, by itself.
pub(crate) fn good_version(theatre: &Theatre) -> Result<()> {
    theatre.lab.pods.add_version("v2", "")?;
    let load = theatre.lab.load(RATE)?;
    let began = theatre.edit("v2", STEPS)?;
    let reached = theatre.follow_to("v2", began, "Promoted")?;
    let seen = load.stop()?;
    println!("\n{}", good(&format!("promoted: main runs v2, after {:.1} s", reached.took.as_secs_f64())));
    println!();
    let failures = seen.tally.failures();
    table(&[
        row(["requests meanwhile", &thousands(seen.tally.answers())]),
        row(["  not answered with 200", &failures.to_string()]),
    ]);
    ensure!(
        reached.rollout["stable"] == "v2" && reached.steps == 4,
        "after {} steps: {}",
        reached.steps,
        reached.rollout
    );
    ensure!(failures == 0, "{failures} requests were not answered with 200: {:?}", seen.tally.statuses);
    Ok(())
}

/// One answer in twenty is a 500.
pub(crate) fn failing_version(theatre: &Theatre) -> Result<()> {
    taken_back(theatre, "v3", "--errors 5%", |answer| answer.status != 200)
}

/// One answer in ten takes 150 ms longer.
pub(crate) fn slow_version(theatre: &Theatre) -> Result<()> {
    taken_back(theatre, "v4", "--slow 10% --delay 150ms", |answer| answer.answered - answer.sent > SLOW)
}

fn taken_back(theatre: &Theatre, version: &str, habits: &str, is_bad: impl Fn(&Seeing) -> bool) -> Result<()> {
    theatre.lab.pods.add_version(version, habits)?;
    let load = theatre.lab.load(RATE)?;
    let began = theatre.edit(version, STEPS)?;
    let reached = theatre.follow_to(version, began, "RolledBack")?;
    let seen = load.stop()?;
    let why = reached.rollout["why"].as_str().unwrap_or("?").to_owned();
    println!("\n{}", good(&format!("rolled back, by itself: {why}")));
    ensure!(why == "the evidence says fail" && reached.rollout["stable"] == "v2", "{}", reached.rollout);
    tell(&reached, &seen, version, is_bad)
}

fn tell(reached: &Reached, seen: &Seen, version: &str, is_bad: impl Fn(&Seeing) -> bool) -> Result<()> {
    let prefix = format!("canary-{version}-");
    let (canary, others): (Vec<&Seeing>, Vec<&Seeing>) =
        seen.all().iter().partition(|one| one.pod.starts_with(&prefix));
    let bad: Vec<&Seeing> = canary.iter().filter(|one| is_bad(one)).copied().collect();
    let first = bad.iter().map(|one| one.answered).min().context("the canary gave no bad answer")?;
    let last = canary.iter().map(|one| one.sent).max().unwrap_or(first);
    let failed = others.iter().filter(|one| one.status != 200).count() as u64 + seen.tally.broken;
    let evidence = |pointer: &str| number(&reached.rollout, pointer);
    // The criterion with more to show is the one it was taken back by.
    let worst = usize::from(evidence("/criteria/1/canary/rollout/bad")? > evidence("/criteria/0/canary/rollout/bad")?);
    let judged = |role: &str, what: &str| {
        evidence(&format!("/criteria/{worst}/{role}/rollout/{what}")).map(|number| number as u64)
    };
    let (canary_judged, baseline_judged) = (judged("canary", "requests")?, judged("baseline", "requests")?);
    println!();
    table(&[
        row([
            &format!("evidence of harm (it takes {:.0})", evidence("/harm/decidesAt")?),
            &format!("{:.0}", evidence("/harm/peak")?),
        ]),
        row(["requests it took, canary and baseline", &thousands(canary_judged + baseline_judged)]),
        row(["  bad ones of the canary", &judged("canary", "bad")?.to_string()]),
        row(["  bad ones of the baseline", &judged("baseline", "bad")?.to_string()]),
        row([
            "first bad answer to \"canary gets nothing\"",
            &format!("{:.1} s", last.saturating_duration_since(first).as_secs_f64()),
        ]),
        row(["requests meanwhile, all", &thousands(seen.tally.answers())]),
        row(["  answered badly by the canary", &bad.len().to_string()]),
        row(["  failed elsewhere", &failed.to_string()]),
    ]);
    ensure!(failed == 0, "{failed} requests failed that the canary did not get: {:?}", seen.tally.statuses);
    Ok(())
}

/// The first step waits for a person.
pub(crate) fn manual_step(theatre: &Theatre) -> Result<()> {
    theatre.lab.pods.add_version("v5", "")?;
    let load = theatre.lab.load(RATE)?;
    let began = theatre.edit("v5", "[{ weight: 10, judge: manual }, 50]")?;
    let waits = |rollout: &Value| rollout["phase"] == "Hold" && rollout["waits"].to_string().contains("a person");
    let held = theatre.lab.until("the first step", |rollout| rollout["version"] == "v5" && waits(rollout))?;
    theatre.sluicegate(&["get", "rollouts"])?;
    println!("waits for {}", held["waits"].as_str().unwrap_or("?"));
    theatre.sluicegate(&["continue", "app", "--by", "ada", "--reason", "looked at it"])?;
    let reached = theatre.follow_to("v5", began, "Promoted")?;
    let seen = load.stop()?;
    println!("\n{}", good(&format!("promoted: main runs v5, after {:.1} s", reached.took.as_secs_f64())));
    theatre.sluicegate(&["get", "rollouts"])?;
    ensure!(seen.tally.failures() == 0, "requests were not answered with 200: {:?}", seen.tally.statuses);
    Ok(())
}
