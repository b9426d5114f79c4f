//! Many proxies on one controller, some of which never drain: what `make bench-fanout` measures, as far as it must hold.

use anyhow::{Result, ensure};
use serde_json::Value;
use sluicegate_core::wire::Subscription;
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::fleet::{Fleet, Slow};
use sluicegate_tests::poll;

const PROXIES: usize = 500;
/// In each of four ways.
const SLOW: usize = 48;

/// The split, without its proxies.
fn listed(controller: &Controller) -> Result<Value> {
    Ok(controller.json("/v1/splits")?["splits"][0].take())
}

/// Waits until so many have acked this generation, and so many are live.
fn until(controller: &Controller, generation: u64, acked: usize, live: usize) -> Result<()> {
    poll::until(&format!("generation {generation} acked by {acked} of {live}"), poll::LONG, || {
        let split = listed(controller).map_err(|why| format!("{why:#}"))?;
        let found = (&split["generation"], &split["acked"], &split["live"]);
        if found == (&generation.into(), &acked.into(), &live.into()) { Ok(()) } else { Err(format!("{found:?}")) }
    })
}

/// Waits until the fleet has read so many answers with news.
fn read(fleet: &Fleet, wanted: usize) -> Result<()> {
    let mut seen = 0;
    poll::until("answers", poll::LONG, || {
        let new = fleet.take();
        seen += new.news.len();
        if seen >= wanted { Ok(()) } else { Err(format!("{seen} of {wanted}, {:?}", new.failures)) }
    })?;
    ensure!(seen == wanted, "{seen} answers for {wanted} proxies");
    Ok(())
}

#[test]
fn proxies_that_never_drain_keep_nobody_waiting() -> Result<()> {
    let mut controller = Controller::start(&[("many.yaml", &split_yaml("many", &[("v1", 1), ("v2", 0)], ""))])?;
    let fleet = Fleet::start(controller.proxy, PROXIES, &Subscription::Split("default/many".into()))?;
    until(&controller, 1, PROXIES, PROXIES)?;
    read(&fleet, PROXIES)?;
    let before = controller.process().resident()?;

    for how in [Slow::Deaf, Slow::Greedy, Slow::HalfHead, Slow::HalfBody] {
        fleet.slow(SLOW / 4, how)?;
    }
    let good = PROXIES - SLOW;
    controller.cli(&["set-weight", "--no-wait", "many", "v1=1", "v2=1"])?;
    read(&fleet, good)?;
    // The slow ones have not acked, so they are not counted; then they are lost.
    until(&controller, 2, good, good)?;
    controller.cli(&["set-weight", "many", "v1=0", "v2=1"])?;
    read(&fleet, good)?;
    until(&controller, 3, good, good)?;
    let grown = controller.process().resident()?.saturating_sub(before) >> 20;
    ensure!(grown < 64, "{SLOW} slow proxies cost {grown} MiB");
    Ok(())
}

#[test]
fn a_fleet_comes_back_to_a_controller_that_was_killed() -> Result<()> {
    let mut controller = Controller::start(&[("many.yaml", &split_yaml("many", &[("v1", 1), ("v2", 0)], ""))])?;
    let fleet = Fleet::start(controller.proxy, PROXIES, &Subscription::Split("default/many".into()))?;
    until(&controller, 1, PROXIES, PROXIES)?;
    controller.restart()?;
    until(&controller, 1, PROXIES, PROXIES)?;
    drop(fleet.take());
    controller.cli(&["set-weight", "many", "v1=0", "v2=1"])?;
    read(&fleet, PROXIES)?;
    until(&controller, 2, PROXIES, PROXIES)
}
