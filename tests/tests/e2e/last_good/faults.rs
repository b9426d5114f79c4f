//! What a controller, or something in its place, may answer to a sync, other than what it should.

use sluicegate_core::spec::{SplitSpec, SubsetSpec};
use sluicegate_tests::brain::{answer, split};
use sluicegate_tests::fault_controller::Reply;

/// A name, and the answer to every poll.
pub(super) type Fault = (String, Reply);

/// What the brain has published when the faults begin, so that its next answer is news to those that believed one.
const SEQ: u64 = 2;

/// Size of the largest answer.
pub(super) const FLOOD: u64 = 100 << 20;

/// All of them.
pub(super) fn all() -> Vec<Fault> {
    let whole = answer(SEQ, &[split("backend", 90, &[("v1", 1)])]);
    let encoded = whole.encode();
    let json = serde_json::to_vec(&whole).unwrap_or_default();
    let page = r#"{"error":"upstream unavailable","code":503}"#;
    let redirect = Reply::Http(302, "location: http://127.0.0.1:1/v1/sync\r\n".into(), Vec::new());
    let garbage: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut faults = vec![
        ("garbage".into(), Reply::ok("", garbage)),
        ("nothing".into(), Reply::ok("", "")),
        ("status-204".into(), Reply::Http(204, String::new(), Vec::new())),
        ("status-500".into(), Reply::Http(500, String::new(), encoded.clone())),
        ("status-404".into(), Reply::Http(404, String::new(), b"404 page not found\n".to_vec())),
        ("json-error-page".into(), Reply::ok("content-type: application/json\r\n", page)),
        ("json-answer".into(), Reply::ok("content-type: application/json\r\n", json)),
        ("redirect".into(), redirect),
        ("cut".into(), Reply::Cut),
        ("half-a-head".into(), Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-le".to_vec())),
        ("not-http".into(), Reply::Raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec())),
        ("flood".into(), Reply::Flood(FLOOD)),
        ("more-behind".into(), Reply::ok("", [&encoded[..], b"x"].concat())),
        ("another-layout".into(), Reply::ok("", [&encoded[..1], &[0x7f], &encoded[2..]].concat())),
        ("huge-head".into(), Reply::ok(&format!("x-much: {}\r\n", "y".repeat(300_000)), encoded.clone())),
    ];
    for cut in (1..encoded.len()).step_by(encoded.len() / 8) {
        let part = &encoded[..cut];
        faults.push((format!("first-{cut}-bytes"), Reply::ok("", part)));
        let promised = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", encoded.len());
        faults.push((format!("torn-after-{cut}-bytes"), Reply::Raw([promised.as_bytes(), part].concat())));
    }
    let mut publish = |name: &str, split: SplitSpec| {
        faults.push((name.into(), Reply::ok("", answer(SEQ, &[split]).encode())));
    };
    let good = || split("backend", 90, &[("v1", 1), ("v2", 1)]);
    publish("unknown-default", SplitSpec { default: "v9".into(), ..good() });
    publish("all-weights-0", split("backend", 90, &[("v1", 0), ("v2", 0)]));
    publish("no-subsets", SplitSpec { subsets: Vec::new(), ..good() });
    publish("a-subset-twice", split("backend", 90, &[("v1", 1), ("v1", 1)]));
    let many = (0..17).map(|n| SubsetSpec { name: format!("s{n}"), weight: 1 }).collect();
    publish("17-subsets", SplitSpec { subsets: many, default: "s0".into(), ..good() });
    publish("a-subset-that-is-no-header-value", split("backend", 90, &[("v1\r\nx: y", 1)]));
    publish("generation-0", SplitSpec { generation: 0, ..good() });
    publish("an-older-generation", SplitSpec { generation: 1, ..good() });
    publish("the-same-generation-with-other-weights", SplitSpec { generation: 2, ..good() });
    faults
}
