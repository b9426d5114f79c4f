//! What goes wrong between Envoy Gateway and the module that it fetches of us.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::gateways::Gateways;

use super::{example, service};
use crate::splits::{await_beside_load, expect_beside_load, give};

const RATE: f64 = 200.0;
/// Envoy Gateway anew, and the controller gone and back, as a person would have it.
const RESTART: &str = "kubectl -n envoy-gateway-system rollout restart deployment/envoy-gateway
    kubectl -n envoy-gateway-system rollout status deployment/envoy-gateway --timeout=2m";
const STOP: &str = "kubectl -n sluicegate-system scale deployment/sluicegate --replicas=0
    kubectl -n sluicegate-system wait pod --all --for=delete --timeout=2m";
const START: &str = "kubectl -n sluicegate-system scale deployment/sluicegate --replicas=2
    kubectl -n sluicegate-system rollout status deployment/sluicegate --timeout=2m";

/// Waits until Envoy Gateway says so of the policy of a service, and returns why.
pub(super) fn await_accepted(gateways: &Gateways, name: &str, wanted: &str) -> Result<String> {
    let path = format!("/apis/gateway.envoyproxy.io/v1alpha1/namespaces/default/envoyextensionpolicies/{name}");
    let found = |o: &Value| {
        let all = o["status"]["ancestors"][0]["conditions"].as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| one["type"] == "Accepted")
    };
    let of_now = |o: &Value| {
        found(o).is_some_and(|one| one["status"] == wanted && one["observedGeneration"] == o["metadata"]["generation"])
    };
    let policy = gateways.until(&format!("the policy of {name} to be Accepted={wanted}"), &path, of_now)?;
    Ok(found(&policy).map(|one| one["message"].as_str().unwrap_or_default().to_owned()).unwrap_or_default())
}

pub(super) fn a_restart_of_envoy_gateway_costs_no_request(gateways: &Gateways) -> Result<()> {
    let site = service(gateways, "restarted", true)?;
    give(gateways, "restarted", 10, 1)?;
    let load = site.load(RATE)?;
    gateways.sh(RESTART)?;
    // Something it has to do, so that what follows is of the new one.
    gateways.sh("kubectl annotate httproute restarted --overwrite touched=\"$(date +%s%N)\"")?;
    await_accepted(gateways, "restarted", "True")?;
    await_beside_load(&site, 10)?;
    give(gateways, "restarted", 50, 1)?;
    expect_beside_load(&site, 50)?;
    load.stop_clean().map(drop)
}

pub(super) fn requests_go_to_main_while_no_module_is_to_be_had_and_a_touch_of_the_route_heals_it(
    gateways: &Gateways,
) -> Result<()> {
    let site = service(gateways, "orphaned", true)?;
    give(gateways, "orphaned", 50, 1)?;
    let load = site.load(RATE)?;
    gateways.sh(STOP)?;
    // Proxies keep the weights they have, without any controller.
    expect_beside_load(&site, 50)?;
    gateways.sh(RESTART)?;
    let why = await_accepted(gateways, "orphaned", "False")?;
    ensure!(why.to_lowercase().contains("wasm"), "{why}");
    await_beside_load(&site, 0).context("without a module main should have all requests")?;
    gateways.sh(START)?;
    gateways.sh("kubectl annotate httproute orphaned --overwrite touched=\"$(date +%s%N)\"")?;
    await_accepted(gateways, "orphaned", "True")?;
    give(gateways, "orphaned", 20, 1)?;
    await_beside_load(&site, 20)?;
    load.stop_clean().map(drop)
}

pub(super) fn a_module_of_another_digest_is_not_run_and_the_right_one_is(gateways: &Gateways) -> Result<()> {
    let site = service(gateways, "pinned", true)?;
    give(gateways, "pinned", 50, 1)?;
    let policy = example("policy.yaml", "pinned")?;
    let url = "url: \"http://sluicegate.sluicegate-system.svc.cluster.local:7070/sluicegate.wasm\"";
    ensure!(policy.contains(url), "the address of the module in policy.yaml has changed");
    let pinned = |digest: &str| policy.replace(url, &format!("{url}, sha256: \"{digest}\""));
    let load = site.load(RATE)?;
    gateways.apply(&pinned(&"0".repeat(64)))?;
    let why = await_accepted(gateways, "pinned", "False")?;
    ensure!(why.contains("0000"), "{why}");
    await_beside_load(&site, 0)?;
    let service = "http://$(kubectl -n sluicegate-system get service sluicegate -o jsonpath='{.spec.clusterIP}'):7070";
    let digest = gateways.sh(&format!("curl --fail --silent \"{service}/sluicegate.wasm.sha256\""))?;
    let digest = digest.split_whitespace().next().context("no digest")?;
    gateways.apply(&pinned(digest))?;
    await_accepted(gateways, "pinned", "True")?;
    give(gateways, "pinned", 20, 1)?;
    await_beside_load(&site, 20)?;
    load.stop_clean().map(drop)
}
