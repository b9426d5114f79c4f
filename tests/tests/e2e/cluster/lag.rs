//! Pods that are ready before Envoy has heard of them: a probe finds out, and nobody but the probe notices.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::kube;
use sluicegate_tests::kube_lab::{KubeLab, rollout_yaml};

const RATE: f64 = 400.0;
/// Requests that a probe may cost: 1 % of the rate for each of canary and baseline, for the time it takes to be told of it
/// (a worker's flush, a report, a look) and for the answer to reach the proxy, with room for a busy machine.
const COST: usize = 60;

fn lab(prefix: &str) -> Result<KubeLab> {
    let cluster = kube::shared()?;
    KubeLab::start(cluster, &cluster.namespace(prefix)?, 2)
}

fn is_not_yet(object: &Value) -> bool {
    let message = object["status"]["message"].as_str().unwrap_or_default();
    object["status"]["phase"] == "Scale" && message.contains("found none")
}

#[test]
fn a_canary_that_envoy_has_not_heard_of_is_no_bad_canary() -> Result<()> {
    let lab = lab("lag")?;
    let spec = "  steps: [20, 50]\n  hold: 1s\n  deadline: 120s\n  judge: { errors: {}, minRequests: 20 }\n";
    lab.apply(&rollout_yaml("CanaryDeploy", "hello:v1", spec))?;
    lab.until("the rollout to be idle", "canarydeploys", |o| o["status"]["phase"] == "Idle")?;
    let load = lab.load(RATE)?;
    lab.endpoints.hold_back("canary");
    lab.apply(&rollout_yaml("CanaryDeploy", "hello:v2", spec))?;
    lab.until("a probe that found no pod", "canarydeploys", is_not_yet)?;
    lab.endpoints.catch_up();
    let done = lab.until("promotion", "canarydeploys", |o| o["status"]["phase"] == "Promoted")?;
    let described = lab.controller.cli(&["describe", &format!("{}/hello", lab.namespace)])?;
    ensure!(described.contains("found no pod while it was probed"), "{described}");
    let seen = load.stop()?;
    let failed: Vec<_> = seen.all().iter().filter(|one| one.status != 200).collect();
    ensure!(!failed.is_empty() && failed.len() <= COST, "{} requests failed: {done}", failed.len());
    let first = seen.all().iter().find(|one| one.pod.starts_with("hello-canary-")).context("no canary")?.sent;
    ensure!(failed.iter().all(|one| one.sent < first), "requests failed after the canary was reached");
    Ok(())
}

#[test]
fn a_canary_that_envoy_never_hears_of_is_rolled_back_at_the_deadline() -> Result<()> {
    let lab = lab("never")?;
    let spec = "  steps: [50]\n  hold: 1s\n  deadline: 5s\n";
    lab.apply(&rollout_yaml("CanaryDeploy", "hello:v1", spec))?;
    lab.until("the rollout to be idle", "canarydeploys", |o| o["status"]["phase"] == "Idle")?;
    let load = lab.load(RATE)?;
    lab.endpoints.hold_back("canary");
    lab.apply(&rollout_yaml("CanaryDeploy", "hello:v2", spec))?;
    let done = lab.until("the way back", "canarydeploys", |o| o["status"]["phase"] == "RolledBack")?;
    let back = Instant::now();
    ensure!(done.to_string().contains("proxies did not reach the pods in time"), "{done}");
    let seen = load.stop()?;
    ensure!(seen.since(back).all(|one| one.status == 200), "requests fail after the way back");
    Ok(())
}

#[test]
fn a_test_waits_until_envoy_has_heard_of_its_canary() -> Result<()> {
    let lab = lab("lagtest")?;
    let load = lab.load(RATE)?;
    lab.endpoints.hold_back("canary");
    lab.apply(&rollout_yaml("CanaryTest", "hello:v2", "  weight: 40\n  replicas: 1\n"))?;
    lab.until("a probe that found no pod", "canarytests", |o| o.to_string().contains("found none"))?;
    lab.endpoints.catch_up();
    lab.until("the test to be on", "canarytests", |o| o["status"]["phase"] == "On")?;
    let seen = load.stop()?;
    let failed = seen.all().iter().filter(|one| one.status != 200).count();
    ensure!(failed > 0 && failed <= COST, "{failed} requests failed");
    Ok(())
}
