//! The founding document's two deployments on a real API server, through a real Envoy whose upstreams follow the pods.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::kube::{self, PATIENCE};
use sluicegate_tests::kube_lab::{KubeLab, rollout_yaml};
use sluicegate_tests::poll;

const RATE: f64 = 300.0;
const REPLICAS: u32 = 10;
/// Pods of main, and of baseline and canary each, by the document's formulas for ten replicas: ⌊R(100−2p)/100⌋+1, where p is
/// the step before, and ⌊Rn/100⌋+1. The first step leaves main as it is.
const FORMULAS: [(u64, u64); 4] = [(10, 1), (10, 2), (9, 3), (6, 6)];

fn lab(prefix: &str) -> Result<KubeLab> {
    let cluster = kube::shared()?;
    cluster.install_crds()?;
    KubeLab::start(cluster, &cluster.namespace(prefix)?, REPLICAS)
}

/// Each step waits for a person, so that what is there can be looked at.
fn begin(lab: &KubeLab, image: &str) -> Result<()> {
    begin_with(lab, image, "")
}

fn begin_with(lab: &KubeLab, image: &str, more: &str) -> Result<()> {
    let steps = [1, 10, 25, 50].map(|weight| format!("{{ weight: {weight}, judge: manual }}")).join(", ");
    let spec = format!("  steps: [{steps}]\n  hold: 1s\n  deadline: 60s\n{more}");
    lab.apply(&rollout_yaml("CanaryDeploy", image, &spec)).map(drop)
}

/// Waits until this step, from 1, is held, and looks at the pods.
fn at_step(lab: &KubeLab, step: usize, old: &str, new: &str) -> Result<()> {
    let (main, small) = FORMULAS[step - 1];
    let place = format!("{step}/4");
    let held = |o: &Value| o["status"]["phase"] == "Hold" && o["status"]["step"] == place.as_str();
    lab.until(&format!("step {place} to be held"), "canarydeploys", held)?;
    expect(lab, [(main, old), (small, old), (small, new)])
        .with_context(|| format!("at step {place}, as main, baseline, canary"))
}

/// Deployments, and behind them what Envoy was told of.
fn expect(lab: &KubeLab, wanted: [(u64, &str); 3]) -> Result<()> {
    for (role, (replicas, image)) in ["main", "baseline", "canary"].into_iter().zip(wanted) {
        let name = if role == "main" { "hello".to_owned() } else { format!("hello-{role}") };
        let (seen, runs) = lab.pods(&name)?;
        ensure!(seen == replicas && (replicas == 0 || runs == image), "{role}: {seen} of {runs}, not {wanted:?}");
        // Not at once: it takes its way by the EndpointSlices.
        poll::until(&format!("{replicas} upstreams of {role}"), PATIENCE, || match lab.endpoints.of(role) {
            pods if pods.len() as u64 == replicas => Ok(()),
            pods => Err(format!("{pods:?}")),
        })?;
    }
    Ok(())
}

fn say(lab: &KubeLab, verb: &str) -> Result<()> {
    lab.controller.cli(&[verb, &format!("{}/hello", lab.namespace), "--by", "ada"]).map(drop)
}

fn generation(lab: &KubeLab, name: &str) -> Result<Value> {
    Ok(lab.deployment(name)?.context("no Deployment")?["metadata"]["generation"].clone())
}

#[test]
fn each_step_has_the_pods_of_the_formulas_and_both_ways_out_leave_main_whole() -> Result<()> {
    let lab = lab("founding")?;
    begin(&lab, "hello:v1")?;
    lab.until("the rollout to be idle", "canarydeploys", |o| o["status"]["phase"] == "Idle")?;
    let load = lab.load(RATE)?;
    let before = generation(&lab, "hello")?;
    begin(&lab, "hello:v2")?;
    for step in 1..=4 {
        at_step(&lab, step, "hello:v1", "hello:v2")?;
        ensure!(step > 1 || generation(&lab, "hello")? == before, "main was touched in the first step");
        say(&lab, "continue")?;
    }
    lab.until("promotion", "canarydeploys", |o| o["status"]["phase"] == "Promoted")?;
    expect(&lab, [(10, "hello:v2"), (0, ""), (0, "")])?;
    // Another version goes back from the middle.
    begin(&lab, "hello:v3")?;
    for step in 1..=3 {
        at_step(&lab, step, "hello:v2", "hello:v3")?;
        say(&lab, if step < 3 { "continue" } else { "rollback" })?;
    }
    lab.until("the way back to be done", "canarydeploys", |o| o["status"]["phase"] == "RolledBack")?;
    let back = Instant::now();
    expect(&lab, [(10, "hello:v2"), (0, ""), (0, "")])?;
    let seen = load.stop_clean()?;
    for role in ["hello-canary-", "hello-baseline-"] {
        ensure!(seen.all().iter().any(|one| one.pod.starts_with(role)), "{role} never got a request");
        ensure!(!seen.since(back).any(|one| one.pod.starts_with(role)), "{role} got requests afterwards");
    }
    Ok(())
}

