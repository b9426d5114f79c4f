//! The VM that polls traps, is blocked, or is stopped halfway.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::brain::{Brain, Polled, answer, split};
use sluicegate_tests::client::Client;
use sluicegate_tests::lab::Lab;
use sluicegate_tests::poll;
use sluicegate_tests::steady::Steady;

use super::{FAILOVER, all_to, fail_over, faulty, order, seize, settle, start};

/// Statuses of two requests on each of sixteen new connections.
fn probe(lab: &Lab, pod: &str) -> Result<Vec<[u16; 2]>> {
    let once = |client: &mut Client| -> Result<u16> {
        let answer = client.request("GET", "/", &[], b"")?;
        ensure!(answer.status != 200 || answer.header("x-pod").as_deref() == Some(pod), "{}", answer.text());
        Ok(answer.status)
    };
    let two = |_| -> Result<[u16; 2]> {
        let mut client = Client::connect(lab.web()?)?;
        Ok([once(&mut client)?, once(&mut client)?])
    };
    (0..16).map(two).collect()
}

/// Traps the VM that waits for the answer to this poll.
fn trap(brain: &Brain, polled: &Polled) {
    brain.answer_poll(polled, answer(2, &[split("fault-trap", 1, &[("v1", 1)])]));
}

#[test]
fn when_the_main_thread_traps_a_worker_polls_and_no_request_fails() -> Result<()> {
    let (brain, lab) = start(&faulty(json!({}))?, 2, 1)?;
    let main = settle(&brain, &lab)?;
    let steady = Steady::start(lab.web()?, 200.0)?;
    trap(&brain, &main);
    let next = fail_over(&brain, all_to("v3", 3))?;
    ensure!(next.by_worker(), "{next:?}");
    let acked = Instant::now();
    ensure!(probe(&lab, "v3")?.iter().all(|two| *two == [200, 200]));
    steady.stop_clean()?.only_since(acked, "v3")
}

#[test]
fn when_a_worker_that_polls_traps_only_its_own_requests_fail() -> Result<()> {
    let (brain, lab) = start(&faulty(json!({}))?, 2, 1)?;
    settle(&brain, &lab)?;
    let mut client = Client::connect(lab.web()?)?;
    let held = seize(&brain, &mut client)?;
    let steady = Steady::start(lab.web()?, 200.0)?;
    trap(&brain, &held);
    fail_over(&brain, all_to("v3", 3))?;
    // The client's own worker is the trapped one; other connections are on it or they are not.
    let own = client.request("GET", "/", &[], b"")?.status;
    let probes = probe(&lab, "v3")?;
    let failed = probes.iter().filter(|two| **two == [503, 503]).count();
    ensure!(own == 503 && failed > 0 && failed < 16, "{own}, {probes:?}");
    ensure!(probes.iter().all(|two| two[0] == two[1]), "a connection is on one worker: {probes:?}");
    let seen = steady.stop()?;
    ensure!(seen.tally.broken == 0 && seen.tally.statuses.keys().all(|s| [200, 503].contains(s)), "{:?}", seen.tally);
    Ok(())
}

#[test]
fn a_trapped_worker_heals_with_the_next_request_under_fail_reload() -> Result<()> {
    let mut wasm = faulty(json!({}))?;
    wasm.failure_policy = "FAIL_RELOAD".into();
    let (brain, lab) = start(&wasm, 2, 1)?;
    settle(&brain, &lab)?;
    let mut client = Client::connect(lab.web()?)?;
    let held = seize(&brain, &mut client)?;
    let began = Instant::now();
    trap(&brain, &held);
    poll::until("every worker to answer by the weights", poll::LONG, || {
        let probes = probe(&lab, "v2").map_err(|error| format!("{error:#}"))?;
        if probes.iter().all(|two| *two == [200, 200]) { Ok(()) } else { Err(format!("{probes:?}")) }
    })?;
    println!("healed after {:?}", began.elapsed());
    fail_over(&brain, all_to("v3", 3))?;
    ensure!(probe(&lab, "v3")?.iter().all(|two| *two == [200, 200]));
    Ok(())
}

