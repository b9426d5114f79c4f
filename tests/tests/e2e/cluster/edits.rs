//! What happens when somebody edits or deletes, in mid-rollout and under load, what the rollout works with. Each of these is
//! in the table of docs/KUBERNETES.md.

use super::{condition, service_account};
use anyhow::{Result, ensure};
use serde_json::Value;
use sluicegate_tests::kube::{self, PATIENCE};
use sluicegate_tests::kube_lab::{KubeLab, rollout_yaml, service_yaml};
use sluicegate_tests::poll;
use sluicegate_tests::steady::Steady;
use std::time::{Duration, Instant};

const RATE: f64 = 300.0;
const REPLICAS: u32 = 4;
/// From the moment at which `kubectl delete` is started, which takes part of it, until the traffic is elsewhere.
const MOVED: Duration = Duration::from_millis(1500);
/// A request may be under way when the pods go.
const SENT_BEFORE: Duration = Duration::from_millis(100);

fn deploy(image: &str) -> String {
    let steps = [1, 10, 25, 50].map(|weight| format!("{{ weight: {weight}, judge: manual }}")).join(", ");
    rollout_yaml("CanaryDeploy", image, &format!("  steps: [{steps}]\n  hold: 1s\n  deadline: 60s\n"))
}

/// A rollout of `hello:v2` that holds this step, counted from 1.
fn lab(prefix: &str, step: usize) -> Result<KubeLab> {
    let cluster = kube::shared()?;
    cluster.install_crds()?;
    let namespace = cluster.namespace(prefix)?;
    let kubeconfig = service_account(cluster, &namespace)?;
    let lab = KubeLab::start_as(cluster, &namespace, REPLICAS, &[&kubeconfig])?;
    lab.apply(&deploy("hello:v1"))?;
    until(&lab, "Idle")?;
    lab.apply(&deploy("hello:v2"))?;
    for before in 1..step {
        at_step(&lab, before)?;
        say(&lab, "continue")?;
    }
    at_step(&lab, step)?;
    Ok(lab)
}

fn until(lab: &KubeLab, phase: &str) -> Result<Value> {
    lab.until(&format!("the rollout to be {phase}"), "canarydeploys", |o| o["status"]["phase"] == phase)
}

fn at_step(lab: &KubeLab, step: usize) -> Result<Value> {
    let place = format!("{step}/4");
    let held = |o: &Value| o["status"]["phase"] == "Hold" && o["status"]["step"] == place.as_str();
    lab.until(&format!("step {place} to be held"), "canarydeploys", held)
}

fn say(lab: &KubeLab, verb: &str) -> Result<()> {
    lab.controller.cli(&[verb, &format!("{}/hello", lab.namespace), "--by", "ada"]).map(drop)
}

/// The weights of canary, main and baseline that are in force, and run by the proxy.
fn until_weights(lab: &KubeLab, wanted: [u64; 3]) -> Result<()> {
    poll::until(&format!("weights {wanted:?}"), PATIENCE, || {
        let shown =
            lab.controller.json(&format!("/v1/splits/{}/hello", lab.namespace)).map_err(|why| format!("{why:#}"))?;
        let weights = shown["subsets"].as_array().into_iter().flatten().map(|s| s["weight"].as_u64().unwrap_or(0));
        let run = shown["acked"] == shown["live"] && shown["live"] != 0;
        if run && weights.eq(wanted) { Ok(()) } else { Err(shown.to_string()) }
    })
}

