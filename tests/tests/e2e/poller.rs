//! One VM of a proxy polls. Whatever happens to it, another goes on, requests obey, and none fails but a trapped
//! worker's own.
//!
//! The module with faults lets a test trap, block and stall a VM, make a worker poll, and tells which kind polls.

mod fault;
mod restart;
mod update;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_core::spec::SplitSpec;
use sluicegate_tests::brain::{Brain, Polled, answer, split};
use sluicegate_tests::client::Client;
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::Wasm;
use sluicegate_tests::lab::{self, Lab, WEB};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{paths, poll};

/// A lease not renewed lasts 5 s; ticks come every 0.5 s; the rest is for a busy machine.
const FAILOVER: Duration = Duration::from_millis(7_000);
/// A new configuration ticks after 30 ms, and main and workers need not agree who was first.
const AT_ONCE: Duration = Duration::from_millis(1_500);

/// A generation that sends everything to one pod.
fn all_to(pod: &str, generation: u64) -> SplitSpec {
    let weights = lab::PODS.map(|name| (name, u32::from(name == pod)));
    split("backend", generation, &weights)
}

/// The filter that obeys `x-fault`.
fn faulty(extra: Value) -> Result<Wasm> {
    let mut wasm = lab::plugin(extra)?;
    wasm.module = paths::wasm("sluicegate-faults.wasm")?;
    wasm.env = vec![("SLUICEGATE_FAULT".into(), "orders".into())];
    Ok(wasm)
}

/// Pods, a brain, and an Envoy with this filter that drains for so long.
fn start(wasm: &Wasm, workers: usize, drain_s: u32) -> Result<(Brain, Lab)> {
    let brain = Brain::start()?;
    let pods = Upstreams::start(&lab::PODS)?;
    let listeners = vec![lab::listener(WEB, wasm)];
    let options = Options { drain_s, ..lab::options(&pods, listeners, brain.door.addr(), workers) };
    Ok((brain, Lab { filter: wasm.filter(), ext_proc: None, pods, envoy: Envoy::start(options)? }))
}

/// Sends everything to v2, has every worker see a request, and returns the poll of the main thread, which takes over
/// now that it can tell itself from the others.
fn settle(brain: &Brain, lab: &Lab) -> Result<Polled> {
    brain.publish_and_wait(all_to("v2", 1))?;
    let tally = lab.load(200, 16, "")?;
    ensure!(tally.pods.get("v2") == Some(&200), "{:?}", tally.pods);
    brain.publish_and_wait(all_to("v2", 2))?;
    let acked = brain.polls().iter().rfind(|polled| polled.acked("backend") == Some(2)).map_or(0, |p| p.number);
    brain.wait_held("of the main thread", |polled| polled.number >= acked && !polled.by_worker())
}

/// Makes the worker behind this connection poll, and returns its poll, the only one then open.
fn seize(brain: &Brain, client: &mut Client) -> Result<Polled> {
    let before = brain.last()?.number;
    order(client, "seize")?;
    let own = brain.wait_held("of the worker", |polled| polled.number > before && polled.by_worker())?;
    // Whoever lost the lease takes the answer it still waits for, and asks no more.
    let seq = own.sync.cursor.map_or(0, |cursor| cursor.seq);
    brain.held().iter().filter(|other| other.number != own.number).for_each(|other| {
        brain.answer_poll(other, answer(seq, &[]));
    });
    Ok(own)
}

fn order(client: &mut Client, order: &str) -> Result<()> {
    let answer = client.request("GET", "/", &[("x-fault", order)], b"")?;
    ensure!(answer.status == 200, "{order}: {}", answer.status);
    Ok(())
}

/// Publishes a generation after the VM that polled was lost, and waits for another to ack it in time.
fn fail_over(brain: &Brain, split: SplitSpec) -> Result<Polled> {
    let (last, lost, generation) = (brain.last()?.number, Instant::now(), split.generation);
    brain.publish_and_wait(split)?;
    let by = brain.polls().into_iter().find(|polled| polled.acked("backend") == Some(generation));
    let by = by.context("no poll has this ack")?;
    let took = by.at.saturating_duration_since(lost);
    println!("acked after {took:?}, by {}", if by.by_worker() { "a worker" } else { "the main thread" });
    ensure!(by.number > last && took < FAILOVER, "another VM acks only after {took:?}");
    Ok(by)
}

#[test]
fn four_workers_and_the_main_thread_keep_one_poll_open_between_them() -> Result<()> {
    let (brain, lab) = start(&faulty(json!({}))?, 4, 1)?;
    settle(&brain, &lab)?;
    // Answers every open poll, so that only the main thread polls from here on.
    brain.publish_and_wait(all_to("v2", 3))?;
    poll::until("one poll to be open", poll::LONG, || match brain.held().len() {
        1 => Ok(()),
        other => Err(other),
    })?;
    let _ = brain.most_held();
    let (polls, began) = (brain.polls().len(), Instant::now());
    let steady = sluicegate_tests::steady::Steady::start(lab.web()?, 300.0)?;
    let mut generation = 3;
    while began.elapsed() < Duration::from_secs(4) {
        generation += 1;
        brain.publish_and_wait(all_to("v2", generation))?;
        poll::until("a second", poll::LONG, || (began.elapsed().as_secs() + 4 > generation).then_some(()).ok_or(""))?;
    }
    steady.stop_clean()?;
    let more = brain.polls().len() - polls;
    ensure!(brain.most_held() == 1, "several polls were open at once: {:#?}", brain.polls());
    ensure!(more as u64 == generation - 3, "{more} polls for {} changes", generation - 3);
    Ok(())
}
