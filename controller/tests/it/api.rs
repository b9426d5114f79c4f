//! What people write: what it means, and what they are told when it means nothing.

use crate::support::{split_of, yaml};
use sluicegate::api::document;
use sluicegate_core::spec::{Assignment, OverrideSource, Protocol, SplitSpec, StickyKey};

fn read(more: &str) -> Result<SplitSpec, String> {
    let text = yaml("x", &[("main", 9), ("canary", 1)], more);
    let mut documents = document::read(&text);
    assert_eq!(documents.len(), 1);
    split_of(documents.remove(0)).map_err(|p| format!("{}:{}: {}", p.place.line, p.place.column, p.message))
}

#[test]
fn what_is_left_out_has_sensible_values() {
    let split = read("").unwrap();
    assert_eq!(split.name, "default/x");
    assert_eq!(split.default, "main");
    assert_eq!((split.assignment, split.protocol), (Assignment::Even, Protocol::Http));
    assert!(!split.trust_upstream && !split.write_default);
    let unnamed = split_of(document::read(&yaml("x", &[("v1", 9), ("v2", 1)], "")).remove(0)).unwrap();
    assert_eq!(unnamed.default, "v1", "without a main, the first one");
}

#[test]
fn every_field_arrives() {
    let split = read(
        "  default: canary\n  hosts: [a.test]\n  assignment: sticky\n  sticky: { cookie: { name: uid, ttl: 24h }, salt: s }\n  \
         overrides: [{ header: X-Canary, value: 'yes', subset: canary }, { cookie: c, value: '1', subset: main }]\n  \
         trustUpstream: true\n  protocol: grpc\n",
    )
    .unwrap();
    let Assignment::Sticky(sticky) = &split.assignment else { panic!("{split:?}") };
    assert_eq!(sticky.key, StickyKey::Cookie { name: "uid".into(), ttl: Some(86_400) });
    assert_eq!((sticky.salt.as_str(), split.default.as_str(), split.hosts.len()), ("s", "canary", 1));
    assert_eq!(split.overrides[1].source, OverrideSource::Cookie("c".into()));
    assert!(split.trust_upstream && split.write_default, "trustUpstream implies writeDefault");
    assert_eq!(split.protocol, Protocol::Grpc);
}

#[test]
fn the_salt_is_the_splits_name_unless_given() {
    let split = read("  assignment: sticky\n  sticky: { sourceAddress: true }\n").unwrap();
    let Assignment::Sticky(sticky) = split.assignment else { panic!() };
    assert_eq!((sticky.salt.as_str(), sticky.key), ("default/x", StickyKey::SourceAddress));
}

#[test]
fn labels_annotations_and_status_are_no_business_of_ours() {
    let text = yaml("x", &[("v1", 1)], "status: { generation: 3 }\n")
        .replace("  name: x\n", "  name: x\n  labels: { a: b }\n  annotations: { c: d }\n  uid: e\n");
    assert!(document::read(&text)[0].meaning.is_ok(), "{:?}", document::read(&text));
}

#[test]
fn a_mistake_is_told_with_its_place_and_a_way_out() {
    for (more, told) in [
        ("  defualt: main\n", r#"9:3: unknown field "defualt", did you mean "default"?"#),
        ("  colour: red\n", r#"9:3: unknown field "colour"; fields here are subsets, default, hosts"#),
        (
            "  default: canarie\n",
            r#"9:12: default names subset "canarie", which is not one of main, canary (did you mean "canary"?)"#,
        ),
        ("  assignment: stiky\n", r#"9:15: "stiky" is not one of even, random, sticky (did you mean "sticky"?)"#),
        ("  assignment: sticky\n", "9:15: assignment: sticky needs to know by what"),
        ("  sticky: { header: x }\n", "9:11: sticky has no effect with this assignment; set assignment: sticky"),
        ("  assignment: sticky\n  sticky: {}\n", "10:11: sticky needs one of header, cookie and sourceAddress"),
        ("  assignment: sticky\n  sticky: { header: a, sourceAddress: true }\n", "10:11: sticky goes by one of"),
        ("  assignment: sticky\n  sticky: { sourceAddress: false }\n", "10:28: sourceAddress can only be true"),
        (
            "  assignment: sticky\n  sticky: { header: content-length }\n",
            r#"10:11: header "content-length" has a meaning"#,
        ),
        (
            "  assignment: sticky\n  sticky: { cookie: { name: u, ttl: soon } }\n",
            r#"10:37: ttl "soon" is not a duration"#,
        ),
        ("  overrides:\n    - { value: a, subset: main }\n", "10:7: an override looks at one of header and cookie"),
        (
            "  overrides:\n    - { header: a, value: a, subset: main }\n    - { header: a, value: a, subset: m }\n",
            "11:38: override names",
        ),
        (
            "  overrides:\n    - { header: 'a b', value: a, subset: main }\n",
            r#"10:7: header "a b" is not an HTTP field name"#,
        ),
        ("  hosts: [a.test, A.test]\n", r#"9:19: host "A.test" must be a lower-case DNS name"#),
        ("  hosts: [a.test, a.test]\n", r#"9:19: host "a.test" is listed twice"#),
        (
            "  trustUpstream: true\n  writeDefault: false\n",
            "10:17: trustUpstream needs the header for the default subset",
        ),
        ("  protocol: http2\n", r#"9:13: "http2" is not one of http, grpc"#),
    ] {
        let why = read(more).unwrap_err();
        assert!(why.starts_with(told), "{more}\n  says {why}\nshould say {told}");
    }
}

#[test]
fn names_are_checked_too() {
    let refused = |text: &str| document::read(text).remove(0).meaning.unwrap_err();
    assert!(refused(&yaml("Under_Score", &[("v1", 1)], "")).message.contains("a-z, 0-9 and '-'"));
    let nameless = yaml("x", &[("v1", 1)], "").replace("  name: x\n", "  labels: {}\n");
    assert!(refused(&nameless).message.contains("metadata.name is missing"));
    let no_weight = yaml("x", &[("v1", 1)], "").replace(", weight: 1", "");
    assert!(refused(&no_weight).message.contains("weight"), "{:?}", refused(&no_weight));
}

#[test]
fn a_file_is_cut_into_its_documents_where_yaml_says() {
    let lines = |text: &str| document::parts(text).iter().map(|p| p.lines).collect::<Vec<_>>();
    assert_eq!(lines("a: 1\n"), [0]);
    assert_eq!(lines("---\na: 1\n---\nb: 2\n"), [0, 2]);
    assert_eq!(lines("# c\n---\na: 1\n...\n# d\n--- # e\nb: |\n  ---\n  x\n"), [0, 4]);
    assert_eq!(lines("---\n---\n# nothing\n...\n"), [0; 0]);
    assert_eq!(lines("a: ----\n----: b\n"), [0]);
    assert_eq!(lines("{a: 1}\n--- {b: 2}\n--- \"c\"\r\n---\td\n"), [0, 1, 2, 3]);
}
