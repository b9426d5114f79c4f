//! Rollouts through the gateway, under load, in which no request may be lost.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::Value;
use sluicegate_tests::gateways::{Gateways, Site};
use sluicegate_tests::kube_lab::rollout_yaml;

use super::service;
use crate::documented::{self, ROLLOUT};
use crate::splits::{each_had_requests, expect_beside_load};

const RATE: f64 = 200.0;

fn path(plural: &str, name: &str) -> String {
    format!("/apis/sluicegate.dev/v1alpha1/namespaces/default/{plural}/{name}")
}

fn rollout(name: &str, kind: &str, version: &str, spec: &str) -> String {
    rollout_yaml(kind, &format!("registry.local/hello:{version}"), spec)
        .replace("name: hello }", &format!("name: {name} }}"))
        .replace("workload: hello\n", &format!("workload: {name}\n"))
        .replace("[hello]", &format!("[{name}]"))
}

pub(super) fn the_document_leads_from_nothing_to_a_promoted_version(gateways: &Gateways) -> Result<()> {
    let site = Site { at: gateways.gateway("public", 80)?, host: "hello.example.com".to_owned() };
    let load = site.load(RATE)?;
    documented::follow(gateways, ROLLOUT)?;
    each_had_requests(&load.stop_clean()?)
}

pub(super) fn a_rollback_under_load_costs_no_request(gateways: &Gateways) -> Result<()> {
    let site = service(gateways, "rolled", false)?;
    let spec = "  steps: [{ weight: 10, judge: manual }, { weight: 50, judge: manual }]\n  hold: 1s\n";
    let deploy = |version: &str| rollout("rolled", "CanaryDeploy", version, spec);
    gateways.apply(&deploy("v1"))?;
    let path = path("canarydeploys", "rolled");
    gateways.until("the rollout to be idle", &path, |o| o["status"]["phase"] == "Idle")?;
    let load = site.load(RATE)?;
    gateways.apply(&deploy("v2"))?;
    let held = |step: &'static str| move |o: &Value| o["status"]["phase"] == "Hold" && o["status"]["step"] == step;
    gateways.until("the first step to be held", &path, held("1/2"))?;
    gateways.sh("kubectl sluicegate continue rolled")?;
    gateways.until("the second step to be held", &path, held("2/2"))?;
    expect_beside_load(&site, 50)?;
    gateways.sh("kubectl sluicegate rollback rolled")?;
    gateways.until("the way back to be done", &path, |o| o["status"]["phase"] == "RolledBack")?;
    let back = Instant::now();
    expect_beside_load(&site, 0)?;
    let seen = load.stop_clean()?;
    let canary = |pod: &str| pod.starts_with("rolled-canary-");
    ensure!(seen.all().iter().any(|one| canary(&one.pod)), "the canary never got a request");
    ensure!(!seen.since(back).any(|one| canary(&one.pod)), "the canary got requests after it was rolled back");
    Ok(())
}

pub(super) fn a_canary_test_is_made_weighed_again_and_destroyed_under_load(gateways: &Gateways) -> Result<()> {
    let site = service(gateways, "tried", false)?;
    let load = site.load(RATE)?;
    let path = path("canarytests", "tried");
    gateways.apply(&rollout("tried", "CanaryTest", "v2", "  weight: 5\n  replicas: 1\n"))?;
    for (weight, replicas) in [(5, 1), (30, 2)] {
        gateways.sh(&format!(
            "kubectl patch canarytest tried --type=merge -p '{{\"spec\":{{\"weight\":{weight},\"replicas\":{replicas}}}}}'"
        ))?;
        let told = format!("app=registry.local/hello:v2 {replicas}/{replicas} {weight}%");
        let on = |o: &Value| o["status"]["phase"] == "On" && o["status"]["canary"] == told.as_str();
        gateways.until(&format!("the test to be on, as {told}"), &path, on)?;
        expect_beside_load(&site, weight)?;
    }
    gateways.sh("kubectl delete canarytest tried --timeout=60s")?;
    let gone = Instant::now();
    expect_beside_load(&site, 0)?;
    let seen = load.stop_clean()?;
    ensure!(!seen.since(gone).any(|one| one.pod.starts_with("tried-canary-")), "the canary got requests afterwards");
    Ok(())
}
