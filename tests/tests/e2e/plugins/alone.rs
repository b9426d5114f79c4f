//! Plugins do not see each other's weights.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::wire::{SYNC_PATH, Subscription, SyncRequest};
use sluicegate_tests::brain::{Brain, answer, split};
use sluicegate_tests::client;
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::Wasm;
use sluicegate_tests::fault_controller::Reply;
use sluicegate_tests::lab::{self, PODS, WEB, plugin};
use sluicegate_tests::load::{Limits, Load};
use sluicegate_tests::poll;
use sluicegate_tests::upstream::Upstreams;

/// (listener, vm_id, plugin, split, the pod it should reach): all shared but one thing.
const PLUGINS: [(&str, &str, &str, &str, &str); 8] = [
    ("one", "shared", "gate", "first", "v1"),
    ("other-split", "shared", "gate", "second", "v2"),
    ("other-name", "shared", "gate-2", "first", "v3"),
    ("other-both", "shared", "gate-2", "second", "v1"),
    ("no-vm-id", "", "gate", "first", "v2"),
    ("no-vm-id-other-split", "", "gate", "second", "v3"),
    ("no-vm-id-other-name", "", "gate-2", "first", "v1"),
    ("own-vm-id", "own", "gate", "first", "v3"),
];

#[test]
fn plugins_that_share_everything_but_one_name_have_weights_of_their_own() -> Result<()> {
    // The name of the VM is not in a sync; the authority tells it.
    let wasm = |(_, vm_id, name, split, _): (&str, &str, &str, &str, &str)| -> Result<Wasm> {
        let mut wasm = plugin(json!({ "split": split }))?.named(name);
        wasm.config["controller"]["authority"] = json!(format!("vm-{vm_id}"));
        wasm.vm_id = vm_id.to_owned();
        Ok(wasm)
    };
    let brain = Brain::start()?;
    brain.fault(|asked| {
        let sync = (asked.path == SYNC_PATH).then(|| SyncRequest::decode(&asked.body).ok()).flatten()?;
        let Subscription::Split(name) = &sync.subscription else { return None };
        let head = String::from_utf8_lossy(&asked.head);
        let (_, _, _, own, pod) = *PLUGINS.iter().find(|(_, vm_id, plugin, split, _)| {
            let authority = format!("host: vm-{vm_id}\r\n");
            head.contains(&authority) && sync.proxy.plugin == *plugin && *name == format!("default/{split}")
        })?;
        let spec = split(own, 1, &[("main", 0), (pod, 1)]);
        sync.cursor.is_none().then(|| Reply::ok("", answer(1, &[spec]).encode()))
    });
    let pods = Upstreams::start(&PODS)?;
    let listeners: Vec<_> =
        PLUGINS.iter().map(|one| Ok(lab::listener(one.0, &wasm(*one)?).subset("v1", "v1"))).collect::<Result<_>>()?;
    let envoy = Envoy::start(lab::options(&pods, listeners, brain.door.addr(), 2))?;
    for (listener, _, _, _, pod) in PLUGINS {
        let expected: BTreeMap<String, u64> = [(pod.to_owned(), 20)].into();
        poll::until(&format!("{listener} to have its weights"), poll::LONG, || {
            let tally = envoy.listener(listener).and_then(|at| Load::new(at, 4, "")?.run(&Limits::count(20)));
            match tally {
                Ok(tally) if tally.subsets == expected => Ok(()),
                other => Err(format!("{:?}", other.map(|tally| tally.subsets))),
            }
        })?;
    }
    // All of them have theirs: still nobody has another's.
    for (listener, _, _, _, pod) in PLUGINS {
        let tally = Load::new(envoy.listener(listener)?, 4, "")?.run(&Limits::count(60))?;
        ensure!(tally.subset(pod) == 60 && tally.failures() == 0, "{listener}: {:?}", tally.subsets);
    }
    Ok(())
}

#[test]
fn two_filters_in_one_chain_decide_and_count_each_for_itself() -> Result<()> {
    let brain = Brain::start()?;
    let pods = Upstreams::start(&PODS)?;
    let colour = plugin(json!({ "split": "colour", "header": "X-Colour" }))?.named("colour");
    let both = lab::listener(WEB, &plugin(json!({}))?).filter(colour.filter());
    let envoy = Envoy::start(lab::options(&pods, vec![both], brain.door.addr(), 2))?;
    brain.publish(split("backend", 1, &[("v1", 1), ("v2", 1)]));
    brain.publish(split("colour", 1, &[("grey", 3), ("red", 1)]));
    // The brain tells everybody everything, so each plugin's own ack counts.
    for (split, plugin) in [("default/backend", "sluicegate"), ("default/colour", "colour")] {
        poll::until(&format!("{plugin}'s ack of {split}"), poll::LONG, || match brain.acked_by(split, 1) {
            plugins if plugins.contains(plugin) => Ok(()),
            others => Err(format!("{others:?}")),
        })?;
    }
    let (mut red, mut v2, requests) = (0, 0, 200);
    for _ in 0..requests {
        let answer = client::get(envoy.listener(WEB)?, "/?echo=1")?;
        red += u64::from(answer.text().contains("x-colour: red\r\n"));
        v2 += u64::from(answer.header("x-pod").as_deref() == Some("v2"));
        ensure!(!answer.text().contains("grey"), "{}", answer.text());
    }
    ensure!(red.abs_diff(50) <= 4 && v2.abs_diff(100) <= 4, "{red} red, {v2} v2");
    let expected: BTreeMap<String, u64> = [("v1", requests - v2), ("v2", v2), ("grey", requests - red), ("red", red)]
        .map(|(s, n)| (s.to_owned(), n))
        .into();
    brain.wait_books(&format!("{expected:?}"), |books| match books.by_subset() {
        counted if counted == expected => Ok(()),
        other => Err(format!("{other:?}")),
    })
}
