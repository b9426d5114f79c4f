//! `make demo-kube`: the founding Canary Deploy and Canary Test on a real API server, by `kubectl`; each with a real Envoy under
//! load, whose upstreams follow the pods.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use sluicegate_tests::kube;
use sluicegate_tests::kube_lab::{KubeLab, rollout_yaml};
use sluicegate_tests::poll;
use sluicegate_tests::steady::Steady;
use sluicegate_tests::upstream::Habits;

use crate::kubectl::{Watch, apply, kubectl};
use crate::print::{good, row, step, table, thousands};

const RATE: f64 = 800.0;
const REPLICAS: u32 = 10;
const SPEC: &str = "  steps: [1, 10, 25, 50]\n  hold: 3s\n  judge: { errors: {}, minRequests: 20 }\n";
/// Main, baseline and canary while a step is held: ⌊R(100−2p)/100⌋+1 pods, where p is the step before, and ⌊Rn/100⌋+1; and
/// their weights.
const STEPS: [[&str; 3]; 4] = [
    ["10/10 98%", "1/1 1%", "1/1 1%"],
    ["10/10 80%", "2/2 10%", "2/2 10%"],
    ["9/9 50%", "3/3 25%", "3/3 25%"],
    ["6/6 0%", "6/6 50%", "6/6 50%"],
];
/// No rollout of the demo takes longer.
const LONGEST: Duration = Duration::from_secs(90);

/// See the module.
pub(crate) fn run() -> Result<()> {
    step("An API server, a controller, an Envoy");
    let cluster = kube::shared()?;
    let version = cluster.api().get("/version")?;
    println!("  kubernetes  {}; a stub in place of the nodes", version["gitVersion"].as_str().unwrap_or("?"));
    let lab = KubeLab::start(cluster, "default", REPLICAS)?;
    println!("  controller  sluicegate serve --kube --namespace default");
    println!("  envoy       with two workers and the filter; its upstreams follow the EndpointSlices");
    println!("  load        {RATE} requests per second");
    kubectl(&lab, &["get", "deployments,services,trafficsplits"])?;
    apply(&lab, "rollout.yaml", &rollout_yaml("CanaryDeploy", "hello:v1", SPEC))?;
    lab.until("the rollout to be idle", "canarydeploys", |o| o["status"]["phase"] == "Idle")?;
    step("A good version: 1 %, 10 %, 25 %, 50 %, promoted");
    good_version(&lab)?;
    step("A bad version: 5 % of its answers are 500");
    bad_version(&lab)?;
    step("A canary test, by hand");
    canary_test(&lab)
}

fn good_version(lab: &KubeLab) -> Result<()> {
    let load = lab.load(RATE)?;
    let held = follow(lab, "hello:v2", "Promoted")?;
    ensure!(held == BTreeSet::from([1, 2, 3, 4]), "not every step had the pods and weights of the formulas: {held:?}");
    kubectl(lab, &["get", "deployments"])?;
    at_rest(lab, "hello:v2")?;
    tell(load, |_| false).map(drop)
}

fn bad_version(lab: &KubeLab) -> Result<()> {
    lab.endpoints.spoil("hello:v3", Habits { errors: 0.05, ..Habits::default() });
    let load = lab.load(RATE)?;
    follow(lab, "hello:v3", "RolledBack")?;
    let message = "jsonpath={.status.message}{\"\\n\"}";
    let said = kubectl(lab, &["get", "canarydeploy", "hello", "-o", message])?;
    ensure!(said.contains("the evidence says fail"), "it was rolled back for another reason: {said}");
    kubectl(lab, &["get", "deployments"])?;
    at_rest(lab, "hello:v2")?;
    let bad = tell(load, |pod| pod.starts_with("hello-canary-"))?;
    ensure!(bad > 0, "the bad version gave no bad answer");
    Ok(())
}

