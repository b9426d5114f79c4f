//! Nobody chooses their own subset.

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::client::Client;
use sluicegate_tests::lab::{Door, Lab};

at_both_doors! {
    a_client_does_not_choose_its_subset_by_sending_the_header,
}

/// Ways to send the subset header for v2, whose route they match directly.
const CLAIMS: [&str; 6] = [
    "x-sluicegate-subset: v2\r\n",
    "x-sluicegate-subset: v2\r\nx-sluicegate-subset: v2\r\n",
    "X-SluiceGate-Subset:    v2   \r\n",
    "x-sluicegate-subset: v3\r\nX-SLUICEGATE-SUBSET: v2\r\n",
    "x-sluicegate-subset: \r\nx-sluicegate-subset: v2\r\n",
    "connection: x-sluicegate-subset\r\nx-sluicegate-subset: v2\r\n",
];

fn a_client_does_not_choose_its_subset_by_sending_the_header(door: Door) -> Result<()> {
    let brain = Brain::start()?;
    let lab = Lab::at(door, brain.door.addr(), 2, json!({}))?;
    let mut expected = 0;
    // Nothing known yet; the default subset; another one.
    for (generation, weights, pod, subset) in
        [(0, [0, 0, 0], "v1", None), (1, [1, 0, 0], "v1", None), (2, [0, 0, 1], "v3", Some("v3"))]
    {
        if generation > 0 {
            let subsets = [("v1", weights[0]), ("v2", weights[1]), ("v3", weights[2])];
            brain.publish_and_wait(split("backend", generation, &subsets))?;
        }
        for claim in CLAIMS {
            let mut client = Client::connect(lab.web()?)?;
            for _ in 0..4 {
                client.send(format!("GET /?echo=1 HTTP/1.1\r\nhost: test\r\n{claim}\r\n").as_bytes())?;
                let answer = client.read()?;
                let got = (answer.status, answer.header("x-pod"), answer.header("x-got-subset"));
                ensure!(got == (200, Some(pod.into()), subset.map(Into::into)), "{generation} {claim:?}: {got:?}");
                let sent = answer.text().matches("x-sluicegate-subset").count();
                ensure!(sent == usize::from(subset.is_some()), "{}", answer.text());
                expected += u64::from(generation > 0);
            }
        }
    }
    brain.wait_books("every one of them, and none in v2", |books| {
        let counted = books.by_subset();
        if books.total() == expected && books.requests("v2") == 0 { Ok(()) } else { Err(format!("{counted:?}")) }
    })
}