#[test]
fn a_rollback_from_any_step_and_from_the_watch_gives_main_all_its_pods_back() -> Result<()> {
    let lab = lab("back")?;
    let begin = |image: &str| begin_with(&lab, image, "  watch: 10m\n");
    begin("hello:v1")?;
    lab.until("the rollout to be idle", "canarydeploys", |o| o["status"]["phase"] == "Idle")?;
    let load = lab.load(RATE)?;
    for last in 1..=5 {
        let image = format!("hello:v{}", last + 1);
        begin(&image)?;
        // Another version is asked for while the one before is still told as rolled back.
        for step in 1..=last.min(4) {
            let moved = |o: &Value| o["status"]["canary"].as_str().unwrap_or_default().contains(&image);
            lab.until("the new version to be rolled out", "canarydeploys", moved)?;
            at_step(&lab, step, "hello:v1", &image)?;
            say(&lab, if step < last { "continue" } else { "rollback" })?;
        }
        if last == 5 {
            lab.until("the watch", "canarydeploys", |o| o["status"]["phase"] == "Watch")?;
            expect(&lab, [(10, &image), (0, ""), (0, "")])?;
            say(&lab, "rollback")?;
        }
        lab.until("the way back to be done", "canarydeploys", |o| o["status"]["phase"] == "RolledBack")?;
        expect(&lab, [(10, "hello:v1"), (0, ""), (0, "")]).with_context(|| format!("after step {last}"))?;
        let split = lab.controller.json(&format!("/v1/splits/{}/hello", lab.namespace))?;
        let weights: Vec<_> = split["subsets"].as_array().into_iter().flatten().map(|s| s["weight"].clone()).collect();
        ensure!(weights == [0, 100, 0], "after step {last}: {split}");
    }
    load.stop_clean().map(drop)
}

#[test]
fn a_canary_test_is_made_weighed_again_and_destroyed_and_main_is_never_touched() -> Result<()> {
    let lab = lab("trial")?;
    let load = lab.load(RATE)?;
    let before = generation(&lab, "hello")?;
    let on = |canary: &str| {
        let says = |o: &Value| o["status"]["phase"] == "On" && o["status"]["canary"] == canary;
        lab.until(&format!("the test to be on, as {canary}"), "canarytests", says)
    };
    lab.apply(&rollout_yaml("CanaryTest", "hello:v2", "  weight: 5\n  replicas: 2\n"))?;
    on("app=hello:v2 2/2 5%")?;
    expect(&lab, [(10, "hello:v1"), (0, ""), (2, "hello:v2")])?;
    let spec = r#"{"spec":{"weight":30,"replicas":3}}"#;
    lab.kubectl(&["patch", "canarytest", "hello", "--type=merge", "-p", spec])?;
    on("app=hello:v2 3/3 30%")?;
    expect(&lab, [(10, "hello:v1"), (0, ""), (3, "hello:v2")])?;
    lab.kubectl(&["scale", "canarytest", "hello", "--replicas=4"])?;
    let scaled = on("app=hello:v2 4/4 30%")?;
    ensure!(scaled["status"]["replicas"] == 4, "{scaled}");
    let weighed = Instant::now();
    let enough = |since: Instant| if since.elapsed().as_secs() >= 2 { Ok(()) } else { Err("a moment") };
    poll::until("some hundred requests", PATIENCE, || enough(weighed))?;
    let ends = Instant::now();
    lab.kubectl(&["delete", "canarytest", "hello"])?;
    lab.until_gone("canarytests")?;
    let gone = Instant::now();
    // The copy belongs to the test, and goes with it.
    poll::until("the canary to be gone", PATIENCE, || match lab.deployment("hello-canary") {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    expect(&lab, [(10, "hello:v1"), (0, ""), (0, "")])?;
    ensure!(generation(&lab, "hello")? == before, "main was touched");
    let seen = load.stop_clean()?;
    let canary = |pods: &str| pods.starts_with("hello-canary-");
    let (all, tried) =
        seen.between(weighed, ends).fold((0, 0), |(all, tried), one| (all + 1, tried + u32::from(canary(&one.pod))));
    ensure!((25..=35).contains(&(tried * 100 / all)), "the canary got {tried} of {all} requests at 30 %");
    ensure!(!seen.since(gone).any(|one| canary(&one.pod)), "the canary got requests afterwards");
    Ok(())
}
