//! One request: a trusted hop first if the split allows it, then overrides in order, then key or weights; and only what
//! the split needs is asked of the request.

use crate::{any, cases};
use proptest::{collection::vec, option, prelude::*};
use sluicegate_core::{
    decide::{Decision, Memory, Request, decide},
    key,
    spec::{Assignment, Override, OverrideSource, SplitSpec, Sticky, StickyKey},
    split::Split,
};
use std::collections::HashMap;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const HEADER: &str = "x-sluicegate-subset";

/// A request that writes down what it was asked for.
#[derive(Default)]
struct Fake {
    headers: HashMap<&'static str, Vec<u8>>,
    cookies: HashMap<&'static str, Vec<u8>>,
    source: Option<Vec<u8>>,
    asked: Vec<String>,
}

impl Fake {
    fn header(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.insert(name, value.to_vec());
        self
    }

    fn cookie(mut self, name: &'static str, value: &[u8]) -> Self {
        self.cookies.insert(name, value.to_vec());
        self
    }

    /// The decision of a fresh worker.
    fn at(mut self, split: &Split) -> (Decision, Vec<String>) {
        let decision = decide(split, &mut Memory::new(0), HEADER, &mut self);
        (decision, self.asked)
    }
}

impl Request for Fake {
    fn header(&mut self, name: &str) -> Option<Vec<u8>> {
        self.asked.push(name.to_owned());
        self.headers.get(name).cloned()
    }

    fn cookie(&mut self, name: &str) -> Option<Vec<u8>> {
        self.asked.push(format!("cookie {name}"));
        self.cookies.get(name).cloned()
    }

    fn source_address(&mut self) -> Option<Vec<u8>> {
        self.asked.push("source".to_owned());
        self.source.clone()
    }
}

fn ready(weights: &[u32], change: impl FnOnce(&mut SplitSpec)) -> Split {
    let mut spec = any::spec(weights);
    change(&mut spec);
    Split::try_from(spec).expect("a valid split")
}

fn sticky(key: StickyKey) -> Assignment {
    Assignment::Sticky(Sticky { key, salt: "n/s".to_owned() })
}

fn by_header() -> Assignment {
    sticky(StickyKey::Header("x-user".to_owned()))
}

fn by_cookie() -> Assignment {
    sticky(StickyKey::Cookie { name: "uid".to_owned(), ttl: None })
}

/// `x-canary: always` or cookie `canary=1` go to s2, which has weight 0.
fn with_overrides() -> Split {
    let to = |source, value: &str| Override { source, value: value.to_owned(), subset: "s2".to_owned() };
    let header = to(OverrideSource::Header("x-canary".to_owned()), "always");
    let back = Override { subset: "s1".to_owned(), ..header.clone() };
    let cookie = to(OverrideSource::Cookie("canary".to_owned()), "1");
    ready(&[1, 0, 0], |s| s.overrides = vec![header, back, cookie])
}

#[test]
fn without_key_and_overrides_a_request_is_not_looked_at() {
    for assignment in [Assignment::Even, Assignment::Random] {
        let split = ready(&[0, 1], |s| s.assignment = assignment);
        let (decision, asked) = Fake::default().header(HEADER, b"s0").at(&split);
        assert_eq!(decision, Decision { subset: 1, keep: false, issue: None });
        assert!(asked.is_empty(), "{asked:?}");
    }
}

#[test]
fn nobody_chooses_their_own_subset_unless_the_split_trusts_upstream() {
    let choose = |trust: bool, value: &[u8]| {
        let split = ready(&[1, 0], |s| (s.trust_upstream, s.write_default) = (trust, true));
        Fake::default().header(HEADER, value).at(&split).0
    };
    assert_eq!(choose(false, b"s1"), Decision { subset: 0, keep: false, issue: None });
    assert_eq!(choose(true, b"s1"), Decision { subset: 1, keep: true, issue: None });
    assert_eq!(choose(true, b"s0"), Decision { subset: 0, keep: true, issue: None });
    for unknown in [&b"s9"[..], b"", b"S1", b"s1 ", b"s1,s0", b"\xFF"] {
        assert_eq!(choose(true, unknown), Decision { subset: 0, keep: false, issue: None }, "{unknown:?}");
    }
}

#[test]
fn the_first_override_that_matches_wins_over_weights() {
    let split = with_overrides();
    let subset = |request: Fake| request.at(&split).0.subset;
    assert_eq!(subset(Fake::default().header("x-canary", b"always")), 2);
    assert_eq!(subset(Fake::default().cookie("canary", b"1")), 2);
    for value in [&b"Always"[..], b"always ", b"", b"alway", b"\xFF"] {
        assert_eq!(subset(Fake::default().header("x-canary", value)), 0, "{value:?}");
    }
    assert_eq!(subset(Fake::default().header("canary", b"1").cookie("x-canary", b"always")), 0);
    let (_, asked) = Fake::default().header("x-canary", b"always").at(&split);
    assert_eq!(asked, ["x-canary"], "nothing more is asked once it is decided");
}

