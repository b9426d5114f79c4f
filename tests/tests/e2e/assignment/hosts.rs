//! One filter, a thousand splits, chosen by host.

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::spec::SplitSpec;
use sluicegate_tests::brain::split;
use sluicegate_tests::client::Client;
use sluicegate_tests::lab::Door;
use sluicegate_tests::poll;

use super::{Gate, ask, pod};

at_both_doors! {
    a_thousand_splits_are_told_apart_by_host,
}

fn a_thousand_splits_are_told_apart_by_host(door: Door) -> Result<()> {
    let gate = Gate::open(door, 2, json!({ "hosts": true }))?;
    let to = |n: usize| ["v1", "v2", "v3"][n % 3];
    let by_host = |n: usize, hosts: Vec<String>| {
        let weights = ["v1", "v2", "v3"].map(|pod| (pod, u32::from(pod == to(n))));
        SplitSpec { hosts, ..split(&format!("split-{n}"), 1, &weights) }
    };
    let mut splits: Vec<SplitSpec> = (0..1_000).map(|n| by_host(n, vec![format!("host-{n}.test")])).collect();
    splits.push(by_host(1_000, vec!["*.wild.test".into()]));
    splits.push(by_host(1_001, vec!["*.deep.wild.test".into(), "[::1]".into(), "10.0.0.1".into()]));
    gate.brain.publish_all(splits);
    gate.brain.wait_ack("default/split-1001", 1)?;
    let mut clients = [Client::connect(gate.web)?, Client::connect(gate.web)?, Client::connect(gate.web)?];
    let mut goes = |host: &str| -> Result<(String, Option<String>)> {
        clients.rotate_left(1);
        let answer = ask(&mut clients[0], &[("host", host), ("x-sluicegate-subset", "v9")])?;
        Ok((pod(&answer), answer.header("x-got-subset")))
    };
    for n in 0..1_000 {
        let got = goes(&format!("host-{n}.test"))?;
        let subset = (n % 3 > 0).then(|| to(n).to_owned());
        ensure!(got == (to(n).to_owned(), subset), "host-{n}.test: {got:?}");
    }
    let cases = [
        ("HOST-1.Test", 1),
        ("host-2.test:8080", 2),
        ("host-1.test.", 1),
        ("Host-2.TEST.:443", 2),
        ("a.wild.test", 1_000),
        ("a.b.wild.test:1", 1_000),
        ("a.deep.wild.test", 1_001),
        ("deep.wild.test", 1_000),
        ("[::1]:8080", 1_001),
        ("10.0.0.1:80", 1_001),
    ];
    for (host, n) in cases {
        ensure!(goes(host)?.0 == to(n), "{host}: {:?}", goes(host)?);
    }
    for host in ["wild.test", "host-1000.test", "xhost-1.test", "host-1.test.x", "test", "10.0.0.2", "[::2]"] {
        ensure!(goes(host)? == ("v1".into(), None), "{host}: {:?}", goes(host)?);
    }
    // One change among the thousand is one split in the answer.
    gate.brain.publish(SplitSpec { generation: 2, ..by_host(2, vec!["host-1.test".into()]) });
    gate.brain.publish_all([by_host(1, Vec::new())].map(|s| SplitSpec { generation: 2, ..s }));
    gate.brain.wait_ack("default/split-1", 2)?;
    poll::until("a host that moved to another split", poll::LONG, || match goes("host-1.test") {
        Ok((pod, _)) if pod == "v3" => Ok(()),
        other => Err(format!("{other:?}")),
    })
}
