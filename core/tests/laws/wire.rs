//! Messages in JSON: read back as written, unknown fields ignored, damage never panics.

use crate::{any, cases};
use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sluicegate_core::{
    snapshot::Snapshot,
    wire::{
        Abilities, Ack, Cursor, PROTOCOL, ProxyId, Report, ReportAnswer, Series, Subscription, SyncAnswer, SyncRequest,
    },
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Inserted into damaged JSON.
const WORDS: &[&str] = &[
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "\"",
    "\\u0000",
    "\\ud800",
    "[[[[[[",
    "{}",
    ",",
    "{\"a\":",
    "0.5",
    "/*",
];

fn proxy() -> impl Strategy<Value = ProxyId> {
    (any::<u64>(), select(vec!["", "node-1", "ä \"\\\n"])).prop_map(|(epoch, node)| ProxyId {
        epoch,
        node: node.to_owned(),
        plugin: "sluicegate".to_owned(),
    })
}

fn request() -> impl Strategy<Value = SyncRequest> {
    let subscription = prop_oneof![Just(Subscription::Hosts), Just(Subscription::Split("n/s".to_owned()))];
    let acks = btree_map(select(vec!["n/a", "n/b", "n/c"]).prop_map(str::to_owned), any::<(u64, u32)>(), 0..3);
    (proxy(), subscription, option::of(any::<(u64, u64)>()), any::<(bool, bool, bool, u32)>(), acks).prop_map(
        |(proxy, subscription, cursor, (counts, cookies, full, hold), acks)| SyncRequest {
            sluicegate: PROTOCOL,
            proxy,
            version: "0.1.0".to_owned(),
            abilities: Abilities { counts, cookies },
            subscription,
            cursor: cursor.map(|(instance, seq)| Cursor { instance, seq }),
            hold,
            full,
            acks: acks.into_iter().map(|(name, (generation, digest))| (name, Ack(generation, digest))).collect(),
        },
    )
}

fn report() -> impl Strategy<Value = Report> {
    let series = (0..7_u32, any::counts()).prop_map(|(bit, counts)| Series {
        split: "n/s".to_owned(),
        subset: "s0".to_owned(),
        sample: 1 << bit,
        counts,
    });
    (proxy(), vec(series, 0..4)).prop_map(|(proxy, series)| Report { sluicegate: PROTOCOL, proxy, series })
}

/// Adds a field to every object that has named fields; not to maps by name, nor to the one field that tells variants.
fn with_unknown_fields(value: &mut Value, inside: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| with_unknown_fields(item, inside)),
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, field)| with_unknown_fields(field, name));
            if !["acks", "assignment", "key", "source", "subscription"].contains(&inside) {
                fields.insert("aFieldOfNextYear".to_owned(), json!({"deep": [1, null, {"er": "x"}]}));
            }
        }
        _ => {}
    }
}

/// Reads what was written, also with fields a later version might send.
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(message: &T) -> Result<(), TestCaseError> {
    let text = serde_json::to_vec(message).unwrap();
    prop_assert_eq!(&serde_json::from_slice::<T>(&text).unwrap(), message);
    let mut value = serde_json::to_value(message).unwrap();
    with_unknown_fields(&mut value, "");
    prop_assert_eq!(&serde_json::from_value::<T>(value).unwrap(), message);
    Ok(())
}

