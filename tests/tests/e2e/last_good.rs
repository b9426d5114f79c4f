//! Requests flow by the last good weights, or by the fallback, whatever the controller does.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::client::{self, Client};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::lab::{self, PODS};
use sluicegate_tests::load::{Limits, Load};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{poll, ports};

mod answers;
mod faults;
mod loss;

/// One Envoy with a listener per plugin, each named like it, all asking this controller.
fn gates(pods: &Upstreams, controller: SocketAddr, plugins: &[(String, Value)]) -> Result<Envoy> {
    let listener = |(name, extra): &(String, Value)| -> Result<_> {
        Ok(lab::listener(name, &lab::plugin(extra.clone())?.named(name)))
    };
    let listeners = plugins.iter().map(listener).collect::<Result<Vec<_>>>()?;
    Envoy::start(lab::options(pods, listeners, controller, 2))
}

/// The pods that so many requests reach; every answer must be a 200.
fn reached(envoy: &Envoy, listener: &str, requests: u64) -> Result<BTreeMap<String, u64>> {
    let tally = Load::new(envoy.listener(listener)?, 2, "")?.run(&Limits::count(requests))?;
    ensure!(tally.answers() == requests && tally.failures() == 0, "{listener}: {tally:?}");
    Ok(tally.pods)
}

/// Another controller process at this address, to which the cursor of the one before says nothing.
fn another_brain(address: SocketAddr) -> Result<Brain> {
    let brain = Brain::start_on(address)?;
    brain.replace(0xb7a2, Vec::new());
    Ok(brain)
}

fn only(pod: &str, requests: u64) -> BTreeMap<String, u64> {
    [(pod.to_owned(), requests)].into()
}

#[test]
fn a_proxy_that_never_had_weights_goes_by_its_fallback_until_the_controller_comes() -> Result<()> {
    let pods = Upstreams::start(&PODS)?;
    let nobody = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let weights = json!({ "subsets": [{ "name": "v1", "weight": 1 }, { "name": "v2", "weight": 1 }, { "name": "v3", "weight": 2 }] });
    let envoy = gates(
        &pods,
        nobody,
        &[
            ("word".into(), json!({ "fallback": "v2" })),
            ("weights".into(), json!({ "fallback": weights })),
            ("none".into(), json!({})),
            ("hosts".into(), json!({ "hosts": true, "fallback": "v3" })),
        ],
    )?;
    ensure!(reached(&envoy, "word", 40)? == only("v2", 40));
    ensure!(reached(&envoy, "hosts", 40)? == only("v3", 40));
    ensure!(reached(&envoy, "none", 40)? == only("v1", 40));
    let chosen = client::get(envoy.listener("none")?, "/")?;
    ensure!(chosen.header("x-got-subset").is_none(), "the default route's requests go as they came");
    let header = [("x-sluicegate-subset", "v2")];
    let chosen = Client::connect(envoy.listener("none")?)?.request("GET", "/", &header, b"")?;
    ensure!(chosen.header("x-pod").as_deref() == Some("v1"), "no split: nobody chooses a subset, a client neither");
    let by_weight = reached(&envoy, "weights", 400)?;
    for (pod, share) in [("v1", 100), ("v2", 100), ("v3", 200_u64)] {
        ensure!(by_weight[pod].abs_diff(share) <= 4, "{by_weight:?}");
    }

    let brain = Brain::start_on(nobody)?;
    let hosts = sluicegate_core::spec::SplitSpec { hosts: vec!["test".into()], ..split("by-host", 1, &[("v2", 1)]) };
    brain.publish_all([split("backend", 1, &[("v1", 0), ("v3", 1)]), hosts]);
    for plugin in ["word", "weights", "none"] {
        poll::until("weights after the fallback", poll::LONG, || match reached(&envoy, plugin, 10) {
            Ok(pods) if pods == only("v3", 10) => Ok(()),
            other => Err(format!("{plugin}: {other:?}")),
        })?;
    }
    Ok(())
}

#[test]
fn the_last_weights_stay_when_the_controller_goes_and_it_is_heard_when_it_is_back() -> Result<()> {
    let pods = Upstreams::start(&PODS)?;
    let brain = Brain::start()?;
    let address = brain.door.addr();
    let mut envoy = gates(&pods, address, &[("web".into(), json!({ "fallback": "v1" }))])?;
    brain.publish_and_wait(split("backend", 7, &[("v1", 0), ("v2", 1)]))?;
    ensure!(reached(&envoy, "web", 40)? == only("v2", 40));
    drop(brain);
    envoy.process().wait_log("the last ones stay in force", poll::LONG)?;
    ensure!(reached(&envoy, "web", 400)? == only("v2", 400));

    let brain = another_brain(address)?;
    brain.publish_and_wait(split("backend", 8, &[("v1", 0), ("v3", 1)]))?;
    ensure!(reached(&envoy, "web", 40)? == only("v3", 40));
    envoy.process().wait_log("the controller answers again", poll::LONG)?;
    Ok(())
}