#[test]
fn a_trusted_hop_comes_before_overrides() {
    let mut split = with_overrides();
    split.trust_upstream = true;
    let (decision, _) = Fake::default().header(HEADER, b"s1").header("x-canary", b"always").at(&split);
    assert_eq!(decision, Decision { subset: 1, keep: true, issue: None });
}

#[test]
fn an_empty_key_is_no_key() {
    for assignment in [by_header(), by_cookie(), sticky(StickyKey::SourceAddress)] {
        let split = ready(&[1, 1], |s| s.assignment = assignment.clone());
        let mut memory = Memory::new(3);
        let mut counts = [0; 2];
        for _ in 0..100 {
            let request = Fake { source: Some(b":80".to_vec()), ..Fake::default() };
            let mut request = request.header("x-user", b"").cookie("uid", b"");
            let decision = decide(&split, &mut memory, HEADER, &mut request);
            counts[decision.subset] += 1;
            assert_eq!(decision.issue.is_some(), assignment == by_cookie());
        }
        assert!(counts.iter().all(|n| (48..=52).contains(n)), "{counts:?}: even, not all on one subset");
    }
}

#[test]
fn a_random_split_is_right_on_average_and_not_even() {
    let split = ready(&[90, 10], |s| s.assignment = Assignment::Random);
    let (mut memory, mut request) = (Memory::new(1), Fake::default());
    let mut next = || decide(&split, &mut memory, HEADER, &mut request).subset;
    let hundreds: Vec<usize> = (0..1_000).map(|_| (0..100).filter(|_| next() == 1).count()).collect();
    let sum: usize = hundreds.iter().sum();
    assert!((9_500..=10_500).contains(&sum), "{sum} of 100000 (5 sigma is 475)");
    assert!(hundreds.iter().any(|n| *n < 5) && hundreds.iter().any(|n| *n > 15), "independent draws vary");
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_key_decides_by_its_point_alone(
        weights in any::weights(), user in vec(any::<u8>(), 1..20), seed in any::<u64>(), port in any::<u16>(),
    ) {
        let point = key::point(&user, key::seed("n/s"));
        let mut source = user.clone();
        source.extend_from_slice(format!(":{port}").as_bytes());
        for assignment in [by_header(), by_cookie(), sticky(StickyKey::SourceAddress)] {
            let split = ready(&weights, |s| s.assignment = assignment);
            let request = Fake { source: Some(source.clone()), ..Fake::default() };
            let mut request = request.header("x-user", &user).cookie("uid", &user);
            let decision = decide(&split, &mut Memory::new(seed), HEADER, &mut request);
            prop_assert_eq!(decision, Decision { subset: split.at(point), keep: false, issue: None });
            prop_assert_eq!(request.asked.len(), 1);
        }
    }

    #[test]
    fn an_issued_cookie_brings_its_owner_back_to_the_same_subset(weights in any::weights(), seed in any::<u64>()) {
        let split = ready(&weights, |s| s.assignment = by_cookie());
        let mut memory = Memory::new(seed);
        for _ in 0..50 {
            let first = decide(&split, &mut memory, HEADER, &mut Fake::default());
            let id = first.issue.expect("a new user gets an id");
            let again = decide(&split, &mut Memory::new(!seed), HEADER, &mut Fake::default().cookie("uid", &id));
            prop_assert_eq!(again, Decision { subset: first.subset, keep: false, issue: None });
        }
    }

    #[test]
    fn any_request_gets_a_subset_of_any_split(
        spec in any::any_spec(),
        header in option::of(vec(any::<u8>(), 0..9)),
        cookie in option::of(vec(any::<u8>(), 0..9)),
        source in option::of(vec(any::<u8>(), 0..9)),
    ) {
        let split = Split::try_from(spec).unwrap();
        let mut request = Fake { source, ..Fake::default() };
        for name in [HEADER, "x-user", "x-canary"] {
            request.headers.extend(header.clone().map(|value| (name, value)));
        }
        for name in ["uid", "canary"] {
            request.cookies.extend(cookie.clone().map(|value| (name, value)));
        }
        let (mut memory, chosen) = (Memory::new(9), |d: Decision| split.overrides.iter().any(|o| o.subset == d.subset));
        for _ in 0..20 {
            let decision = decide(&split, &mut memory, HEADER, &mut request);
            prop_assert!(decision.keep || chosen(decision) || split.subsets[decision.subset].weight > 0);
        }
        memory.rebase();
        prop_assert!(decide(&split, &mut memory, HEADER, &mut request).subset < split.subsets.len());
    }
}