fn until_pods(lab: &KubeLab, name: &str, wanted: (u64, &str)) -> Result<()> {
    poll::until(&format!("{name} to be {wanted:?}"), PATIENCE, || match lab.pods(name) {
        Ok((replicas, image)) if (replicas, image.as_str()) == wanted => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

/// Ends the load. Who deletes pods that serve takes their answers away; only until the traffic is elsewhere: a second, and no
/// request that was sent later.
fn ends_clean_but_for(load: Steady, deletions: &[Instant]) -> Result<()> {
    let seen = load.stop()?;
    let excused = |sent: Instant| deletions.iter().any(|at| sent + SENT_BEFORE >= *at && sent <= *at + MOVED);
    let failed: Vec<_> = seen.all().iter().filter(|one| one.status != 200).collect();
    println!("{} of {} requests failed", failed.len(), seen.tally.answers());
    let late = failed.iter().find(|one| !excused(one.sent));
    ensure!(late.is_none() && seen.tally.broken == 0, "{late:?}, {:?}", seen.tally.statuses);
    Ok(())
}

/// What the controller wrote of its moves.
fn moves(object: &Value) -> String {
    object["status"]["state"]["history"].to_string()
}

#[test]
fn a_deleted_baseline_or_canary_loses_its_traffic_at_once() -> Result<()> {
    let lab = lab("copies", 2)?;
    let load = lab.load(RATE)?;
    let baseline = Instant::now();
    lab.kubectl(&["delete", "deployment", "hello-baseline", "--wait=false"])?;
    // It is not the new version's fault, so it begins again.
    at_step(&lab, 1)?;
    let seen = until(&lab, "Hold")?;
    ensure!(moves(&seen).contains("no pod of the baseline was ready"), "{}", moves(&seen));
    say(&lab, "continue")?;
    at_step(&lab, 2)?;
    let canary = Instant::now();
    lab.kubectl(&["delete", "deployment", "hello-canary", "--wait=false"])?;
    let back = until(&lab, "RolledBack")?;
    ensure!(moves(&back).contains("no pod of the canary was ready"), "{}", moves(&back));
    until_weights(&lab, [0, 100, 0])?;
    until_pods(&lab, "hello", (4, "hello:v1"))?;
    ends_clean_but_for(load, &[baseline, canary])
}

#[test]
fn a_split_that_is_edited_keeps_the_weights_of_the_rollout_and_a_deleted_one_sends_all_to_main() -> Result<()> {
    let lab = lab("split", 2)?;
    let load = lab.load(RATE)?;
    let weights = r#"{"spec":{"subsets":[{"name":"canary","weight":60},{"name":"main","weight":40},{"name":"baseline","weight":0}]}}"#;
    lab.kubectl(&["patch", "trafficsplit", "hello", "--type=merge", "-p", weights])?;
    let noted = |o: &Value| o["status"]["conditions"][0]["observedGeneration"] == o["metadata"]["generation"];
    let split = lab.until("the edit to be seen", "trafficsplits", noted)?;
    ensure!(condition(&split, "Accepted")["reason"] == "Driven", "{split}");
    until_weights(&lab, [10, 80, 10])?;
    // Without a canary it cannot be driven: what is in force stays, and the rollout goes on with it.
    let two = r#"{"spec":{"subsets":[{"name":"main","weight":90},{"name":"baseline","weight":10}]}}"#;
    lab.kubectl(&["patch", "trafficsplit", "hello", "--type=merge", "-p", two])?;
    lab.until("the refusal", "trafficsplits", |o| condition(o, "Accepted")["status"] == "False")?;
    until_weights(&lab, [10, 80, 10])?;
    say(&lab, "continue")?;
    at_step(&lab, 3)?;
    until_weights(&lab, [25, 50, 25])?;
    let ends = Instant::now();
    lab.kubectl(&["delete", "trafficsplit", "hello"])?;
    let says = |o: &Value| o["status"]["phase"] == "Hold" && condition(o, "Stalled")["status"] == "True";
    lab.until("the rollout to say that it stands still", "canarydeploys", says)?;
    let deleted = Instant::now();
    let again = Instant::now();
    poll::until("requests without a split", PATIENCE, || {
        if again.elapsed().as_secs() > 1 { Ok(()) } else { Err("a moment") }
    })?;
    lab.apply(&service_yaml("hello:v1", 3))?;
    until_weights(&lab, [25, 50, 25])?;
    for step in 3..=4 {
        at_step(&lab, step)?;
        say(&lab, "continue")?;
    }
    until(&lab, "Promoted")?;
    let seen = load.stop_clean()?;
    let elsewhere = seen.between(deleted, deleted + (Instant::now() - again).min(Duration::from_secs(1)));
    ensure!(elsewhere.filter(|one| one.pod.starts_with("hello-canary")).count() == 0, "since {:?}", deleted - ends);
    Ok(())
}

#[test]
fn edited_pods_of_a_rollout_are_set_back_to_what_its_step_says() -> Result<()> {
    let lab = lab("pods", 3)?;
    let load = lab.load(RATE)?;
    // R = 4: main ⌊4 · 80 %⌋ + 1, the copies ⌊4 · 25 %⌋ + 1.
    for (name, image) in [("hello", "hello:v1"), ("hello-canary", "hello:v2"), ("hello-baseline", "hello:v1")] {
        let replicas = if name == "hello" { 4 } else { 2 };
        lab.kubectl(&["set", "image", &format!("deployment/{name}"), "app=hello:v9"])?;
        until_pods(&lab, name, (replicas, image))?;
        lab.kubectl(&["scale", &format!("deployment/{name}"), "--replicas=7"])?;
        until_pods(&lab, name, (replicas, image))?;
    }
    at_step(&lab, 3)?;
    until_weights(&lab, [25, 50, 25])?;
    load.stop_clean().map(drop)
}

#[test]
fn a_rollout_deleted_in_the_foreground_leaves_nothing_to_pods_that_go() -> Result<()> {
    let lab = lab("foreground", 3)?;
    let load = lab.load(RATE)?;
    lab.kubectl(&["delete", "canarydeploy", "hello", "--cascade=foreground", "--wait=false"])?;
    lab.until_gone("canarydeploys")?;
    until_weights(&lab, [0, 100, 0])?;
    until_pods(&lab, "hello", (4, "hello:v1"))?;
    load.stop_clean().map(drop)
}

#[test]
fn a_rollout_deleted_together_with_its_main_and_its_split_goes() -> Result<()> {
    let lab = lab("all", 3)?;
    lab.kubectl(&["delete", "deployment,trafficsplit,canarydeploy", "hello", "--wait=false"])?;
    lab.until_gone("canarydeploys")?;
    poll::until("the copies to be gone", PATIENCE, || match lab.deployment("hello-canary") {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn without_main_the_baseline_serves_until_main_is_back_and_then_it_begins_again() -> Result<()> {
    let lab = lab("main", 2)?;
    let load = lab.load(RATE)?;
    let deleted = Instant::now();
    lab.kubectl(&["delete", "deployment", "hello", "--wait=false"])?;
    until_weights(&lab, [0, 0, 100])?;
    let says = |o: &Value| {
        o["status"]["phase"] == "Restore" && condition(o, "Stalled")["message"].to_string().contains("bring it back")
    };
    lab.until("the rollout to say what it needs", "canarydeploys", says)?;
    lab.apply(&service_yaml("hello:v1", REPLICAS))?;
    let begun = at_step(&lab, 1)?;
    ensure!(moves(&begun).contains("no pod of main was ready"), "{}", moves(&begun));
    until_weights(&lab, [1, 98, 1])?;
    ends_clean_but_for(load, &[deleted])
}
