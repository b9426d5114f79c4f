//! The whole of it: the real controller, its CLI and its folder, one or more real Envoys.

mod counts;
mod doors;
mod proxies;
mod restart;
mod weights;

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::Wasm;
use sluicegate_tests::lab::{self, Lab, WEB};
use sluicegate_tests::poll;
use sluicegate_tests::upstream::Upstreams;

/// A controller with the split `backend` at these weights of v1 and v2, which reports often.
fn controller(v1: u64, v2: u64) -> Result<Controller> {
    let split = split_yaml("backend", &[("v1", v1), ("v2", v2)], "");
    Controller::start_with(&[("backend.yaml", &split)], &FAST)
}

/// What a test's controller is started with.
const FAST: [&str; 2] = ["--report-interval", "200ms"];

/// That controller and an Envoy with so many workers, which has its weights.
fn gate(workers: usize, v1: u64, v2: u64) -> Result<(Controller, Lab)> {
    let controller = controller(v1, v2)?;
    let lab = Lab::with(controller.proxy, workers, &lab::plugin(json!({}))?)?;
    settled(&controller, 1)?;
    Ok((controller, lab))
}

/// An Envoy that has a node id, in front of these pods.
fn envoy(node: &str, pods: &Upstreams, controller: SocketAddr, wasm: &Wasm) -> Result<Envoy> {
    let mut options = lab::options(pods, vec![lab::listener(WEB, wasm)], controller, 2);
    options.extra = json!({ "node": { "id": node, "cluster": "test" } });
    Envoy::start(options)
}

/// The split as `describe -o json` shows it.
fn split(controller: &Controller) -> Result<Value> {
    controller.json("/v1/splits/default/backend")
}

/// A condition of the split.
fn condition(split: &Value, kind: &str) -> Value {
    let all = split["conditions"].as_array().into_iter().flatten();
    all.into_iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default()
}

/// Waits until the split is so.
fn until(controller: &Controller, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
    poll::until(what, poll::LONG, || {
        let split = split(controller).map_err(|why| format!("{why:#}"))?;
        if so(&split) { Ok(split) } else { Err(split.to_string()) }
    })
}

/// Waits until so many proxies live, and all of them run what they should.
fn settled(controller: &Controller, live: u64) -> Result<Value> {
    until(controller, &format!("the acks of {live} proxies"), |split| split["live"] == live && split["acked"] == live)
}

/// Sets weights by the CLI.
fn set(controller: &Controller, v1: u64, v2: u64) -> Result<String> {
    controller.cli(&["set-weight", "backend", &format!("v1={v1}"), &format!("v2={v2}")])
}
