//! Failures that are nobody's answer, and clients that leave.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_core::spec::{Override, OverrideSource, SplitSpec};
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::client::Client;
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Listener, cluster};
use sluicegate_tests::ext_proc::ExtProc;
use sluicegate_tests::lab::{self, Door, PODS, WEB};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{poll, ports};

at_both_doors! {
    failures_without_an_answer_are_local_and_those_of_the_application_its_own,
}

/// Requests of each kind.
const EACH: u64 = 20;

/// A route for requests with this subset header.
fn route(subset: &str, action: Value) -> Value {
    let header = json!({ "name": "x-sluicegate-subset", "string_match": { "exact": subset } });
    json!({ "match": { "prefix": "/", "headers": [header] }, "route": action })
}

fn failures_without_an_answer_are_local_and_those_of_the_application_its_own(door: Door) -> Result<()> {
    let brain = Brain::start()?;
    let pods = Upstreams::start(&PODS)?;
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let (filter, service) = lab::open(door, brain.door.addr(), json!({}))?;
    let mut listener = Listener::new(WEB, "v1").filter(filter);
    let routes = vec![
        route("empty", json!({ "cluster": "empty" })),
        route("refused", json!({ "cluster": "refused" })),
        route("missing", json!({ "cluster": "never-heard-of" })),
        route("slow", json!({ "cluster": "v1", "timeout": "0.1s" })),
        json!({ "match": { "prefix": "/" }, "route": { "cluster": "v1" } }),
    ];
    let host = json!({ "name": "all", "domains": ["*"], "routes": routes });
    // A route may name a cluster that is not there (yet).
    listener.extra = json!({ "route_config": { "validate_clusters": false, "virtual_hosts": [host] } });
    let mut clusters = vec![
        cluster("v1", &pods.addrs("v1")),
        cluster("empty", &[]),
        cluster("refused", &[nobody]),
        cluster(CONTROLLER_CLUSTER, &[brain.door.addr()]),
    ];
    clusters.extend(service.as_ref().map(ExtProc::cluster));
    let envoy = Envoy::start(Options::new(vec![listener], clusters).workers(2))?;
    let web = envoy.listener(WEB)?;
    // By override, so that the weights are equal and every request is observed.
    let names = CASES.map(|(subset, ..)| subset);
    let overrides = names.map(|subset| Override {
        source: OverrideSource::Header("x-case".into()),
        value: subset.into(),
        subset: subset.into(),
    });
    let mut subsets = vec![("main", 1)];
    subsets.extend(names.map(|subset| (subset, 1)));
    brain.publish_and_wait(SplitSpec { overrides: overrides.into(), ..split("backend", 1, &subsets) })?;
    for (subset, target, status, _) in CASES {
        for _ in 0..EACH {
            let before = pods.received()["v1"].requests;
            let mut client = Client::connect(web)?;
            client.send(format!("GET {target} HTTP/1.1\r\nhost: test\r\nx-case: {subset}\r\n\r\n").as_bytes())?;
            if status > 0 {
                let answer = client.read()?;
                ensure!(answer.status == status, "{subset}: {}", answer.status);
                continue;
            }
            poll::until("the request to arrive", poll::LONG, || match pods.received()["v1"].requests {
                now if now > before => Ok(()),
                now => Err(now),
            })?;
        }
    }
    for (subset, _, _, outcome) in CASES {
        brain.wait_books(&format!("{EACH} {outcome} of {subset}"), |books| match books.outcomes(subset) {
            all if all == [(outcome, EACH)].into() && books.requests(subset) == EACH => Ok(()),
            all => Err(format!("{all:?} of {}", books.requests(subset))),
        })?;
    }
    Ok(())
}

/// Subset, target, the status the client sees (0: it leaves), the outcome that is counted.
const CASES: [(&str, &str, u16, &str); 10] = [
    ("empty", "/", 503, "unreached"),
    ("refused", "/", 503, "unreached"),
    ("missing", "/", 503, "unreached"),
    ("slow", "/?hang=1", 504, "local"),
    ("reset", "/?reset=headers", 503, "local"),
    ("own-503", "/?status=503", 503, "5xx"),
    ("own-504", "/?status=504", 504, "5xx"),
    ("own-404", "/?status=404", 404, "4xx"),
    ("own-200", "/?status=200", 200, "2xx"),
    ("left", "/?hang=1", 0, "abandoned"),
];
