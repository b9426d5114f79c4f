//! Which subset a request gets: evenly, by chance, by key, by override.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_core::spec::SplitSpec;
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::client::{Client, Response};
use sluicegate_tests::http1;
use sluicegate_tests::lab::{Door, Lab};
use sluicegate_tests::load::{Limits, Load};

mod chance;
mod even;
mod hosts;
mod overrides;
mod sticky;

at_both_doors! {
    the_default_subset_goes_without_header_and_the_others_with_it,
}

struct Gate {
    brain: Brain,
    lab: Lab,
    web: SocketAddr,
}

impl Gate {
    fn open(door: Door, workers: usize, extra: Value) -> Result<Self> {
        let brain = Brain::start()?;
        let lab = Lab::at(door, brain.door.addr(), workers, extra)?;
        let web = lab.web()?;
        Ok(Self { brain, lab, web })
    }

    fn publish(&self, split: SplitSpec) -> Result<()> {
        self.brain.publish_and_wait(split)
    }

    /// The subset headers that the pods received, in order, of so many requests on one new connection; that is, by
    /// one worker. "" for none.
    fn sequence(&self, requests: u64, header_lines: &str) -> Result<Vec<String>> {
        let mut all = Vec::new();
        let tally = Load::new(self.web, 1, header_lines)?.run_with(&Limits::count(requests), |answer| {
            let subset = http1::header(answer.head, "x-got-subset").unwrap_or_default();
            all.push(String::from_utf8_lossy(subset).into_owned());
        })?;
        ensure!(tally.answers() == requests && tally.failures() == 0, "{tally:?}");
        Ok(all)
    }
}

fn ask(client: &mut Client, headers: &[(&str, &str)]) -> Result<Response> {
    let answer = client.request("GET", "/", headers, b"")?;
    ensure!(answer.status == 200, "{}", answer.status);
    Ok(answer)
}

fn pod(answer: &Response) -> String {
    answer.header("x-pod").unwrap_or_default()
}

fn the_default_subset_goes_without_header_and_the_others_with_it(door: Door) -> Result<()> {
    let gate = Gate::open(door, 1, json!({}))?;
    let mut client = Client::connect(gate.web)?;
    for (generation, weights, subset, pod) in [(1, [1, 0, 0], None, "v1"), (2, [0, 1, 0], Some("v2"), "v2")] {
        let subsets = [("v1", weights[0]), ("v2", weights[1]), ("v3", weights[2])];
        gate.publish(split("backend", generation, &subsets))?;
        let answer = client.request("GET", "/?echo=1", &[], b"")?;
        let sent = answer.header("x-got-subset");
        ensure!((sent.as_deref(), self::pod(&answer).as_str()) == (subset, pod), "{answer:?}");
        ensure!(answer.text().contains("x-sluicegate-subset") == subset.is_some(), "{}", answer.text());
    }
    gate.publish(SplitSpec { write_default: true, ..split("backend", 3, &[("v1", 1)]) })?;
    ensure!(ask(&mut client, &[])?.header("x-got-subset").as_deref() == Some("v1"));
    // The default need not come first.
    gate.publish(SplitSpec { default: "v2".into(), ..split("backend", 4, &[("v1", 0), ("v2", 1)]) })?;
    ensure!(ask(&mut client, &[])?.header("x-got-subset").is_none());
    Ok(())
}
