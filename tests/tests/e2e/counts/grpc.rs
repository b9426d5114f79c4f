//! gRPC: failures are HTTP 200.

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::spec::{Protocol, SplitSpec};
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::client::Client;
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::cluster;
use sluicegate_tests::ext_proc::ExtProc;
use sluicegate_tests::lab::{self, Door, PODS, WEB};
use sluicegate_tests::upstream::Upstreams;

at_both_doors! {
    grpc_calls_are_judged_by_their_grpc_status,
}

fn grpc_calls_are_judged_by_their_grpc_status(door: Door) -> Result<()> {
    let brain = Brain::start()?;
    let pods = Upstreams::start(&PODS)?;
    let (filter, service) = lab::open(door, brain.door.addr(), json!({}))?;
    let web = lab::listener_with(WEB, filter);
    let mut options = lab::options(&pods, vec![web], brain.door.addr(), 2);
    options.clusters[2] = cluster("v3", &[]);
    options.clusters.extend(service.as_ref().map(ExtProc::cluster));
    let envoy = Envoy::start(options)?;
    // v3 has no upstream: a local failure, which gRPC clients see as status 200 with grpc-status 14.
    let grpc = |generation, weights: [u32; 3]| SplitSpec {
        protocol: Protocol::Grpc,
        ..split("backend", generation, &[("v1", weights[0]), ("v2", weights[1]), ("v3", weights[2])])
    };
    brain.publish_and_wait(grpc(1, [1, 1, 0]))?;
    let mut client = Client::connect(envoy.listener(WEB)?)?;
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut call = |target: &str, status: &str| -> Result<()> {
        let answer = client.request("POST", target, &headers, b"\0\0\0\0\0")?;
        let got = answer.header("grpc-status");
        ensure!(answer.status == 200 && got.as_deref() == Some(status), "{target}: {} {got:?}", answer.status);
        Ok(())
    };
    // Twice each, once for v1 and once for v2.
    for (status, _) in STATUSES {
        for _ in 0..2 {
            call(&format!("/a.B/C?grpc_status={status}"), &status.to_string())?;
        }
    }
    brain.publish_and_wait(grpc(2, [1, 0, 2]))?;
    for n in 0..6 {
        // Evenly, so which is which shows only in the answer.
        let answer = client.request("POST", "/a.B/C?grpc_status=0", &headers, b"")?;
        ensure!(answer.status == 200, "call {n}: {}", answer.status);
    }
    let expected = |outcome: &str| 2 * STATUSES.iter().filter(|(_, name)| *name == outcome).count() as u64;
    brain.wait_books("the statuses", |books| {
        let sum = |outcome: &str| {
            ["v1", "v2"].iter().map(|s| books.outcomes(s).get(outcome).copied().unwrap_or(0)).sum::<u64>()
        };
        let unreached = books.outcomes("v3");
        let main = (books.requests("v1") + books.requests("v2")).saturating_sub(2 * STATUSES.len() as u64);
        let right = sum("5xx") == expected("5xx")
            && sum("4xx") == expected("4xx")
            && sum("2xx") == expected("2xx") + main
            && unreached.len() == 1
            && unreached.contains_key("unreached")
            && books.total() == 2 * STATUSES.len() as u64 + 6;
        if right { Ok(()) } else { Err(format!("{books:?}")) }
    })
}

/// gRPC status codes and the class each is counted in.
const STATUSES: [(u16, &str); 17] = [
    (0, "2xx"),
    (1, "4xx"),
    (2, "5xx"),
    (3, "4xx"),
    (4, "5xx"),
    (5, "4xx"),
    (6, "4xx"),
    (7, "4xx"),
    (8, "4xx"),
    (9, "4xx"),
    (10, "4xx"),
    (11, "4xx"),
    (12, "5xx"),
    (13, "5xx"),
    (14, "5xx"),
    (15, "5xx"),
    (16, "4xx"),
];
