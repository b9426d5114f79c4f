//! A HorizontalPodAutoscaler on main. Nobody plays it here but these tests, by the same subresource.

use super::rollouts::{Stage, deploy, manual};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::kube::PATIENCE;
use sluicegate_tests::poll;
use std::time::{Duration, Instant};

const SHORT: &str = "  deadline: 60s\n  autoscaler: { settle: 1s }\n";

const SCALER: &str = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: { name: web }\nspec:\n  \
     scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: hello }\n  minReplicas: 2\n  maxReplicas: 10\n";

/// Four pods of main, and an autoscaler that leaves two of them.
fn stage(prefix: &str, more: &str) -> Result<Stage> {
    let stage = Stage::new(prefix, 4, more)?;
    stage.world.apply(SCALER)?;
    Ok(stage)
}

fn path(stage: &Stage) -> String {
    format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers/web", stage.world.namespace)
}

fn until_least(stage: &Stage, least: u64) -> Result<Value> {
    poll::until(&format!("minReplicas {least}"), PATIENCE, || {
        let scaler = stage.world.cluster.api().get(&path(stage)).map_err(|why| format!("{why:#}"))?;
        if scaler["spec"]["minReplicas"] == least { Ok(scaler) } else { Err(scaler.to_string()) }
    })
}

fn is_clean(scaler: &Value) -> bool {
    !scaler["metadata"]["annotations"].to_string().contains("sluicegate.dev/")
}

/// What the autoscaler does.
fn scale(stage: &Stage, replicas: u64) -> Result<()> {
    let path = format!("/apis/apps/v1/namespaces/{}/deployments/hello/scale", stage.world.namespace);
    stage.world.cluster.api().patch(&path, &json!({ "spec": { "replicas": replicas } })).map(drop)
}

fn until_step(stage: &Stage, step: &str) -> Result<Value> {
    stage.until_with("Hold", |o| o["status"]["step"] == step)
}

#[test]
fn an_autoscaler_keeps_main_and_is_told_to_leave_it_whole_until_some_time_after_the_end() -> Result<()> {
    let stage = stage("scaled", SHORT)?;
    let load = stage.load()?;
    stage.world.apply(&manual(&deploy("hello:v2", SHORT)))?;
    until_step(&stage, "1/2")?;
    let scaler = until_least(&stage, 4)?;
    ensure!(scaler["metadata"]["annotations"]["sluicegate.dev/min-replicas"] == "2", "{scaler}");
    // More requests come in; the plan's pods are still those of the start.
    scale(&stage, 6)?;
    stage.say("continue")?;
    until_step(&stage, "2/2")?;
    ensure!(stage.seen("hello")? == (6, "hello:v1".into()), "{:?}", stage.seen("hello")?);
    ensure!(stage.seen("hello-canary")?.0 == 3, "{:?}", stage.seen("hello-canary")?);
    scale(&stage, 5)?;
    stage.say("continue")?;
    stage.until("Promoted")?;
    ensure!(stage.seen("hello")? == (5, "hello:v2".into()), "{:?}", stage.seen("hello")?);
    let scaler = until_least(&stage, 2)?;
    ensure!(is_clean(&scaler), "{scaler}");
    load.stop_clean()?;
    let main = stage
        .world
        .cluster
        .api()
        .get(&format!("/apis/apps/v1/namespaces/{}/deployments/hello", stage.world.namespace))?;
    let ours = main["metadata"]["managedFields"].as_array().context("no fields")?;
    let ours = ours.iter().filter(|one| one["manager"] == "sluicegate");
    ensure!(!ours.clone().any(|one| one.to_string().contains("f:replicas")), "we own the replicas: {main}");
    ensure!(ours.count() == 1, "{main}");
    Ok(())
}

#[test]
fn what_the_owner_of_an_autoscaler_asks_for_meanwhile_is_what_it_gets_when_the_rollout_is_deleted() -> Result<()> {
    let stage = stage("asked", SHORT)?;
    stage.world.apply(&manual(&deploy("hello:v2", SHORT)))?;
    until_step(&stage, "1/2")?;
    until_least(&stage, 4)?;
    stage.world.apply(&SCALER.replace("minReplicas: 2", "minReplicas: 3"))?;
    let scaler = until_least(&stage, 4)?;
    ensure!(scaler["metadata"]["annotations"]["sluicegate.dev/min-replicas"] == "3", "{scaler}");
    stage.world.cluster.api().delete(&stage.world.path("canarydeploys", "hello"))?;
    poll::until("the rollout to be gone", PATIENCE, || match stage.world.object("canarydeploys", "hello") {
        Err(_) => Ok(()),
        Ok(object) => Err(object["status"].to_string()),
    })?;
    // Not some time later: nobody would be left to do it.
    let scaler = stage.world.cluster.api().get(&path(&stage))?;
    ensure!(scaler["spec"]["minReplicas"] == 3 && is_clean(&scaler), "{scaler}");
    ensure!(stage.seen("hello")? == (4, "hello:v1".into()));
    Ok(())
}

#[test]
fn a_controller_that_is_killed_gives_back_what_it_held() -> Result<()> {
    let mut stage = stage("held", "")?;
    let load = stage.load()?;
    stage.world.apply(&deploy("hello:v2", SHORT))?;
    for kill in 0..8_u64 {
        let (since, length) = (Instant::now(), Duration::from_millis(200 + kill * 397 % 900));
        poll::until("a moment", PATIENCE, || if since.elapsed() > length { Ok(()) } else { Err("not yet") })?;
        stage.world.controller.kill();
        stage.world.controller.restart()?;
    }
    stage.until("Promoted")?;
    stage.world.controller.kill();
    stage.world.controller.restart()?;
    let scaler = until_least(&stage, 2)?;
    ensure!(is_clean(&scaler), "{scaler}");
    load.stop_clean()?;
    ensure!(stage.seen("hello")? == (4, "hello:v2".into()), "{:?}", stage.seen("hello")?);
    Ok(())
}
