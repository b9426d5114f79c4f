//! What the reports say is what happened.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::counts::Outcome;
use sluicegate_core::latency::bucket;
use sluicegate_core::ledger::SIGN_OF_LIFE_MS;
use sluicegate_core::wire::REPORT_PATH;
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::fault_controller::Reply;
use sluicegate_tests::lab::{Door, Lab, WEB, listener, options, plugin};
use sluicegate_tests::load::{Limits, Load};
use sluicegate_tests::poll;
use std::time::Duration;

mod failures;
mod grpc;

at_both_doors! {
    every_request_is_counted_and_the_large_subset_is_observed_by_sample,
    statuses_and_latencies_are_right_to_the_bucket,
    a_report_that_fails_is_sent_again_and_nothing_counts_twice,
    a_proxy_without_traffic_says_that_nothing_is_new,
}

fn every_request_is_counted_and_the_large_subset_is_observed_by_sample(door: Door) -> Result<()> {
    let brain = Brain::start()?;
    let lab = Lab::at(door, brain.door.addr(), 2, json!({}))?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 90), ("v2", 5), ("v3", 5)]))?;
    let tally = lab.load(12_345, 8, "")?;
    ensure!(tally.answers() == 12_345 && tally.failures() == 0, "{tally:?}");
    let books = brain.wait_books("12,345 requests", |books| {
        let open = ["v2", "v3"].iter().any(|subset| books.outcome(subset, Outcome::Success) < books.requests(subset));
        if books.total() == 12_345 && !open { Ok(books.clone()) } else { Err(format!("{books:?}")) }
    })?;
    ensure!(books.by_subset() == tally.pods, "{:?}, sent {:?}", books.by_subset(), tally.pods);
    // 90 : 5, down to a power of two.
    ensure!((books.samples("v1"), books.samples("v2")) == (vec![16], vec![1]), "{books:?}");
    let scaled = books.outcome("v1", Outcome::Success);
    // One in each full block of 16; of the last block of each of two workers, none or one.
    ensure!(scaled.abs_diff(books.requests("v1")) <= 2 * 16, "{scaled} of {}", books.requests("v1"));
    ensure!(books.outcomes("v1").len() == 1, "{:?}", books.outcomes("v1"));
    Ok(())
}

fn statuses_and_latencies_are_right_to_the_bucket(door: Door) -> Result<()> {
    let brain = Brain::start()?;
    let lab = Lab::at(door, brain.door.addr(), 2, json!({}))?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 1), ("v2", 1)]))?;
    let mut sent: BTreeMap<&str, u64> = BTreeMap::new();
    for (status, outcome) in [(200, "2xx"), (201, "2xx"), (302, "3xx"), (404, "4xx"), (500, "5xx"), (503, "5xx")] {
        let head = format!("GET /?status={status} HTTP/1.1\r\nhost: test\r\n\r\n").into_bytes();
        let mut load = Load::with(lab.web()?, 4, Box::new(move |_, out| out.extend_from_slice(&head)))?;
        let tally = load.run(&Limits::count(40))?;
        ensure!(tally.statuses[&status] == 40, "{:?}", tally.statuses);
        *sent.entry(outcome).or_default() += 40;
    }
    brain.wait_books(&format!("{sent:?}"), |books| {
        let mut both = books.outcomes("v1");
        books.outcomes("v2").into_iter().for_each(|(outcome, n)| *both.entry(outcome).or_default() += n);
        if both == sent { Ok(()) } else { Err(format!("{both:?}")) }
    })?;

    let (mut expected, mut latest) = (Vec::new(), Duration::ZERO);
    brain.publish_and_wait(split("backend", 2, &[("v3", 1), ("v3-b", 1)]))?;
    for delay_ms in [30_u64, 100, 250] {
        let head = format!("GET /?delay_ms={delay_ms} HTTP/1.1\r\nhost: test\r\n\r\n").into_bytes();
        let mut load = Load::with(lab.web()?, 5, Box::new(move |_, out| out.extend_from_slice(&head)))?;
        load.run_with(&Limits::count(10), |answer| {
            // The client's clock runs from before the filter's to after it.
            expected.push((delay_ms * 1_000, answer.latency.as_micros() as u64));
            latest = latest.max(answer.latency);
        })?;
    }
    let counted = brain.wait_books("30 latencies", |books| {
        let mut all = books.latency("v3");
        all.merge(&books.latency("v3-b"));
        if all.total() == 30 { Ok(all) } else { Err(format!("{all:?}")) }
    })?;
    // Sorted, the n-th latency lies between the n-th delay and the n-th of the client's.
    let mut low: Vec<usize> = expected.iter().map(|(delay, _)| bucket(*delay)).collect();
    let mut high: Vec<usize> = expected.iter().map(|(_, seen)| bucket(*seen)).collect();
    low.sort_unstable();
    high.sort_unstable();
    let buckets: Vec<usize> =
        counted.0.iter().flat_map(|(bucket, n)| std::iter::repeat_n(usize::from(*bucket), *n as usize)).collect();
    for ((low, high), got) in low.iter().zip(&high).zip(&buckets) {
        ensure!((low..=high).contains(&got), "{buckets:?}, between {low:?} and {high:?}");
    }
    Ok(())
}

