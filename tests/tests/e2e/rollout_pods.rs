//! Whole rollouts with pods that are really started and stopped, by `tests/workloads.sh`, on a real Envoy under load.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::pods::Pods;
use sluicegate_tests::rollout_lab::RolloutLab;

const RATE: f64 = 800.0;

/// The spec of a CanaryDeploy: quick, and judged by errors and slowness.
fn spec(version: &str, more: &str) -> String {
    format!(
        "  version: {version}\n  steps: [25, 50]\n  hold: 1s\n  \
         judge: {{ errors: {{}}, latency: {{ slowerThan: 100ms }}, minRequests: 50 }}\n{more}"
    )
}

fn lab(replicas: u32) -> Result<RolloutLab> {
    let lab = RolloutLab::start(replicas)?;
    lab.write("CanaryDeploy", &spec("v1", ""))?;
    lab.until_phase("Idle")?;
    Ok(lab)
}

fn names(pods: &Pods, role: &str) -> Vec<String> {
    pods.of(role).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn pods_are_started_before_they_get_requests_and_stopped_when_they_get_none_any_more() -> Result<()> {
    let lab = lab(4)?;
    lab.pods.add_version("v2", "")?;
    let old = lab.pods.of("main");
    let load = lab.load(RATE)?;
    lab.write("CanaryDeploy", &spec("v2", ""))?;
    let first = lab.until("step 1", |rollout| rollout["phase"] == "Hold" && rollout["step"] == 1)?;
    ensure!(first["pods"]["canary"] == json!({ "version": "v2", "replicas": 2, "ready": 2 }), "{first}");
    let last = lab.until("step 2", |rollout| rollout["phase"] == "Hold" && rollout["step"] == 2)?;
    ensure!(last["pods"]["canary"]["ready"] == 3 && last["pods"]["baseline"]["ready"] == 3, "{last}");
    let small = lab.pods.of("canary").into_iter().chain(lab.pods.of("baseline"));
    let (small, main): (Vec<_>, _) = (small.collect(), lab.pods.of("main"));
    ensure!(main.len() == 3, "main carries what the step before left to it, 50 %: {main:?}");
    let done = lab.until_phase("Promoted")?;
    ensure!(done["stable"] == "v2" && done["trouble"].is_null(), "{done}");
    for (name, address) in old.into_iter().chain(small) {
        lab.pods.await_end(address.ok_or_else(|| anyhow::anyhow!("{name} never listened"))?)?;
    }
    ensure!(names(&lab.pods, "canary").is_empty() && names(&lab.pods, "baseline").is_empty(), "{done}");
    let main = names(&lab.pods, "main");
    ensure!(main.len() == 4 && main.iter().all(|name| name.starts_with("main-v2-")), "{main:?}");
    // Not one request was lost when a pod came or went.
    let seen = load.stop_clean()?;
    let by =
        |start: &str| seen.tally.pods.iter().filter(|(pod, _)| pod.starts_with(start)).map(|(_, n)| n).sum::<u64>();
    ensure!(by("canary-v2-") > 100 && by("main-v1-") > 100 && by("main-v2-") > 100, "{:?}", seen.tally.pods);
    Ok(())
}

#[test]
fn a_version_whose_pods_never_answer_is_rolled_back_after_the_deadline_and_gets_no_request() -> Result<()> {
    let lab = lab(1)?;
    lab.pods.add_version("v2", "--deaf")?;
    let load = lab.load(RATE)?;
    lab.write("CanaryDeploy", &spec("v2", "  deadline: 2s\n"))?;
    let waits = lab.until("the pods to be waited for", |rollout| {
        let words = rollout["waits"].as_str().unwrap_or_default();
        rollout["phase"] == "Scale" && words.contains("canary 0/1 ready (canary-v2-")
    })?;
    ensure!(waits["weights"]["main"] == "100", "{waits}");
    let back = lab.until_phase("RolledBack")?;
    ensure!(back["why"] == "pods did not get ready in time" && back["stable"] == "v1", "{back}");
    let seen = load.stop_clean()?;
    ensure!(seen.tally.pods.keys().all(|pod| pod.starts_with("main-v1-")), "{:?}", seen.tally.pods);
    ensure!(names(&lab.pods, "canary").is_empty(), "{:?}", lab.pods.of("canary"));
    Ok(())
}

#[test]
fn a_slow_version_is_rolled_back_by_the_evidence_without_a_failed_request() -> Result<()> {
    let lab = lab(2)?;
    lab.pods.add_version("v2", "--slow 10% --delay 150ms")?;
    let load = lab.load(RATE)?;
    lab.write("CanaryDeploy", &spec("v2", ""))?;
    let back = lab.until_phase("RolledBack")?;
    let after = Instant::now();
    ensure!(back["why"] == "the evidence says fail" && back["weights"]["main"] == "100", "{back}");
    let evidence = &back["evidence"]["criteria"];
    let slow = evidence.as_array().into_iter().flatten().find(|one| one["criterion"].to_string().contains("lower"));
    ensure!(slow.is_some_and(|one| one["canary"]["rollout"]["bad"].as_u64() > Some(5)), "{evidence}");
    let seen = load.stop_clean()?;
    ensure!(seen.since(after).all(|one| one.pod.starts_with("main-v1-")), "the canary still got requests");
    Ok(())
}

#[test]
fn a_version_right_after_a_bad_one_is_not_blamed_for_it() -> Result<()> {
    let lab = lab(2)?;
    lab.pods.add_version("v2", "--errors 50%")?;
    lab.pods.add_version("v3", "")?;
    let load = lab.load(RATE)?;
    let spec = |version: &str| spec(version, "").replace("[25, 50]", "[50]");
    lab.write("CanaryDeploy", &spec("v2"))?;
    lab.until("the bad version to be rolled back", |rollout| rollout["phase"] == "RolledBack")?;
    lab.write("CanaryDeploy", &spec("v3"))?;
    let done = lab.until("the good version to end", |rollout| {
        rollout["version"] == "v3" && (rollout["phase"] == "Promoted" || rollout["phase"] == "RolledBack")
    })?;
    load.stop()?;
    let bad = &done["evidence"]["criteria"][0]["canary"]["rollout"]["bad"];
    ensure!(done["phase"] == "Promoted" && *bad == 0, "{bad} errors that v3 never gave: {done}");
    Ok(())
}