fn canary_test(lab: &KubeLab) -> Result<()> {
    let before = lab.deployment("hello")?.context("main is gone")?["metadata"]["generation"].clone();
    let load = lab.load(RATE)?;
    // Split and copies are the CanaryDeploy's as long as it is there.
    kubectl(lab, &["delete", "canarydeploy", "hello"])?;
    poll::until("its copies to go", LONGEST, || match lab.deployment("hello-canary") {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    apply(lab, "test.yaml", &rollout_yaml("CanaryTest", "hello:v4", "  weight: 5\n  replicas: 1\n"))?;
    let is_on = |canary: &str| {
        let canary = format!("app=hello:v4 {canary}");
        lab.until(&format!("the test to be on, as {canary}"), "canarytests", |o| {
            o["status"]["phase"] == "On" && o["status"]["canary"] == canary.as_str()
        })?;
        kubectl(lab, &["get", "canarytest"])
    };
    is_on("1/1 5%")?;
    let change = r#"{"spec":{"weight":30,"replicas":3}}"#;
    kubectl(lab, &["patch", "canarytest", "hello", "--type=merge", "-p", change])?;
    is_on("3/3 30%")?;
    kubectl(lab, &["delete", "canarytest", "hello"])?;
    poll::until("the canary to go", LONGEST, || match lab.deployment("hello-canary") {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    kubectl(lab, &["get", "deployments"])?;
    let after = lab.deployment("hello")?.context("main is gone")?["metadata"]["generation"].clone();
    ensure!(before == after, "the test touched main");
    tell(load, |_| false).map(drop)
}

/// Changes the image as a person would, and shows what `kubectl get -w` does until the rollout is over; returns the steps that
/// were held as the formulas say.
fn follow(lab: &KubeLab, image: &str, wanted: &str) -> Result<BTreeSet<usize>> {
    let change = format!(r#"{{"spec":{{"images":{{"app":"{image}"}}}}}}"#);
    kubectl(lab, &["patch", "canarydeploy", "hello", "--type=merge", "-p", &change])?;
    let began = Instant::now();
    let mut watch = Watch::start(lab, &["get", "canarydeploy", "hello", "-w"])?;
    let mut held = BTreeSet::new();
    let version = format!("app={image}");
    let last = poll::until("the end of the rollout", LONGEST, || {
        watch.show();
        let object = lab.object("canarydeploys", "hello").map_err(|why| format!("{why:#}"))?;
        held.extend(as_planned(&object["status"], &version));
        // Phase and version of one moment; in the status, the phase may still be that of the rollout before.
        let rollout = lab.controller.json("/v1/rollouts/default/hello").map_err(|why| format!("{why:#}"))?;
        let over = rollout["phase"] == "Promoted" || rollout["phase"] == "RolledBack";
        if over && rollout["version"] == version.as_str() { Ok(rollout) } else { Err(object["status"].to_string()) }
    })?;
    if last["phase"] != wanted {
        bail!("the rollout of {image} is not {wanted}: {last}");
    }
    poll::until("kubectl to show it", poll::LONG, || {
        watch.show();
        if watch.last().contains(wanted) { Ok(()) } else { Err(watch.last().to_owned()) }
    })?;
    println!("\n{}", good(&format!("{wanted}, after {:.1} s", began.elapsed().as_secs_f64())));
    Ok(held)
}

/// The step, from 1, that is held with the pods and weights of the formulas.
fn as_planned(status: &Value, version: &str) -> Option<usize> {
    let text = |field: &str| status[field].as_str().unwrap_or_default();
    let step: usize = text("step").split('/').next()?.parse().ok()?;
    let [main, baseline, ours] = STEPS.get(step.checked_sub(1)?)?;
    let so = text("phase") == "Hold"
        && text("main").ends_with(&format!(" {main}"))
        && text("baseline").ends_with(&format!(" {baseline}"))
        && text("canary") == format!("{version} {ours}");
    so.then_some(step)
}

/// Main has all its pods, of this image, and nobody else has any.
fn at_rest(lab: &KubeLab, image: &str) -> Result<()> {
    for (name, replicas) in [("hello", REPLICAS), ("hello-baseline", 0), ("hello-canary", 0)] {
        let (seen, runs) = lab.pods(name)?;
        ensure!(seen == u64::from(replicas), "{name} has {seen} replicas, not {replicas}");
        ensure!(replicas == 0 || runs == image, "{name} runs {runs}, not {image}");
    }
    Ok(())
}

/// Ends the load and says what came back: nothing but 200, except by pods that may fail; returns how often those did.
fn tell(load: Steady, may_fail: impl Fn(&str) -> bool) -> Result<u64> {
    let seen = load.stop()?;
    let bad: Vec<_> = seen.all().iter().filter(|one| one.status != 200).collect();
    let excused = bad.iter().filter(|one| may_fail(&one.pod)).count() as u64;
    let failed = bad.len() as u64 - excused + seen.tally.broken;
    println!();
    let mut rows = vec![row(["requests meanwhile", &thousands(seen.tally.answers())])];
    if excused > 0 {
        rows.push(row(["  answered badly by the canary", &excused.to_string()]));
    }
    let label = if excused > 0 { "  failed elsewhere" } else { "  not answered with 200" };
    rows.push(row([label, &failed.to_string()]));
    table(&rows);
    ensure!(failed == 0, "{failed} requests were not answered with 200: {:?}", seen.tally.statuses);
    Ok(excused)
}
