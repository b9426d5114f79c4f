//! A spec becomes a split that cannot be wrong, or a message that says what to do; and how thin it is sampled.

use crate::{any, cases};
use proptest::prelude::*;
use sluicegate_core::{
    snapshot::{Entry, Snapshot},
    spec::{Assignment, Override, OverrideSource, SplitSpec, Sticky, StickyKey},
    split::{Chooser, Split},
    table::Table,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The message for a spec with one thing wrong.
fn refused(spoil: impl FnOnce(&mut SplitSpec)) -> String {
    let mut spec = any::spec(&[90, 10]);
    spoil(&mut spec);
    Split::try_from(spec).expect_err("should be refused").to_string()
}

#[test]
fn a_message_says_what_is_wrong_and_on_what() {
    let over = |subset: &str, header: &str| Override {
        source: OverrideSource::Header(header.to_owned()),
        value: "1".to_owned(),
        subset: subset.to_owned(),
    };
    let sticky = |key| Assignment::Sticky(Sticky { key, salt: String::new() });
    for (message, words) in [
        (refused(|s| s.subsets.clear()), "1 to 16 subsets, this one has 0"),
        (refused(|s| s.subsets = any::spec(&[1; 17]).subsets), "this one has 17"),
        (refused(|s| s.subsets.iter_mut().for_each(|s| s.weight = 0)), "all weights are 0"),
        (refused(|s| s.subsets[1].name = "s0".to_owned()), "\"s0\" is listed twice"),
        (refused(|s| s.subsets[1].name = "S1".to_owned()), "subset name \"S1\""),
        (refused(|s| s.default = "v9".to_owned()), "default names subset \"v9\", which is not one of s0, s1"),
        (refused(|s| s.name = "backend".to_owned()), "NAMESPACE/NAME"),
        (refused(|s| s.hosts = vec!["A.example".to_owned()]), "host \"A.example\""),
        (refused(|s| s.hosts = vec!["a.example".to_owned(); 257]), "hosts: at most 256, this split has 257"),
        (refused(|s| s.overrides = vec![over("v9", "x-c")]), "override names subset \"v9\""),
        (refused(|s| s.overrides = vec![over("s0", "host")]), "header \"host\""),
        (refused(|s| s.overrides = vec![over("s0", "x-c"); 17]), "overrides: at most 16, this split has 17"),
        (refused(|s| s.trust_upstream = true), "writeDefault"),
        (refused(|s| s.assignment = sticky(StickyKey::Header("a b".to_owned()))), "header \"a b\""),
        (
            refused(|s| s.assignment = sticky(StickyKey::Cookie { name: "a;b".to_owned(), ttl: None })),
            "cookie name \"a;b\"",
        ),
    ] {
        assert!(message.contains(words), "{message:?} lacks {words:?}");
    }
}

#[test]
fn as_many_as_the_limits_say_are_accepted() {
    let mut spec = any::spec(&[1; 16]);
    spec.hosts = vec!["a.example".to_owned(); 256];
    let source = OverrideSource::Cookie("canary".to_owned());
    spec.overrides = vec![Override { source, value: "1".to_owned(), subset: "s15".to_owned() }; 16];
    let split = Split::try_from(spec).unwrap();
    assert_eq!((split.subsets.len(), split.hosts.len(), split.overrides.len()), (16, 256, 16));
    assert!(split.overrides.iter().all(|o| o.subset == 15));
}

#[test]
fn header_names_are_kept_in_lower_case() {
    let mut spec = any::spec(&[1]);
    let key = StickyKey::Header("X-User".to_owned());
    spec.assignment = Assignment::Sticky(Sticky { key, salt: "n/s".to_owned() });
    let source = OverrideSource::Header("X-Canary".to_owned());
    spec.overrides = vec![Override { source, value: "Yes".to_owned(), subset: "s0".to_owned() }];
    let split = Split::try_from(spec).unwrap();
    assert!(matches!(&split.chooser, Chooser::Sticky(s) if s.key == StickyKey::Header("x-user".to_owned())));
    assert_eq!(split.overrides[0].source, OverrideSource::Header("x-canary".to_owned()));
    assert_eq!(split.overrides[0].value, b"Yes");
}

#[test]
fn a_split_that_is_wrong_is_left_out_and_the_others_serve() {
    let mut snapshot = Snapshot::default();
    for (name, weights) in [("n/a", [1, 1]), ("n/b", [0, 0]), ("n/c", [2, 1])] {
        let spec = SplitSpec { name: name.to_owned(), ..any::spec(&weights) };
        snapshot.entries.insert(name.to_owned(), Entry::Live(spec));
    }
    snapshot.entries.insert("n/d".to_owned(), Entry::Gone(9));
    let (table, refused) = Table::build(snapshot);
    assert_eq!(table.splits().iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["n/a", "n/c"]);
    assert_eq!(refused.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["n/b"]);
    assert_eq!((table.by_name("n/a"), table.by_name("n/b"), table.by_name("n/d")), (Some(0), None, None));
}

#[test]
fn subsets_are_sampled_down_to_the_smallest_other_one() {
    for (weights, rates) in [
        (&[90, 10][..], &[8, 1][..]),
        (&[90, 5, 5], &[16, 1, 1]),
        (&[98, 1, 1], &[64, 1, 1]),
        (&[99, 1], &[64, 1]),
        (&[63, 1], &[32, 1]),
        (&[64, 1], &[64, 1]),
        (&[100, 0], &[64, 1]),
        (&[0, 100], &[1, 64]),
        (&[0, 100, 0], &[1, 64, 1]),
        (&[50, 50], &[1, 1]),
        (&[1, 1, 1], &[1, 1, 1]),
        (&[3, 1], &[2, 1]),
        (&[60, 30, 10], &[4, 2, 1]),
        (&[5, 90, 5], &[1, 16, 1]),
        (&[1], &[64]),
        (&[u32::MAX, 1], &[64, 1]),
        (&[1, 1_000_000], &[1, 64]),
    ] {
        let rate: Vec<u32> = any::split(weights).subsets.iter().map(|s| s.sample).collect();
        assert_eq!(rate, rates, "{weights:?}");
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn a_sampled_subset_is_never_thinner_than_the_smallest_other(weights in any::weights()) {
        let split = any::split(&weights);
        for (i, subset) in split.subsets.iter().enumerate() {
            prop_assert!(subset.sample.is_power_of_two() && subset.sample <= 64);
            let others = weights.iter().enumerate().filter(|(j, w)| *j != i && **w > 0).map(|(_, w)| *w);
            if let Some(smallest) = others.min() {
                prop_assert!(subset.sample == 1 || subset.weight / subset.sample >= smallest);
            }
        }
    }

    #[test]
    fn every_valid_spec_becomes_a_split_that_says_the_same(spec in any::any_spec()) {
        let split = Split::try_from(spec.clone());
        prop_assert!(split.is_ok(), "{:?}", split);
        let split = split.unwrap();
        prop_assert_eq!(&split.subsets[split.default].name, &spec.default);
        prop_assert_eq!(split.total, spec.subsets.iter().map(|s| u64::from(s.weight)).sum::<u64>());
        prop_assert_eq!(split.subsets.last().map(|s| s.upto), Some(split.total));
        for (i, subset) in spec.subsets.iter().enumerate() {
            prop_assert_eq!(split.index(subset.name.as_bytes()), Some(i));
        }
        prop_assert_eq!(split.index(b"nobody"), None);
        for (made, given) in split.overrides.iter().zip(&spec.overrides) {
            prop_assert_eq!(&split.subsets[made.subset].name, &given.subset);
        }
    }
}
