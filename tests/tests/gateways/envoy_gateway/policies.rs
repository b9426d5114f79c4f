//! Where the filter is put: on a whole gateway, on a route, on both; among many routes; and ext-proc in place of it.

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::gateways::{Gateways, by_workload};

use super::trouble::await_accepted;
use super::{example, others, routes, service, site};
use crate::documented::{canary, deployment};
use crate::splits::{await_ack, await_beside_load, expect, expect_beside_load, give, split};

/// A second gateway whose policy finds the split of a request by its host.
const WIDE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: wide }
spec:
  gatewayClassName: sluicegate
  listeners: [{ name: http, protocol: HTTP, port: 80 }]
";

pub(super) fn one_policy_serves_a_whole_gateway_and_that_of_a_route_comes_before_it(gateways: &Gateways) -> Result<()> {
    let policy = example("policy.yaml", "wide")?;
    let (target, config) = ("kind: HTTPRoute, name: wide", "split: default/wide");
    ensure!(policy.contains(target) && policy.contains(config), "policy.yaml has changed");
    let policy = policy.replace(target, "kind: Gateway, name: wide").replace(config, "hosts: true");
    let mut all = vec![WIDE.to_owned(), policy];
    for name in ["left", "right", "plain"] {
        all.extend([deployment(name, 1)?, canary(name)?, routes(gateways, name, "wide")?]);
        let hosts = if name == "plain" { String::new() } else { format!("  hosts: [{name}.example.com]\n") };
        let canary = if name == "left" { 10 } else { 30 };
        all.push(split(name, [("canary", canary), ("main", 100 - canary), ("baseline", 0)]) + &hosts);
    }
    gateways.apply(&all.join("---\n"))?;
    for (name, canary) in [("left", 10), ("right", 30)] {
        let site = site(gateways, name, "wide")?;
        await_ack(gateways, name, 1)?;
        expect(&site, canary, "")?;
        expect(&site, canary, "x-sluicegate-subset: canary\r\n")?;
    }
    // A host of no split: nobody chooses, not even the client.
    let plain = site(gateways, "plain", "wide")?;
    expect(&plain, 0, "x-sluicegate-subset: canary\r\n")?;
    // Its own policy takes the place of the gateway's.
    gateways.apply(&example("policy.yaml", "plain")?)?;
    await_ack(gateways, "plain", 1)?;
    await_beside_load(&plain, 30)?;
    expect(&plain, 30, "")?;
    expect(&site(gateways, "left", "wide")?, 10, "")
}

pub(super) fn a_second_policy_for_a_route_is_refused_and_the_first_goes_on(gateways: &Gateways) -> Result<()> {
    let site = service(gateways, "claimed", true)?;
    let own = |name: &str| format!("  name: {name}\n");
    let policy = example("policy.yaml", "claimed")?;
    ensure!(policy.contains(&own("claimed")), "policy.yaml has changed");
    let load = site.load(100.0)?;
    gateways
        .apply(&policy.replace(&own("claimed"), &own("claimed-twice")).replace("default/claimed", "default/other"))?;
    let why = await_accepted(gateways, "claimed-twice", "False")?;
    ensure!(why.contains("another"), "{why}");
    await_accepted(gateways, "claimed", "True")?;
    for canary in [30, 0] {
        give(gateways, "claimed", canary, 1)?;
        expect_beside_load(&site, canary)?;
    }
    gateways.sh("kubectl delete envoyextensionpolicy claimed-twice")?;
    load.stop_clean().map(drop)
}

/// The routes know the header of the first only.
pub(super) fn two_filters_of_one_policy_leave_each_other_alone(gateways: &Gateways) -> Result<()> {
    let policy = example("policy.yaml", "paired")?;
    let (head, filter) = policy.split_once("  wasm:\n").context("policy.yaml has changed")?;
    let second = filter.replace("name: sluicegate", "name: second").replace("default/paired", "default/second");
    let both = format!("{head}  wasm:\n{filter}{second}        header: x-second\n");
    service(gateways, "paired", true)?;
    gateways.apply(&format!("{both}---\n{}", split("second", [("canary", 70), ("main", 30)])))?;
    await_ack(gateways, "second", 1)?;
    let site = site(gateways, "paired", "public")?;
    for canary in [10, 50, 0] {
        give(gateways, "paired", canary, 1)?;
        give(gateways, "second", 100 - canary, 1)?;
        expect(&site, canary, "")?;
    }
    Ok(())
}

pub(super) fn two_hundred_other_routes_change_nothing(gateways: &Gateways) -> Result<()> {
    let site = service(gateways, "crowded", true)?;
    let load = site.load(100.0)?;
    gateways.apply(&others(0..200, "crowded"))?;
    super::site(gateways, "other-199", "public")?;
    for canary in [10, 50, 0] {
        give(gateways, "crowded", canary, 1)?;
        expect_beside_load(&site, canary)?;
    }
    gateways.sh("kubectl delete httproute --selector other --wait=false")?;
    load.stop_clean().map(drop)
}

pub(super) fn ext_proc_does_the_same_in_place_of_the_filter(gateways: &Gateways) -> Result<()> {
    let name = "outside";
    let all = [
        deployment(name, 2)?,
        canary(name)?,
        routes(gateways, name, "public")?,
        example("ext-proc.yaml", name)?,
        split(name, [("canary", 0), ("main", 100), ("baseline", 0)]),
    ];
    gateways.apply(&all.join("---\n"))?;
    gateways.sh(&format!("kubectl rollout status deployment/{name}-ext-proc --timeout=2m"))?;
    let site = site(gateways, name, "public")?;
    for canary in [10, 50, 100, 0] {
        give(gateways, name, canary, 2)?;
        expect(&site, canary, "")?;
        expect(&site, canary, "x-sluicegate-subset: canary\r\n")?;
    }
    give(gateways, name, 100, 2)?;
    // Nobody decides: main, whatever the client says, and no error.
    gateways.sh(&format!("kubectl scale deployment/{name}-ext-proc --replicas=0"))?;
    gateways.sh(&format!("kubectl wait pod --selector app={name}-ext-proc --for=delete --timeout=2m"))?;
    let tally = site.ask(500, "x-sluicegate-subset: canary\r\n")?;
    let counts = by_workload(&tally);
    ensure!(tally.failures() == 0 && counts.get(name) == Some(&500), "{counts:?}, {:?}", tally.statuses);
    gateways.sh("kubectl delete clienttrafficpolicy no-subset-from-clients")?;
    Ok(())
}
