//! Never backwards: whatever arrives, in whatever order, from whichever controller, requests obey the highest
//! generation the proxy has seen, and its acks name that one.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::spec::SplitSpec;
use sluicegate_core::wire::{Ack, Cursor, Removed};
use sluicegate_tests::brain::{Brain, Polled, answer, split};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::lab::{self, Door, Lab, WEB};
use sluicegate_tests::poll;
use sluicegate_tests::steady::Steady;
use sluicegate_tests::upstream::Upstreams;

at_both_doors! {
    a_stale_delta_changes_nothing_and_the_ack_names_what_runs,
    a_second_controller_with_an_older_folder_takes_nobody_back,
    a_restarted_controller_takes_nobody_back_even_if_it_forgot_the_last_change,
    a_deleted_split_is_not_brought_back_by_what_was_said_before,
}

/// A generation that sends everything to one pod.
fn all_to(pod: &str, generation: u64) -> SplitSpec {
    let weights = lab::PODS.map(|name| (name, u32::from(name == pod)));
    split("backend", generation, &weights)
}

/// Fails unless this poll acks exactly this content.
fn acks(polled: &Polled, split: &SplitSpec) -> Result<()> {
    let expected = Ack(split.generation, split.digest());
    ensure!(polled.sync.acks.get("default/backend") == Some(&expected), "{polled:?} does not ack {expected:?}");
    Ok(())
}

/// A proxy that runs generation 5, with a load beside, and its poll.
fn at_generation_five(door: Door) -> Result<(Brain, Lab, Steady, Polled)> {
    let brain = Brain::start()?;
    let lab = Lab::at(door, brain.door.addr(), 2, json!({}))?;
    brain.publish_and_wait(all_to("v2", 5))?;
    let steady = Steady::start(lab.web()?, 200.0)?;
    let held = brain.wait_held("for the next change", |polled| polled.acked("backend") == Some(5))?;
    Ok((brain, lab, steady, held))
}

/// Requests go to this pod, on every worker, and the next change still arrives.
fn goes_on(brain: &Brain, lab: &Lab, pod: &str) -> Result<()> {
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get(pod) == Some(&100), "{:?}", tally.pods);
    brain.publish_and_wait(all_to("v3", 100))?;
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v3") == Some(&100), "{:?}", tally.pods);
    Ok(())
}

fn a_stale_delta_changes_nothing_and_the_ack_names_what_runs(door: Door) -> Result<()> {
    let (brain, lab, steady, held) = at_generation_five(door)?;
    let began = Instant::now();
    let next = brain.answer_and_wait(&held, answer(1, &[all_to("v1", 4)]))?;
    acks(&next, &all_to("v2", 5))?;
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v2") == Some(&100), "{:?}", tally.pods);
    steady.stop_clean()?.only_since(began, "v2")?;
    goes_on(&brain, &lab, "v2")
}

fn a_second_controller_with_an_older_folder_takes_nobody_back(door: Door) -> Result<()> {
    let (brain, lab, steady, held) = at_generation_five(door)?;
    let began = Instant::now();
    let mut older = answer(0, &[all_to("v1", 3)]);
    older.cursor = Cursor { instance: 0x01de, seq: 9 };
    let next = brain.answer_and_wait(&held, older)?;
    acks(&next, &all_to("v2", 5))?;
    // Also the poll between, which went to that controller: it hears what the proxy really runs.
    let told = brain.polls().into_iter().filter(|polled| polled.sync.cursor.is_some_and(|c| c.instance == 0x01de));
    let told: Vec<Polled> = told.collect();
    ensure!(!told.is_empty(), "the cursor of the second controller was never used");
    told.iter().try_for_each(|polled| acks(polled, &all_to("v2", 5)))?;
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v2") == Some(&100), "{:?}", tally.pods);
    steady.stop_clean()?.only_since(began, "v2")?;
    goes_on(&brain, &lab, "v2")
}

fn a_restarted_controller_takes_nobody_back_even_if_it_forgot_the_last_change(door: Door) -> Result<()> {
    let (brain, lab, steady, _) = at_generation_five(door)?;
    let began = Instant::now();
    for (instance, knows) in [(0x2e57, all_to("v2", 5)), (0xf026, all_to("v1", 4))] {
        brain.replace(instance, vec![knows]);
        let told = brain.wait_held("of the new instance", |polled| {
            polled.sync.cursor.is_some_and(|cursor| cursor.instance == instance)
        })?;
        acks(&told, &all_to("v2", 5))?;
    }
    steady.stop_clean()?.only_since(began, "v2")?;
    goes_on(&brain, &lab, "v2")
}

fn a_deleted_split_is_not_brought_back_by_what_was_said_before(door: Door) -> Result<()> {
    let (brain, lab, steady, held) = at_generation_five(door)?;
    let mut deletion = answer(1, &[]);
    deletion.removed = vec![Removed { name: "default/backend".into(), generation: 6 }];
    let next = brain.answer_and_wait(&held, deletion)?;
    let gone = Instant::now();
    ensure!(next.sync.acks.get("default/backend") == Some(&Ack(6, 0)), "{next:?}");
    let next = brain.answer_and_wait(&next, answer(1, &[all_to("v2", 5)]))?;
    ensure!(next.sync.acks.get("default/backend") == Some(&Ack(6, 0)), "{next:?}");
    let tally = lab.load(100, 16, "")?;
    // Without a split, and without a fallback, nothing is written: the default route.
    ensure!(tally.pods.get("v1") == Some(&100) && tally.subset("") == 100, "{tally:?}");
    steady.stop_clean()?.only_since(gone, "v1")?;
    goes_on(&brain, &lab, "v1")
}

#[test]
fn the_answers_of_two_polls_may_come_in_any_order() -> Result<()> {
    let brain = Brain::start()?;
    let pods = Upstreams::start(&lab::PODS)?;
    let plugin =
        |authority: &str| lab::plugin(json!({ "controller": { "cluster": "sluicegate", "authority": authority } }));
    let listeners = vec![lab::listener(WEB, &plugin("first")?)];
    let options = Options { drain_s: 15, ..lab::options(&pods, listeners, brain.door.addr(), 2) };
    let envoy = Envoy::start(options)?;
    let mut lab = Lab { filter: plugin("first")?.filter(), ext_proc: None, pods, envoy };
    brain.publish_and_wait(all_to("v2", 5))?;
    let first = brain.wait_held("of the first configuration", |polled| polled.acked("backend") == Some(5))?;

    // A new configuration polls beside the old one, whose poll is still open.
    lab.envoy.set_listeners(vec![lab::listener(WEB, &plugin("second")?)])?;
    let second = brain.wait_held("of the second configuration", |polled| polled.authority == "second")?;
    let steady = Steady::start(lab.web()?, 200.0)?;
    let next = brain.answer_and_wait(&second, answer(1, &[all_to("v3", 7)]))?;
    acks(&next, &all_to("v3", 7))?;
    let acked = Instant::now();

    // The split that is no good makes a line in the log: that is how we see that this answer was taken.
    brain.answer_poll(&first, answer(1, &[all_to("v1", 6), split("marker", 0, &[("v1", 1)])]));
    lab.envoy.process().wait_log("default/marker generation 0 is refused", poll::LONG)?;
    let tally = lab.load(100, 16, "")?;
    ensure!(tally.pods.get("v3") == Some(&100), "{:?}", tally.pods);
    let next = brain.answer_and_wait(&next, answer(1, &[all_to("v1", 6)]))?;
    acks(&next, &all_to("v3", 7))?;
    steady.stop_clean()?.only_since(acked, "v3")
}