#[test]
fn a_worker_blocked_for_seconds_delays_no_ack_of_the_main_thread() -> Result<()> {
    let (brain, mut lab) = start(&faulty(json!({}))?, 2, 1)?;
    settle(&brain, &lab)?;
    let steady = Steady::start(lab.web()?, 200.0)?;
    let mut client = Client::connect(lab.web()?)?;
    let began = Instant::now();
    client.send(b"GET / HTTP/1.1\r\nhost: test\r\nx-fault: block 3000\r\n\r\n")?;
    lab.envoy.process().wait_log("fault: blocks", poll::LONG)?;
    brain.publish_and_wait(all_to("v3", 3))?;
    let acked = Instant::now();
    ensure!(acked - began < Duration::from_secs(2), "acked after {:?}", acked - began);
    ensure!(client.read()?.status == 200 && began.elapsed() >= Duration::from_secs(3), "it was not blocked");
    // What waited for the blocked worker was decided after the ack too.
    steady.stop_clean()?.only_since(acked, "v3")
}

#[test]
fn when_the_worker_that_polls_is_blocked_another_polls_and_its_late_answer_changes_nothing() -> Result<()> {
    let (brain, mut lab) = start(&faulty(json!({}))?, 2, 1)?;
    settle(&brain, &lab)?;
    let mut client = Client::connect(lab.web()?)?;
    let blocked = seize(&brain, &mut client)?;
    brain.hush(true);
    let steady = Steady::start(lab.web()?, 100.0)?;
    let began = Instant::now();
    client.send(b"GET / HTTP/1.1\r\nhost: test\r\nx-fault: block 8000\r\n\r\n")?;
    lab.envoy.process().wait_log("fault: blocks", poll::LONG)?;
    // Even if the other worker is first, the main thread takes over from it.
    let next = brain.wait_held("of the main thread", |polled| polled.number > blocked.number && !polled.by_worker())?;
    println!("the main thread polls after {:?}", next.at - began);
    ensure!(next.at - began < FAILOVER, "another VM polls only after {:?}", next.at - began);
    let next = brain.answer_and_wait(&next, answer(2, &[all_to("v3", 5)]))?;
    let acked = Instant::now();
    ensure!(next.acked("backend") == Some(5) && began.elapsed() < Duration::from_secs(8), "{:#?}", brain.polls());
    // This answer waits at the blocked worker until it looks again.
    brain.answer_poll(&blocked, answer(2, &[all_to("v1", 4)]));
    ensure!(client.read()?.status == 200 && began.elapsed() >= Duration::from_secs(8), "it was not blocked");
    // The worker takes its late answer, and then the lease once more: it acks what the proxy runs.
    let back = brain.wait_held("of that worker again", |polled| polled.number > next.number && polled.by_worker())?;
    ensure!(back.acked("backend") == Some(5), "{:#?}", brain.polls());
    ensure!(probe(&lab, "v3")?.iter().all(|two| *two == [200, 200]));
    steady.stop_clean()?.only_since(acked, "v3")
}

#[test]
fn an_ack_is_true_even_if_the_vm_that_wrote_the_weights_has_not_yet_moved_the_version() -> Result<()> {
    let (brain, mut lab) = start(&faulty(json!({}))?, 2, 1)?;
    settle(&brain, &lab)?;
    let mut client = Client::connect(lab.web()?)?;
    let worker = seize(&brain, &mut client)?;
    // The main thread takes over while the poll of the worker is still open.
    order(&mut client, "release")?;
    let main = brain.wait_held("of the main thread", |polled| polled.number > worker.number && !polled.by_worker())?;
    // The main thread has moved the version; only a worker that has looked since can miss the next move.
    ensure!(probe(&lab, "v2")?.iter().all(|two| *two == [200, 200]));
    let steady = Steady::start(lab.web()?, 200.0)?;
    brain.answer_poll(&worker, answer(2, &[all_to("v3", 5), split("fault-stall", 3_000, &[("v1", 1)])]));
    lab.envoy.process().wait_log("fault: stalls", poll::LONG)?;
    let stalled = Instant::now();
    let next = brain.answer_and_wait(&main, answer(2, &[all_to("v3", 5)]))?;
    let acked = Instant::now();
    ensure!(next.acked("backend") == Some(5), "{next:?}");
    ensure!(acked - stalled < Duration::from_secs(2), "too late to tell: {:?}", acked - stalled);
    // Until the stalled worker answers again; what the other one answers meanwhile tells.
    let answer = client.request("GET", "/", &[], b"")?;
    ensure!(answer.header("x-pod").as_deref() == Some("v3"), "{}", answer.text());
    steady.stop_clean()?.only_since(acked, "v3")
}