fn a_report_that_fails_is_sent_again_and_nothing_counts_twice(door: Door) -> Result<()> {
    let brain = Brain::start()?;
    let lab = Lab::at(door, brain.door.addr(), 2, json!({}))?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 1), ("v2", 1)]))?;
    brain.fault(|asked| {
        let replies =
            [Reply::Cut, Reply::Http(500, String::new(), Vec::new()), Reply::ok("", "{}"), Reply::ok("", "<html>")];
        (asked.path == REPORT_PATH).then(|| replies[asked.number % replies.len()].clone())
    });
    let mut sent = 0;
    for _ in 0..4 {
        sent += lab.load(500, 4, "")?.answers();
        let tried = brain.door.asked().iter().filter(|asked| asked.path == REPORT_PATH).count();
        poll::until("another report in vain", poll::LONG, || {
            let now = brain.door.asked().iter().filter(|asked| asked.path == REPORT_PATH).count();
            if now > tried + 1 { Ok(()) } else { Err(now) }
        })?;
    }
    // The first one may have come before, when there was nothing to say.
    let told = brain.reports().iter().any(|report| !report.series.is_empty());
    ensure!(sent == 2_000 && !told, "{:?}", brain.reports());
    brain.heal();
    sent += lab.load(500, 4, "")?.answers();
    brain.wait_books(&format!("{sent} requests"), |books| match (books.total(), books.open()) {
        (total, 0) if total == sent => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    // Confirmed series are not repeated while nothing changes.
    let reports = brain.reports().len();
    brain.publish_and_wait(split("backend", 2, &[("v1", 1), ("v2", 1)]))?;
    ensure!(lab.load(200, 4, "")?.answers() == 200);
    brain.wait_books(
        "200 more",
        |books| if books.total() == sent + 200 { Ok(()) } else { Err(books.total().to_string()) },
    )?;
    ensure!(brain.reports().len() <= reports + 4, "{} reports for one more load", brain.reports().len() - reports);
    Ok(())
}

fn a_proxy_without_traffic_says_that_nothing_is_new(door: Door) -> Result<()> {
    let brain = Brain::start()?;
    let _lab = Lab::at(door, brain.door.addr(), 2, json!({}))?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 1), ("v2", 1)]))?;
    let patience = 3 * Duration::from_millis(SIGN_OF_LIFE_MS);
    let reports = poll::until("two reports", patience, || match brain.reports() {
        reports if reports.len() >= 2 => Ok(reports),
        reports => Err(reports.len()),
    })?;
    ensure!(reports.iter().all(|report| report.series.is_empty()), "{reports:?}");
    Ok(())
}

#[test]
fn a_restarted_envoy_is_a_new_series_and_the_old_one_stays() -> Result<()> {
    let brain = Brain::start()?;
    let mut lab = Lab::start(brain.door.addr())?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 1), ("v2", 1)]))?;
    let total = |sent: u64| {
        brain.wait_books(&format!("{sent} requests"), |books| match books.total() {
            all if all == sent => Ok(()),
            other => Err(other.to_string()),
        })
    };
    ensure!(lab.load(500, 4, "")?.answers() == 500);
    total(500)?;
    lab.envoy.process().kill();
    let web = listener(WEB, &plugin(json!({}))?);
    lab.envoy = Envoy::start(options(&lab.pods, vec![web], brain.door.addr(), 2))?;
    brain.publish(split("backend", 2, &[("v1", 1), ("v2", 1)]));
    brain.wait_ack("default/backend", 2)?;
    ensure!(lab.load(300, 4, "")?.answers() == 300);
    total(800)?;
    let epochs: BTreeMap<u64, u64> = brain.reports().iter().fold(BTreeMap::new(), |mut all, report| {
        let own: u64 = report.series.iter().map(|series| series.counts.requests).sum();
        let most = all.entry(report.proxy.epoch).or_insert(0);
        *most = own.max(*most);
        all
    });
    ensure!(epochs.len() == 2 && epochs.values().all(|most| *most <= 500), "{epochs:?}");
    Ok(())
}
