//! Which split serves an `:authority`: exact before wildcard, the longest wildcard first, whatever the bytes are.

use crate::{any, cases};
use proptest::{
    collection::{btree_set, vec},
    prelude::*,
    sample::select,
};
use sluicegate_core::{split::Split, table::Table};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn serving(name: &str, hosts: &[&str]) -> Split {
    let mut spec = any::spec(&[1]);
    spec.name = name.to_owned();
    spec.hosts = hosts.iter().map(|h| (*h).to_owned()).collect();
    Split::try_from(spec).expect(name)
}

fn table(splits: &[(&str, &[&str])]) -> Table {
    let mut table = Table::default();
    splits.iter().for_each(|(name, hosts)| table.insert(serving(name, hosts)));
    table
}

fn found<'a>(table: &'a Table, authority: &[u8]) -> Option<&'a str> {
    table.by_authority(authority).and_then(|index| table.get(index)).map(|split| split.name.as_str())
}

fn example() -> Table {
    table(&[
        ("n/exact", &["www.example.com", "localhost", "127.0.0.1", "[::1]", "[2001:db8::1]"]),
        ("n/wild", &["*.example.com"]),
        ("n/deep", &["*.eu.example.com", "apex.org"]),
    ])
}

#[test]
fn exact_hosts_come_before_wildcards_and_longer_wildcards_before_shorter() {
    let table = example();
    for (authority, split) in [
        ("www.example.com", Some("n/exact")),
        ("api.example.com", Some("n/wild")),
        ("a.b.c.example.com", Some("n/wild")),
        ("shop.eu.example.com", Some("n/deep")),
        ("a.shop.eu.example.com", Some("n/deep")),
        ("eu.example.com", Some("n/wild")),
        ("example.com", None),
        (".example.com", None),
        ("notexample.com", None),
        ("www.example.com.evil", None),
        ("example.com.", None),
        ("apex.org", Some("n/deep")),
        ("www.apex.org", None),
    ] {
        assert_eq!(found(&table, authority.as_bytes()), split, "{authority}");
    }
}

#[test]
fn port_case_and_trailing_dot_do_not_matter() {
    let table = example();
    for authority in [
        "www.example.com:443",
        "WWW.Example.COM",
        "www.example.com.",
        "www.example.com.:8080",
        "Www.Example.Com.:0",
        "www.example.com:",
        "localhost:80",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "[::1]:",
        "[2001:DB8::1]:443",
    ] {
        assert_eq!(found(&table, authority.as_bytes()), Some("n/exact"), "{authority}");
    }
}

#[test]
fn what_cannot_be_a_host_finds_nothing() {
    let table = example();
    let long = b"a".repeat(60_000);
    let dots = b".".repeat(60_000);
    let mut long_wild = b"a".repeat(60_000);
    long_wild.extend_from_slice(b".example.com");
    let mut utf8 = "ä".repeat(50).into_bytes();
    utf8.extend_from_slice(b".example.org");
    for authority in [
        &b""[..],
        b".",
        b"..",
        b"...",
        b":",
        b":80",
        b"[",
        b"]",
        b"[]",
        b"[::1",
        b"::1",
        b"[::1]x",
        b"[::1].",
        b"\0",
        b"\xFF\xFE\xFD",
        b"\xFF.example.com",
        b"\xC3\x28.example.com",
        b"*.example.com\0",
        b"user@localhost",
        b"www.example.com/",
        b"www.example.com..",
        b" localhost",
        &long,
        &dots,
        &long_wild,
        &utf8,
    ] {
        assert_eq!(
            found(&table, authority),
            None,
            "{:?}",
            String::from_utf8_lossy(&authority[..authority.len().min(40)])
        );
    }
}

#[test]
fn the_longest_name_there_is_can_be_found() {
    let label = "a".repeat(63);
    let host = format!("{label}.{label}.{label}.{}", &label[..61]);
    let table = table(&[("n/long", &[host.as_str()])]);
    assert_eq!(found(&table, host.as_bytes()), Some("n/long"));
    assert_eq!(found(&table, format!("{host}.:80").as_bytes()), Some("n/long"));
    assert_eq!(found(&table, format!("{host}a").as_bytes()), None);
}

#[test]
fn the_first_split_by_name_keeps_a_host_that_two_list() {
    let table = table(&[("n/a", &["x.example", "*.w.example"]), ("n/b", &["x.example", "*.w.example", "y.example"])]);
    assert_eq!(found(&table, b"x.example"), Some("n/a"));
    assert_eq!(found(&table, b"1.w.example"), Some("n/a"));
    assert_eq!(found(&table, b"y.example"), Some("n/b"));
}

#[test]
fn a_thousand_splits_are_told_apart() {
    let mut table = Table::default();
    for i in 0..1_000 {
        table.insert(serving(&format!("n/s{i}"), &[&format!("h{i}.example"), &format!("*.h{i}.example")]));
    }
    for i in 0..1_000 {
        let name = format!("n/s{i}");
        assert_eq!(found(&table, format!("H{i}.example:80").as_bytes()), Some(name.as_str()));
        assert_eq!(found(&table, format!("a.b.h{i}.example").as_bytes()), Some(name.as_str()));
        assert_eq!(table.by_name(&name), Some(i));
    }
    assert_eq!((found(&table, b"h1000.example"), table.by_name("n/s1000"), table.splits().len()), (None, None, 1_000));
}

/// Reads the rule off the documentation: exact, else the longest wildcard with at least one label before it.
fn by_hand<'a>(hosts: &'a [String], authority: &str) -> Option<&'a String> {
    let wild =
        |host: &String| host.strip_prefix('*').is_some_and(|s| authority.len() > s.len() && authority.ends_with(s));
    let exact = hosts.iter().find(|host| *host == authority);
    exact.or_else(|| hosts.iter().filter(|host| wild(host)).max_by_key(|host| host.len()))
}

fn label() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "aa", "ab"]).prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn look_ups_agree_with_the_rule_read_slowly(
        hosts in btree_set((any::<bool>(), vec(label(), 1..4)), 1..12),
        authority in vec(label(), 1..6),
    ) {
        let hosts = hosts.into_iter().map(|(wild, labels)| format!("{}{}", if wild { "*." } else { "" }, labels.join(".")));
        let hosts: Vec<String> = hosts.collect();
        let mut table = Table::default();
        hosts.iter().enumerate().for_each(|(i, host)| table.insert(serving(&format!("n/s{i}"), &[host.as_str()])));
        let authority = authority.join(".");
        let found = table.by_authority(authority.as_bytes()).and_then(|i| hosts.get(i));
        prop_assert_eq!(found, by_hand(&hosts, &authority), "{} in {:?}", authority, hosts);
    }

    #[test]
    fn any_bytes_may_be_an_authority(authority in vec(prop_oneof![any::<u8>(), select(&b"[]:.*"[..])], 0..40)) {
        let _ = example().by_authority(&authority);
    }
}
