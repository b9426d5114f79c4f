//! Envoy gets another configuration of the filter, other code, or loses the filter and gets it back.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::brain::{Brain, Polled};
use sluicegate_tests::envoy_config::{Listener, Wasm};
use sluicegate_tests::lab::{self, Lab, WEB};
use sluicegate_tests::steady::Steady;
use sluicegate_tests::{paths, poll};

use super::{AT_ONCE, all_to, settle, start};

/// Long enough that nobody could take "after the drain" for "at once".
const DRAIN_S: u32 = 15;

fn plugin(authority: &str) -> Result<Wasm> {
    lab::plugin(json!({
        "controller": { "cluster": "sluicegate", "authority": authority },
        "fallback": "v3",
    }))
}

fn bare() -> Listener {
    Listener::new(WEB, "v1").subset("v2", "v2").subset("v3", "v3")
}

/// Gives Envoy this filter and returns the first poll like this, which must come at once.
fn update(brain: &Brain, lab: &mut Lab, wasm: &Wasm, like: impl Fn(&Polled) -> bool) -> Result<Polled> {
    let last = brain.last()?.number;
    lab.envoy.set_listeners(vec![lab::listener(WEB, wasm)])?;
    let taken = Instant::now();
    let first = brain.wait_held("of the new configuration", |polled| polled.number > last && like(polled))?;
    let took = first.at.saturating_duration_since(taken);
    println!("the new configuration polls {took:?} after Envoy took it");
    ensure!(took < AT_ONCE, "the new configuration polls only after {took:?}");
    Ok(first)
}

#[test]
fn a_new_configuration_polls_at_once_and_decides_by_the_weights_there_are() -> Result<()> {
    let (brain, mut lab) = start(&plugin("first")?, 2, DRAIN_S)?;
    settle(&brain, &lab)?;
    let (began, steady) = (Instant::now(), Steady::start(lab.web()?, 200.0)?);
    for authority in ["second", "third"] {
        let first = update(&brain, &mut lab, &plugin(authority)?, |polled| polled.authority == authority)?;
        ensure!(first.acked("backend") == Some(2) && first.sync.full, "{first:?}");
        ensure!(first.sync.proxy == brain.polls()[0].sync.proxy, "another proxy: {first:?}");
    }
    // Nobody decided by the fallback, or by nothing, at any moment.
    steady.stop_clean()?.only_since(began, "v2")?;
    brain.publish_and_wait(all_to("v1", 3))?;
    ensure!(brain.last()?.authority == "third", "{:?}", brain.last()?);
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v1") == Some(&100), "{:?}", tally.pods);
    Ok(())
}

#[test]
fn new_code_polls_at_once_and_decides_by_the_weights_there_are() -> Result<()> {
    let (brain, mut lab) = start(&plugin("first")?, 2, DRAIN_S)?;
    settle(&brain, &lab)?;
    let (began, steady) = (Instant::now(), Steady::start(lab.web()?, 200.0)?);
    let mut other = plugin("first")?;
    other.module = paths::wasm("sluicegate-split.wasm")?;
    let first = update(&brain, &mut lab, &other, |polled| !polled.sync.abilities.counts)?;
    ensure!(first.acked("backend") == Some(2) && first.sync.proxy == brain.polls()[0].sync.proxy, "{first:?}");
    // Under load the workers of the new code see requests; the main thread of the new code ends up polling.
    brain.publish_and_wait(all_to("v2", 3))?;
    brain.wait_held("of the new code", |polled| !polled.sync.abilities.counts)?;
    steady.stop_clean()?.only_since(began, "v2")?;
    brain.publish_and_wait(all_to("v1", 4))?;
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v1") == Some(&100), "{:?}", tally.pods);
    Ok(())
}

#[test]
fn a_filter_that_comes_back_while_draining_has_its_weights_and_afterwards_begins_anew() -> Result<()> {
    let (brain, mut lab) = start(&plugin("first")?, 2, 4)?;
    let epoch = settle(&brain, &lab)?.sync.proxy.epoch;
    let (began, steady) = (Instant::now(), Steady::start(lab.web()?, 200.0)?);

    lab.envoy.set_listeners(vec![bare()])?;
    ensure!(lab.get("/")?.header("x-pod").as_deref() == Some("v1"), "the filter is still there");
    let back = update(&brain, &mut lab, &plugin("second")?, |polled| polled.authority == "second")?;
    ensure!(back.sync.proxy.epoch == epoch && back.acked("backend") == Some(2), "{back:?}");
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v2") == Some(&100), "{:?}", tally.pods);

    let removed = Instant::now();
    lab.envoy.set_listeners(vec![bare()])?;
    poll::until("the filter's gauges to be gone", poll::LONG, || match lab.envoy.stats(r"sluicegate\.plugin\.") {
        Ok(stats) if stats.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    println!("gone {:?} after it was removed", removed.elapsed());
    brain.hush(true);
    let anew = update(&brain, &mut lab, &plugin("third")?, |polled| polled.authority == "third")?;
    ensure!(anew.sync.proxy.epoch != epoch && anew.sync.cursor.is_none() && anew.sync.acks.is_empty(), "{anew:?}");
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v3") == Some(&100), "the fallback is v3: {:?}", tally.pods);
    brain.hush(false);
    brain.wait_held("that acks", |polled| polled.number > anew.number && polled.acked("backend") == Some(2))?;
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v2") == Some(&100), "{:?}", tally.pods);
    let seen = steady.stop_clean()?;
    // Connections of the bare chain go on to v1 until their next answer closes them; but nobody took the fallback.
    let first: Vec<_> = seen.between(began, removed).collect();
    ensure!(!first.is_empty() && first.iter().all(|seeing| ["v1", "v2"].contains(&seeing.pod.as_str())), "{first:?}");
    Ok(())
}
