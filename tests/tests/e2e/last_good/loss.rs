//! `on_loss`: what a proxy does when the controller has been out of reach for too long.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::fault_controller::Reply;
use sluicegate_tests::lab::PODS;
use sluicegate_tests::poll;
use sluicegate_tests::upstream::Upstreams;

use super::{another_brain, gates, only, reached};

const AFTER: Duration = Duration::from_secs(2);

fn until_all_go_to(envoy: &Envoy, listener: &str, pod: &str) -> Result<()> {
    poll::until(&format!("{listener} to send all to {pod}"), poll::LONG, || match reached(envoy, listener, 20) {
        Ok(pods) if pods == only(pod, 20) => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn a_lost_controller_reverts_those_that_asked_for_it_and_a_quiet_one_nobody() -> Result<()> {
    let pods = Upstreams::start(&PODS)?;
    let brain = Brain::start()?;
    let address = brain.door.addr();
    let plugins = [
        ("reverts".to_owned(), json!({ "on_loss": { "revert": "v1", "after": "2s" } })),
        ("holds".to_owned(), json!({ "on_loss": "hold" })),
    ];
    let envoy = gates(&pods, address, &plugins)?;
    brain.publish(split("backend", 1, &[("v1", 0), ("v2", 1)]));
    for (name, _) in &plugins {
        until_all_go_to(&envoy, name, "v2")?;
    }
    // The controller has nothing to say for much longer than AFTER, and is not lost for that.
    let quiet = Instant::now();
    poll::until("a long silence", poll::LONG, || match reached(&envoy, "reverts", 10) {
        Ok(pods) if pods != only("v2", 10) => Ok(Err(format!("after {:?}: {pods:?}", quiet.elapsed()))),
        Ok(_) if quiet.elapsed() > AFTER * 2 => Ok(Ok(())),
        other => Err(format!("{other:?}")),
    })?
    .map_err(anyhow::Error::msg)?;

    let lost = Instant::now();
    drop(brain);
    until_all_go_to(&envoy, "reverts", "v1")?;
    // Its last answer may be as old as the poll that was cut: half of AFTER.
    ensure!(lost.elapsed() > AFTER / 3, "reverted after {:?}", lost.elapsed());
    ensure!(reached(&envoy, "holds", 40)? == only("v2", 40));

    let brain = another_brain(address)?;
    until_all_go_to(&envoy, "reverts", "v2")?;

    brain.fault(|_| Some(Reply::Hang));
    until_all_go_to(&envoy, "reverts", "v1")?;
    ensure!(reached(&envoy, "holds", 40)? == only("v2", 40));
    brain.heal();
    brain.publish(split("backend", 2, &[("v1", 0), ("v3", 1)]));
    // As soon as Envoy gives up on the poll that hangs.
    until_all_go_to(&envoy, "reverts", "v3")
}
