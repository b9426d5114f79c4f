//! A CanaryTest on a real Envoy under load, with pods that are really started and stopped.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use sluicegate_tests::rollout_lab::{PHASE, RolloutLab};
use sluicegate_tests::{client, poll};

const RATE: f64 = 600.0;

fn spec(weight: u32, replicas: u32, more: &str) -> String {
    format!("  version: v2\n  weight: {weight}\n  replicas: {replicas}\n{more}")
}

/// A lab with a test that is on, at 10 %, with one pod.
fn lab() -> Result<RolloutLab> {
    let lab = RolloutLab::start(1)?;
    lab.pods.add_version("v2", "")?;
    lab.write("CanaryTest", &spec(10, 1, ""))?;
    on(&lab, "10", 1)?;
    Ok(lab)
}

fn on(lab: &RolloutLab, weight: &str, pods: u32) -> Result<Value> {
    lab.until(&format!("{weight} % to be on"), |test| {
        test["phase"] == "On" && test["weights"]["canary"] == weight && test["pods"]["canary"]["ready"] == pods
    })
}

#[test]
fn weight_and_pods_change_at_any_time_and_nothing_ends_with_another_status() -> Result<()> {
    let lab = lab()?;
    let load = lab.load(RATE)?;
    lab.write("CanaryTest", &spec(40, 3, ""))?;
    on(&lab, "40", 3)?;
    lab.write("CanaryTest", &spec(5, 1, ""))?;
    on(&lab, "5", 1)?;
    // In the middle of a change.
    lab.write("CanaryTest", &spec(30, 2, ""))?;
    lab.until("the change to be under way", |test| test["phase"] != "On")?;
    lab.write("CanaryTest", &spec(20, 1, ""))?;
    on(&lab, "20", 1)?;
    let main = lab.pods.of("main");
    lab.write("CanaryTest", &spec(0, 1, ""))?;
    lab.until_phase("Off")?;
    let off = Instant::now();
    ensure!(lab.pods.of("canary").is_empty() && lab.pods.of("main") == main, "main is never touched");
    // As long as it is there, its duration can be set.
    lab.write("CanaryTest", &spec(20, 1, "  duration: 1s\n"))?;
    on(&lab, "20", 1)?;
    let began = Instant::now();
    lab.until_phase("Off")?;
    let ran = began.elapsed();
    ensure!(ran > Duration::from_millis(500), "it ended after {ran:?}");
    let seen = load.stop_clean()?;
    let again = seen.since(off).filter(|one| one.pod.starts_with("canary-v2-")).count();
    ensure!(again > 20, "the canary got {again} requests when it was on again");
    Ok(())
}

#[test]
fn a_test_that_is_deleted_keeps_its_pods_until_the_proxy_has_acked_that_they_get_nothing() -> Result<()> {
    let mut lab = lab()?;
    let load = lab.load(RATE)?;
    let (name, address) = lab.pods.of("canary").pop().context("no canary")?;
    let address = address.with_context(|| format!("{name} does not listen"))?;
    // A proxy that cannot ack: it stands still.
    lab.envoy.process().signal(Signal::SIGSTOP);
    fs::remove_file(lab.controller.splits().join("rollout.yaml"))?;
    lab.until("the traffic to be taken off", |test| test["phase"] == "Drain")?;
    let stands = Instant::now();
    poll::until("a moment", PHASE, || {
        let test = lab.rollout().map_err(|why| format!("{why:#}"))?;
        if test["phase"] != "Drain" || lab.pods.of("canary").is_empty() || client::get(address, "/").is_err() {
            return Ok(Err(test.to_string()));
        }
        if stands.elapsed() > Duration::from_millis(1_200) { Ok(Ok(())) } else { Err("not yet".to_owned()) }
    })?
    .map_err(|test| anyhow::anyhow!("it did not wait for the ack: {test}"))?;
    lab.envoy.process().signal(Signal::SIGCONT);
    poll::until("the test to be gone", PHASE, || {
        let status = client::get(lab.controller.admin, "/v1/rollouts/default/app").map(|answer| answer.status);
        if matches!(status, Ok(404)) { Ok(()) } else { Err(format!("{status:?}")) }
    })?;
    let gone = Instant::now();
    lab.pods.await_end(address)?;
    ensure!(lab.pods.of("canary").is_empty(), "{:?}", lab.pods.of("canary"));
    // The split is its user's again.
    lab.controller.cli(&["set-weight", "app", "canary=0", "main=100"])?;
    let seen = load.stop_clean()?;
    ensure!(seen.since(gone).all(|one| one.pod.starts_with("main-v1-")), "the canary still got requests");
    Ok(())
}
