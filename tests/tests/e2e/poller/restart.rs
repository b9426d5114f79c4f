//! A second Envoy process takes over from the first: its gauges begin with the parent's values, its shared data empty.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::brain::Brain;
use sluicegate_tests::client;
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::lab::{self, WEB};
use sluicegate_tests::load::{Limits, Load};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{poll, ports};

use super::all_to;

#[test]
fn after_a_hot_restart_the_fallback_decides_until_the_first_sync_and_nothing_is_counted_twice() -> Result<()> {
    let brain = Brain::start()?;
    let pods = Upstreams::start(&lab::PODS)?;
    let mut listener = lab::listener(WEB, &lab::plugin(json!({ "fallback": "v3" }))?);
    listener.port = ports::free()?;
    let options = lab::options(&pods, vec![listener], brain.door.addr(), 2);
    let mut parent = Envoy::start(Options { drain_s: 3, hot_restart: true, ..options })?;
    let address = parent.listener(WEB)?;
    brain.publish_and_wait(all_to("v2", 1))?;
    let mut sent = 0;
    let mut send = |pod: &str| -> Result<()> {
        let tally = Load::new(address, 8, "")?.run(&Limits::count(200))?;
        sent += 200;
        ensure!(tally.pods.get(pod) == Some(&200), "not {pod}: {:?}", tally.pods);
        Ok(())
    };
    send("v2")?;
    let epoch = brain.last()?.sync.proxy.epoch;

    brain.hush(true);
    let child = parent.hot_restart()?;
    let first = brain.wait_held("of the child", |polled| polled.sync.proxy.epoch != epoch)?;
    ensure!(first.sync.cursor.is_none() && first.sync.acks.is_empty(), "{first:?}");
    let version: Vec<u64> = child.stats(r"sluicegate\.plugin\..*\.version$")?.into_values().collect();
    ensure!(version.len() == 1 && version[0] != 0, "{version:?}");
    // Connections that the parent had accepted may still be answered by it; soon there are none.
    let mut asked = 0;
    poll::until("the child to answer", poll::LONG, || {
        asked += 1;
        match client::get(address, "/").map(|answer| answer.header("x-pod")) {
            Ok(Some(pod)) if pod == "v3" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })?;
    send("v3")?;
    ensure!(child.stats(r"sluicegate\.plugin\..*\.version$")?.values().all(|version| *version != 0));

    brain.hush(false);
    brain.publish(all_to("v1", 2));
    brain.wait_held("of the child that acks", |polled| {
        polled.sync.proxy.epoch != epoch && polled.acked("backend") == Some(2)
    })?;
    send("v1")?;
    parent.process().wait_exit(poll::LONG)?;
    send("v1")?;

    let expected = sent + asked;
    brain.wait_books("that every request was counted once", |books| {
        if books.total() == expected { Ok(()) } else { Err(format!("{:?} of {expected}", books.by_subset())) }
    })?;
    let epochs: BTreeSet<u64> = brain.reports().iter().map(|report| report.proxy.epoch).collect();
    ensure!(epochs.len() == 2, "{epochs:?}");
    Ok(())
}
