//! Evidence over a rollout: what is refused, what is kept, what comes back from JSON, and what adds up.

use crate::{any, cases};
use proptest::{collection::vec, prelude::*};
use sluicegate_core::{
    counts::Counts,
    judge::{
        Verdict,
        evidence::Evidence,
        rules::{BadRules, Classes, Criterion, Limit, PassWhen, Rules, RulesSpec, Weighted},
        window::{Grown, Quantile, Refused, Tally, Window, threshold},
    },
    latency::{Histogram, bucket},
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// A window of the default rules: bad and all requests of canary and baseline.
pub(crate) fn window(canary: (u64, u64), baseline: (u64, u64)) -> Window {
    let side = |(bad, requests)| vec![Tally { requests, bad }];
    Window { canary: side(canary), baseline: side(baseline), missing: 0 }
}

pub(crate) fn evidence(spec: RulesSpec, windows: &[Window]) -> Evidence {
    let mut it = Evidence::new(Rules::try_from(spec).expect("rules"));
    windows.iter().for_each(|window| it.observe(window).expect("a window that fits"));
    it
}

/// Two criteria and a limit.
fn three() -> RulesSpec {
    let errors = Criterion::Errors(Classes::default());
    let weighted = |criterion, weight| Weighted { criterion, weight };
    RulesSpec {
        criteria: vec![weighted(errors, 2.0), weighted(Criterion::SlowerThan(250_000), 1.0)],
        limits: vec![Limit { criterion: errors, max: 0.01 }],
        ..RulesSpec::default()
    }
}

fn tally() -> impl Strategy<Value = Tally> {
    let requests = prop_oneof![4 => 0..50_u64, 4 => 0..2_000_u64, 1 => any::<u64>()];
    (requests, 0..=1_000_u64).prop_map(|(requests, per_mille)| Tally {
        requests,
        bad: (u128::from(requests) * u128::from(per_mille) / 1_000) as u64,
    })
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let one = (vec(tally(), 3), vec(tally(), 3), 0..2_u32);
    vec(one.prop_map(|(canary, baseline, missing)| Window { canary, baseline, missing }), 0..8)
}

#[test]
fn counts_that_go_backwards_are_refused() {
    let (zero, one) =
        (Counts::default(), Counts { requests: 1, outcomes: [0, 1, 0, 0, 0, 0, 0, 0], ..Counts::default() });
    let (grown, shrunk) = (Grown { earlier: &zero, now: &one }, Grown { earlier: &one, now: &zero });
    let rules = Rules::default();
    let good = Window::between(&rules, grown, grown, 0).unwrap();
    assert_eq!(good.canary, [Tally { requests: 1, bad: 0 }]);
    assert_eq!(Window::between(&rules, shrunk, grown, 0), Err(Refused::Backwards));
    assert_eq!(Window::between(&rules, grown, shrunk, 0), Err(Refused::Backwards));
}

#[test]
fn a_window_that_is_refused_changes_nothing() {
    let mut it = evidence(RulesSpec::default(), &[window((1, 10), (0, 10))]);
    let before = it.clone();
    assert_eq!(it.observe(&window((11, 10), (0, 10))), Err(Refused::TooManyBad { bad: 11, requests: 10 }));
    assert_eq!(it.observe(&window((0, 10), (11, 10))), Err(Refused::TooManyBad { bad: 11, requests: 10 }));
    assert_eq!(it.observe(&Window::default()), Err(Refused::OtherRules { given: 0, expected: 1 }));
    assert_eq!(it, before);
}

#[test]
fn how_far_it_is_to_a_verdict_is_about_as_far_as_it_turns_out() {
    // Both sides have a hundred requests a second; of the canary's five fail, or none, of the baseline's one.
    for (bad, shows) in [(5, "harm"), (0, "none")] {
        let second = window((bad, 100), (1, 100));
        let mut it = evidence(RulesSpec::default(), &vec![second.clone(); 3]);
        let told = it.assess().criteria[0];
        assert_eq!((told.fails_after.is_some(), told.proven_after.is_some()), (shows == "harm", shows == "none"));
        let forecast = told.fails_after.or(told.proven_after).unwrap() as f64;
        let is_there = |it: &Evidence| {
            let c = it.assess().criteria[0];
            c.harm.value >= c.harm.decides_at || c.harmless.value >= c.harmless.decides_at
        };
        let mut requests = 0.0;
        while !is_there(&it) {
            it.observe(&second).unwrap();
            requests += 200.0;
        }
        assert!(forecast > requests / 3.0 && forecast < requests * 3.0, "{shows}: {forecast}, in truth {requests}");
    }
    assert_eq!(evidence(RulesSpec::default(), &[]).assess().criteria[0].fails_after, None, "nothing is known");
}

#[test]
fn errors_are_the_classes_chosen_and_clients_that_left_say_nothing() {
    let mut counts = Counts { outcomes: [1, 2, 4, 8, 16, 32, 64, 128], ..Counts::default() };
    counts.latency.add(bucket(250_000), 5);
    counts.latency.add(bucket(250_001), 7);
    let of = |server, local, client| Tally::of(&counts, Criterion::Errors(Classes { server, local, client }));
    assert_eq!(of(true, true, false), Tally { requests: 191, bad: 176 });
    assert_eq!(of(true, false, true), Tally { requests: 191, bad: 24 });
    assert_eq!(Tally::of(&counts, Criterion::SlowerThan(250_000)), Tally { requests: 12, bad: 7 });
}

#[test]
fn a_threshold_is_the_first_edge_that_few_enough_exceed() {
    let mut it = Histogram::default();
    it.add(bucket(100_000), 95);
    it.add(bucket(200_000), 4);
    it.add(bucket(1_000_000), 1);
    let found = [Quantile::P50, Quantile::P95, Quantile::P99].map(|quantile| threshold(&it, quantile));
    assert_eq!(found, [Some(100_000), Some(100_000), Some(200_000)]);
    assert_eq!(threshold(&Histogram::default(), Quantile::P50), None);
    it.add(bucket(u64::MAX), 1_000);
    assert_eq!(threshold(&it, Quantile::P50), None);
}

#[test]
fn bad_rules_are_refused_by_name() {
    let refused = |change: fn(&mut RulesSpec)| {
        let mut spec = three();
        change(&mut spec);
        Rules::try_from(spec).unwrap_err().to_string()
    };
    let named = [
        (refused(|s| s.alpha = 0.0), "alpha"),
        (refused(|s| s.alpha = f64::NAN), "alpha"),
        (refused(|s| s.beta = 1.0), "beta"),
        (refused(|s| s.tolerance = -0.1), "tolerance"),
        (refused(|s| s.unacceptable = 0.0), "unacceptable"),
        (refused(|s| s.windows = 0), "windows"),
        (refused(|s| s.warning = 0.5), "warning"),
        (refused(|s| s.floor = 2.0), "floor"),
        (refused(|s| s.criteria[0].weight = 0.0), "weight"),
        (refused(|s| s.limits[0].max = 1.0), "max"),
    ];
    for (message, field) in named {
        assert!(message.starts_with(field), "{message}");
    }
    let nothing = RulesSpec { criteria: Vec::new(), ..RulesSpec::default() };
    assert_eq!(Rules::try_from(nothing), Err(BadRules::Nothing));
}

#[test]
fn own_counts_say_nothing_about_a_slowness_only_others_know() {
    let mut counts = Counts { outcomes: [0, 100, 0, 0, 0, 0, 0, 0], ..Counts::default() };
    counts.latency.add(bucket(250_000), 100);
    assert_eq!(Tally::of(&counts, Criterion::Slow), Tally::default());
    let spec =
        RulesSpec { criteria: vec![Weighted { criterion: Criterion::Slow, weight: 1.0 }], ..RulesSpec::default() };
    let rules = Rules::try_from(spec.clone()).unwrap();
    let own = evidence(spec.clone(), &vec![Window::of(&rules, &counts, &counts, 0); 10]).assess();
    assert_eq!((own.verdict, own.reasons.len()), (Verdict::Inconclusive, 2), "{own:?}");
    assert_eq!(own.reasons[0], "slow: 0 requests observed on the canary, 200 needed");
    let given = |bad| evidence(spec.clone(), &vec![window((bad, 100), (2, 100)); 10]).assess().verdict;
    assert_eq!([given(2), given(30)], [Verdict::Pass, Verdict::Fail]);
}

#[test]
fn a_tolerated_harm_never_fails_and_one_beyond_it_does() {
    // Odds of 2 % beside 1 % are 2.02 times as large.
    let judged = |tolerance| {
        let spec = RulesSpec { tolerance, unacceptable: tolerance + 1.0, ..RulesSpec::default() };
        evidence(spec, &vec![window((10, 500), (5, 500)); 40]).assess()
    };
    assert_eq!(judged(0.0).verdict, Verdict::Fail);
    assert_eq!(judged(1.1).verdict, Verdict::Pass);
    assert!(judged(1.1).harm.peak < 2.0 && judged(0.5).harm.peak < judged(0.0).harm.peak);
}

#[test]
fn unknown_fields_and_versions_are_refused() {
    let json = serde_json::to_string(&Evidence::new(Rules::default())).unwrap();
    assert!(serde_json::from_str::<Evidence>(&json).is_ok());
    let of = |from: &str, to: &str| {
        assert!(json.contains(from), "{json}");
        serde_json::from_str::<Evidence>(&json.replacen(from, to, 1)).unwrap_err().to_string()
    };
    assert!(of("\"version\":1", "\"version\":2").contains("version 2"));
    assert!(of("\"missing\":0", "\"missing\":0,\"more\":1").contains("more"));
    assert!(of("\"accounts\":[\"0e0\",", "\"accounts\":[").contains("does not fit"));
    assert!(of("\"0e0\"", "\"NaN\"").contains("NaN"));
    assert!(of("\"0e0\"", "\"-1\"").contains("-1"));
    assert!(of("\"alpha\":0.01", "\"alpha\":7").contains("alpha"));
    assert_eq!(serde_json::to_string(&Verdict::Inconclusive).unwrap(), "\"inconclusive\"");
}

#[test]
fn two_windows_never_fail_a_step_and_three_can() {
    let broken = window((500, 1_000), (0, 1_000));
    let after = |windows: usize, spec: RulesSpec| evidence(spec, &vec![broken.clone(); windows]).failed();
    assert!(!after(2, RulesSpec::default()) && after(3, RulesSpec::default()));
    assert!(after(1, RulesSpec { windows: 1, ..RulesSpec::default() }));
    // Two criteria, one of them without harm: still three.
    let half = RulesSpec { limits: Vec::new(), criteria: vec![three().criteria[0], three().criteria[0]], ..three() };
    let both = |bad: u64, requests: u64| vec![Tally { requests, bad }, Tally { requests, bad: 0 }];
    let window = Window { canary: both(500, 1_000), baseline: both(0, 1_000), missing: 0 };
    assert!(!evidence(half.clone(), &vec![window.clone(); 2]).failed());
    assert!(evidence(half, &vec![window; 3]).failed());
}

#[test]
fn harm_is_remembered_over_steps_and_proof_is_not() {
    let mut it = evidence(RulesSpec::default(), &vec![window((0, 5_000), (50, 5_000)); 4]);
    let before = it.assess();
    assert!(before.criteria[0].harmless.value > 20.0, "{before:?}");
    it.begin_step();
    let after = it.assess();
    assert_eq!(after.harm, before.harm);
    assert_eq!(after.criteria[0].harmless.value, 1.0);
    assert_eq!((after.windows, after.criteria[0].canary.step.requests), (0, 0));
    assert_eq!(after.criteria[0].canary.rollout.requests, 20_000);
}

#[test]
fn a_canary_over_its_limit_fails_even_beside_a_baseline_as_bad() {
    let spec = RulesSpec { limits: vec![Limit { max: 0.01, ..three().limits[0] }], ..RulesSpec::default() };
    let both = |bad| vec![Tally { requests: 200, bad }; 2];
    let window = |bad| Window { canary: both(bad), baseline: both(bad), missing: 0 };
    let within = evidence(spec.clone(), &vec![window(2); 50]);
    assert!(!within.failed());
    let over = evidence(spec, &vec![window(10); 50]);
    assert_eq!(over.assess().verdict, Verdict::Fail);
    assert!(over.assess().reasons[0].contains("1.0 % are allowed"), "{:?}", over.assess().reasons);
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn evidence_comes_back_from_json_with_the_same_bits(windows in windows()) {
        let it = evidence(three(), &windows);
        let json = serde_json::to_string(&it).unwrap();
        let back: Evidence = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &it);
        prop_assert_eq!(back.harm().to_bits(), it.harm().to_bits());
        prop_assert!(json.len() < 4_000, "{}", json.len());
    }

    #[test]
    fn stopping_and_resuming_anywhere_changes_nothing(windows in windows(), at in 0..8_usize) {
        let (first, second) = windows.split_at(at.min(windows.len()));
        let json = serde_json::to_string(&evidence(three(), first)).unwrap();
        let mut resumed: Evidence = serde_json::from_str(&json).unwrap();
        second.iter().for_each(|window| resumed.observe(window).unwrap());
        prop_assert_eq!(resumed, evidence(three(), &windows));
    }

    #[test]
    fn the_verdict_alone_is_that_of_the_whole_report(
        windows in windows(),
        min_requests in prop_oneof![Just(0), Just(100)],
        proven in any::<bool>(),
    ) {
        let pass_when = if proven { PassWhen::ProvenHarmless } else { PassWhen::NoHarmSeen };
        let mut it = evidence(RulesSpec { pass_when, min_requests, floor: 0.5, ..three() }, &[]);
        for mut window in windows {
            window.missing = 0;
            it.observe(&window).unwrap();
            prop_assert_eq!(it.verdict(), it.assess().verdict);
        }
    }

    #[test]
    fn any_numbers_give_a_report_of_finite_numbers(windows in windows(), step in any::<bool>()) {
        let mut it = evidence(three(), &windows);
        if step {
            it.begin_step();
        }
        let report = it.assess();
        prop_assert!(!report.reasons.is_empty());
        prop_assert!(report.harm.value.is_finite() && report.harm.value >= 0.0);
        // JSON has no word for what is not finite; serde_json writes null.
        let json = serde_json::to_value(&report).unwrap();
        prop_assert!(json["harm"]["log10"].is_f64() && json["criteria"][0]["harmless"]["log10"].is_f64());
        prop_assert!(json["criteria"][1]["canary"]["highest"].is_f64(), "{}", json);
    }

    #[test]
    fn more_bad_ones_on_the_canary_are_never_less_harm(requests in 1..300_u64, bad in 0..300_u64, other in 0..300_u64) {
        let (bad, other) = (bad % requests, other % (requests + 1));
        // The same bad ones in all, one more of them on the canary.
        prop_assume!(other > 0);
        let of = |x: u64, y: u64| evidence(RulesSpec::default(), &[window((x, requests), (y, requests))]).harm();
        prop_assert!(of(bad + 1, other - 1) >= of(bad, other) - 1e-12);
    }

    #[test]
    fn tallies_of_parts_are_the_tally_of_the_whole(a in any::counts(), b in any::counts()) {
        let mut whole = a.clone();
        whole.merge(&b);
        for criterion in Rules::try_from(three()).unwrap().measured() {
            let mut sum = Tally::of(&a, criterion);
            sum.add(Tally::of(&b, criterion));
            prop_assert_eq!(sum, Tally::of(&whole, criterion));
        }
    }
}
