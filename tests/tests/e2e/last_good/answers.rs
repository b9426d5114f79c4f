//! One Envoy with a plugin per fault, so that all faults happen at once and each can be told from the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::wire::{SYNC_PATH, SyncRequest};
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::fault_controller::{Asked, Reply};
use sluicegate_tests::lab::PODS;
use sluicegate_tests::poll;
use sluicegate_tests::upstream::Upstreams;

use super::{faults, gates, only, reached};

/// Polls that each plugin must have made in vain.
const TRIES: usize = 3;
/// The filter's own promise: after a failure, and after an answer that brought nothing, it waits at least this long.
const PAUSE: Duration = Duration::from_millis(90);

fn plugin_of(asked: &Asked) -> Option<String> {
    let sync = (asked.path == SYNC_PATH).then(|| SyncRequest::decode(&asked.body).ok());
    sync.flatten().map(|sync| sync.proxy.plugin)
}

/// When each plugin polled since then.
fn polls(brain: &Brain, since: Instant) -> BTreeMap<String, Vec<Instant>> {
    let mut all: BTreeMap<String, Vec<Instant>> = BTreeMap::new();
    for asked in brain.door.asked().into_iter().filter(|asked| asked.at >= since) {
        if let Some(plugin) = plugin_of(&asked) {
            all.entry(plugin).or_default().push(asked.at);
        }
    }
    all
}

fn wait_acks(brain: &Brain, generation: u64, plugins: usize) -> Result<()> {
    poll::until(&format!("generation {generation} acked by {plugins}"), poll::LONG, || {
        let acked = brain.acked_by("default/backend", generation);
        if acked.len() == plugins { Ok(()) } else { Err(format!("{} have: {acked:?}", acked.len())) }
    })
}

#[test]
fn no_answer_takes_the_last_weights_away_and_polling_goes_on_in_measure() -> Result<()> {
    let faults = faults::all();
    let names: Vec<_> = faults.iter().map(|(name, _)| (name.clone(), json!({ "fallback": "v1" }))).collect();
    let by_plugin: BTreeMap<String, Reply> = faults.into_iter().collect();
    let pods = Upstreams::start(&PODS)?;
    let brain = Brain::start()?;
    let envoy = gates(&pods, brain.door.addr(), &names)?;
    brain.publish(split("backend", 1, &[("v1", 0), ("v2", 1)]));
    wait_acks(&brain, 1, names.len())?;

    let faulty = Arc::new(AtomicBool::new(false));
    let on = Arc::clone(&faulty);
    brain.fault(move |asked| {
        let plugin = plugin_of(asked).filter(|_| on.load(Ordering::Relaxed))?;
        by_plugin.get(&plugin).cloned()
    });
    faulty.store(true, Ordering::Relaxed);
    let began = Instant::now();
    // Answers the held polls; the polls that ack it are the first to meet a fault.
    brain.publish(split("backend", 2, &[("v1", 0), ("v3", 1)]));
    poll::until("every plugin to have polled in vain", poll::LONG * 2, || {
        let polls = polls(&brain, began);
        let late: Vec<_> = names.iter().filter(|(name, _)| polls.get(name).map_or(0, Vec::len) < TRIES).collect();
        if late.is_empty() { Ok(()) } else { Err(format!("not yet: {late:?}")) }
    })?;
    for (name, _) in &names {
        ensure!(reached(&envoy, name, 60)? == only("v3", 60), "{name}: not by the last weights");
    }
    let vain = polls(&brain, began);
    let window = began.elapsed();
    for (name, times) in &vain {
        // Two may arrive close together when the first was late, three may not.
        let close = times.windows(3).map(|three| three[2] - three[0]).min().unwrap_or(PAUSE);
        ensure!(close >= PAUSE, "{name}: three polls within {close:?}");
        ensure!(times.len() as u64 <= 4 * (window.as_secs() + 1), "{name}: {} polls in {window:?}", times.len());
    }

    faulty.store(false, Ordering::Relaxed);
    brain.publish(split("backend", 3, &[("v1", 1), ("v2", 1)]));
    wait_acks(&brain, 3, names.len())?;
    for (name, _) in &names {
        let pods = reached(&envoy, name, 60)?;
        // Two workers, each within two of its share.
        ensure!(pods.get("v2").is_some_and(|v2| v2.abs_diff(30) <= 4), "{name}: {pods:?}");
    }
    ensure!(envoy.stats("wasm.*(vm_failed|vm_reload).*")?.values().all(|count| *count == 0));
    Ok(())
}
