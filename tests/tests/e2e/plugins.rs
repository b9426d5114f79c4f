//! Several plugins in one Envoy, changes of their configuration, and what they show to Envoy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::spec::{Assignment, SplitSpec, Sticky, StickyKey};
use sluicegate_core::wire::REPORT_PATH;
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::{Listener, Wasm};
use sluicegate_tests::lab::{self, Lab, PODS, WEB, plugin};
use sluicegate_tests::load::{Limits, Load, Tally};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{paths, poll};

mod alone;
mod shown;

/// Steady requests while `change` runs three times, each followed by a hundred answers; then what came back.
fn under_load(envoy: &mut Envoy, mut change: impl FnMut(&mut Envoy, usize) -> Result<()>) -> Result<Tally> {
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let limits = Limits::count(u64::MAX).rate(400.0).until(&stop);
    let mut load = Load::new(envoy.listener(WEB)?, 8, "")?;
    let seen = Arc::clone(&answers);
    let running = thread::spawn(move || {
        load.run_with(&limits, |_| {
            seen.fetch_add(1, Ordering::Relaxed);
        })
    });
    let changed = (1..4).try_for_each(|n| {
        change(envoy, n)?;
        let before = answers.load(Ordering::Relaxed);
        poll::until("a hundred answers after it", poll::LONG, || match answers.load(Ordering::Relaxed) - before {
            100.. => Ok(()),
            few => Err(few),
        })
    });
    stop.store(true, Ordering::Relaxed);
    let tally = running.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
    changed.map(|()| tally)
}

/// The plugin with another configuration of the same meaning, and a fallback that would show.
fn variant(n: usize) -> Result<Wasm> {
    plugin(
        json!({ "fallback": "v1", "access_log": n % 2 == 1, "on_loss": { "revert": "v1", "after": format!("{}m", n + 5) } }),
    )
}

fn wait_total(brain: &Brain, sent: u64) -> Result<()> {
    brain.wait_books(&format!("{sent} requests"), |books| match (books.total(), books.open()) {
        (total, 0) if total == sent => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn weights_and_counts_survive_changes_of_the_listener() -> Result<()> {
    let brain = Brain::start()?;
    let mut lab = Lab::with(brain.door.addr(), 2, &variant(0)?)?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 0), ("v2", 1), ("v3", 1)]))?;
    let tally = under_load(&mut lab.envoy, |envoy, n| envoy.set_listeners(vec![lab::listener(WEB, &variant(n)?)]))?;
    ensure!(tally.failures() == 0, "{:?}, {} broken", tally.statuses, tally.broken);
    ensure!(!tally.pods.contains_key("v1"), "the fallback showed: {:?}", tally.pods);
    wait_total(&brain, tally.answers())?;
    let epochs: std::collections::BTreeSet<u64> = brain.syncs().iter().map(|sync| sync.proxy.epoch).collect();
    ensure!(epochs.len() == 1, "one process, one epoch: {epochs:?}");
    brain.publish_and_wait(split("backend", 2, &[("v1", 1)]))
}

#[test]
fn weights_and_counts_survive_changes_by_ecds_and_a_bad_one_is_refused() -> Result<()> {
    let brain = Brain::start()?;
    let pods = Upstreams::start(&PODS)?;
    let mut options = lab::options(&pods, Vec::new(), brain.door.addr(), 2);
    options.ecds = vec![variant(0)?];
    let mut envoy = Envoy::start(options)?;
    let web = Listener::new(WEB, "v1").subset("v2", "v2").subset("v3", "v3");
    envoy.set_listeners(vec![web.filter(variant(0)?.filter_by_ecds(&envoy.xds()))])?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 0), ("v2", 1), ("v3", 1)]))?;
    let tally = under_load(&mut envoy, |envoy, n| {
        envoy.set_ecds(variant(n)?)?;
        let bad = envoy.set_ecds(plugin(json!({ "header": "host" }))?);
        ensure!(bad.is_err(), "a bad configuration was taken");
        Ok(())
    })?;
    ensure!(tally.failures() == 0, "{:?}, {} broken", tally.statuses, tally.broken);
    ensure!(!tally.pods.contains_key("v1"), "the fallback showed: {:?}", tally.pods);
    wait_total(&brain, tally.answers())?;
    brain.publish_and_wait(split("backend", 2, &[("v1", 1)]))
}

#[test]
fn the_smaller_build_splits_alike_and_says_that_it_does_not_count() -> Result<()> {
    let brain = Brain::start()?;
    let mut wasm = plugin(json!({}))?;
    wasm.module = paths::wasm("sluicegate-split.wasm")?;
    let lab = Lab::with(brain.door.addr(), 2, &wasm)?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 70), ("v2", 30)]))?;
    let tally = lab.load(1_000, 4, "")?;
    ensure!(tally.failures() == 0 && tally.pods["v2"].abs_diff(300) <= 4, "{tally:?}");
    let key = StickyKey::Cookie { name: "uid".into(), ttl: None };
    let assignment = Assignment::Sticky(Sticky { key, salt: "s".into() });
    brain.publish_and_wait(SplitSpec { assignment, ..split("backend", 2, &[("v1", 1), ("v2", 1)]) })?;
    ensure!(lab.get("/")?.headers("set-cookie").is_empty());
    let tally = lab.load(400, 4, "cookie: uid=me\r\n")?;
    ensure!(tally.failures() == 0 && tally.pods.len() == 1, "{tally:?}");
    ensure!(brain.syncs().iter().all(|sync| !sync.abilities.counts && !sync.abilities.cookies));
    ensure!(brain.door.asked().iter().all(|asked| asked.path != REPORT_PATH));
    ensure!(lab.envoy.stats("^wasmcustom\\.sluicegate.*_total$")?.is_empty());
    Ok(())
}