/// What filter and controller have agreed on, word by word: a change here is a new [`PROTOCOL`].
#[test]
fn messages_look_like_this() {
    let id = json!({"epoch": "00000000000000ff", "node": "n1", "plugin": "p"});
    let sync = json!({
        "sluicegate": 1, "proxy": id, "version": "0.1.0", "abilities": {"counts": true, "cookies": false},
        "subscription": {"split": "default/backend"}, "cursor": {"instance": "8000000000000001", "seq": 3},
        "hold": 50000, "full": true, "acks": {"default/backend": [7, 4_000_000_000_u32]},
    });
    let read: SyncRequest = serde_json::from_value(sync.clone()).unwrap();
    assert_eq!((read.proxy.epoch, read.cursor.unwrap().instance), (255, 1 << 63 | 1));
    assert_eq!(serde_json::to_value(&read).unwrap(), sync);

    let answer = json!({
        "sluicegate": 1, "cursor": {"instance": "0000000000000001", "seq": 3}, "report": 1000,
        "splits": [{
            "name": "default/backend", "generation": 7, "default": "v1", "hosts": ["*.example.com"],
            "subsets": [{"name": "v1", "weight": 90}, {"name": "v2", "weight": 10}],
            "assignment": {"sticky": {"key": {"cookie": {"name": "uid", "ttl": 86400}}, "salt": "default/backend"}},
            "overrides": [{"source": {"header": "x-canary"}, "value": "always", "subset": "v2"}],
            "trust_upstream": false, "write_default": true, "protocol": "grpc",
        }],
        "removed": [{"name": "default/old", "generation": 9}],
    });
    let read: SyncAnswer = serde_json::from_value(answer.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), answer);

    let report = json!({
        "sluicegate": 1, "proxy": id, "series": [{
            "split": "default/backend", "subset": "v1", "sample": 8,
            "counts": {"requests": 800, "outcomes": [0, 97, 0, 1, 1, 1, 0, 0], "unobserved": 0, "latency": [[68, 99], [69, 1]]},
        }],
    });
    let read: Report = serde_json::from_value(report.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), report);
    // One who knows fewer outcomes, or more.
    for outcomes in [json!([0, 97, 0, 1, 1, 1, 0]), json!([0, 97, 0, 1, 1, 1, 0, 0, 5])] {
        let mut other = report.clone();
        other["series"][0]["counts"]["outcomes"] = outcomes;
        assert_eq!(serde_json::from_value::<Report>(other).unwrap(), read);
    }
    assert_eq!(serde_json::to_value(ReportAnswer { sluicegate: 1 }).unwrap(), json!({"sluicegate": 1}));
}

#[test]
fn what_is_no_answer_of_ours_is_refused() {
    for text in [
        "",
        "null",
        "{}",
        "[]",
        "upstream connect error or disconnect/reset before headers",
        "<html></html>",
        r#"{"cursor":{"instance":"1","seq":1},"splits":[],"removed":[],"report":1}"#,
        r#"{"sluicegate":1,"cursor":{"instance":1,"seq":1},"splits":[],"removed":[],"report":1}"#,
        r#"{"sluicegate":1,"cursor":{"instance":"x","seq":1},"splits":[],"removed":[],"report":1}"#,
        r#"{"sluicegate":1,"cursor":{"instance":"1","seq":-1},"splits":[],"removed":[],"report":1}"#,
    ] {
        assert!(serde_json::from_str::<SyncAnswer>(text).is_err(), "{text}");
    }
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    assert!(serde_json::from_str::<SyncAnswer>(&deep).is_err());
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn messages_are_read_back_as_written(answer in any::answer(), request in request(), report in report()) {
        survives(&answer)?;
        survives(&request)?;
        survives(&report)?;
    }
}

proptest! {
    // With 100 damages for each set of messages: 10^5 mutants of each kind.
    #![proptest_config(cases(1_000))]

    #[test]
    fn damaged_messages_are_refused_or_read(
        answer in any::answer(), request in request(), report in report(), damages in vec(any::damage(WORDS), 100),
    ) {
        let answer = serde_json::to_vec(&answer).unwrap();
        let (request, report) = (serde_json::to_vec(&request).unwrap(), serde_json::to_vec(&report).unwrap());
        let mut snapshot = Snapshot::default();
        for damage in damages {
            if let Ok(read) = serde_json::from_slice::<SyncAnswer>(&any::damaged(&answer, &damage)) {
                snapshot.merge(read);
            }
            drop(serde_json::from_slice::<SyncRequest>(&any::damaged(&request, &damage)));
            if let Ok(read) = serde_json::from_slice::<Report>(&any::damaged(&report, &damage)) {
                for series in &read.series {
                    let counts = &series.counts;
                    drop((counts.observed(), counts.errors(), counts.latency.quantile(0.99), counts.since(counts)));
                }
            }
        }
        let bytes = snapshot.encode();
        prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
    }
}
