//! Judging by metrics: the same numbers as SciPy (core/golden/metrics.py), none of the known ways to pass unseen, and laws.

use crate::cases;
use proptest::{collection::vec, option, prelude::*};
use serde_json::Value;
use sluicegate_core::judge::{
    Verdict,
    metrics::{
        Class, Direction, Judgment, MetricSpec, Metrics, MetricsSpec, Nan, Samples, brent, mann_whitney, normal,
        percentile,
    },
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const FILE: &str = include_str!("../../golden/metrics.json");

fn golden(list: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(FILE).expect("golden file is JSON");
    let all = file[list].as_array().expect(list).clone();
    assert!(all.len() >= 10, "{list} is nearly empty");
    all
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

fn points(list: &Value) -> Vec<Option<f64>> {
    list.as_array().expect("a list").iter().map(Value::as_f64).collect()
}

fn metric(change: impl FnOnce(&mut MetricSpec)) -> MetricSpec {
    let mut metric = MetricSpec::named("it");
    change(&mut metric);
    metric
}

fn metrics(all: Vec<MetricSpec>) -> Metrics {
    Metrics::try_from(MetricsSpec::of(all)).expect("good metrics")
}

fn series(canary: &[f64], baseline: &[f64]) -> Samples {
    let points = |values: &[f64]| values.iter().copied().map(Some).collect();
    Samples::Series { canary: points(canary), baseline: points(baseline) }
}

/// One metric, judged.
fn judged(metric: MetricSpec, samples: Samples) -> Judgment {
    metrics(vec![metric]).judge(&[samples])
}

fn class(judgment: &Judgment) -> Option<Class> {
    judgment.metrics[0].class
}

/// `count` numbers around `middle`, always the same ones for a seed.
fn around(middle: f64, count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = state;
        x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ x >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..count).map(|_| middle + 10.0 * (next() + next() + next() - 1.5)).collect()
}

#[test]
fn percentiles_are_those_of_numpy() {
    for vector in golden("percentiles") {
        let values = numbers(&vector["values"]);
        for (p, expected) in numbers(&vector["p"]).into_iter().zip(numbers(&vector["percentile"])) {
            let got = percentile::percentile(&values, p).expect("not empty");
            assert!((got - expected).abs() < 1e-9, "{p} of {}: {got}, not {expected}", values.len());
        }
    }
    assert_eq!((percentile::percentile(&[], 0.5), percentile::fences(&[])), (None, None));
}

#[test]
fn normal_quantiles_are_those_of_scipy() {
    for vector in golden("tails") {
        let [tail, z] = ["tail", "z"].map(|name| vector[name].as_f64().unwrap());
        let got = normal::above(tail);
        assert!((got - z).abs() < 1e-9, "{tail}: {got}, not {z}");
    }
    assert!(normal::above(0.0).is_finite() && normal::above(1.0) == 0.0);
}

#[test]
fn intervals_and_classes_are_those_of_scipy() {
    for vector in golden("cases") {
        let (name, expected) = (&vector["name"], &vector["expected"]);
        let mut said = serde_json::json!({ "name": "it", "minPoints": 1 });
        for (field, value) in vector.as_object().unwrap() {
            if !value.is_null() && !["name", "canary", "baseline", "expected", "looks"].contains(&field.as_str()) {
                said[field] = value.clone();
            }
        }
        let metric: MetricSpec = serde_json::from_value(said).expect("a metric");
        let mut spec = MetricsSpec::of(vec![metric]);
        spec.looks = vector["looks"].as_u64().unwrap() as u32;
        let samples = Samples::Series { canary: points(&vector["canary"]), baseline: points(&vector["baseline"]) };
        let judgment = Metrics::try_from(spec).unwrap().judge(&[samples]);
        let result = &judgment.metrics[0];
        assert_eq!(serde_json::to_value(result.class).unwrap(), expected["class"], "{name}: {result:?}");
        assert_eq!(serde_json::json!([result.canary.used, result.baseline.used]), expected["used"], "{name}");
        assert_eq!(result.comparison.is_some(), expected["low"].is_number(), "{name}");
        let Some(it) = result.comparison else { continue };
        // Relative to the size of the numbers: units of 1e-8 and of 1e14 are among them.
        let all: Vec<f64> =
            points(&vector["canary"]).into_iter().chain(points(&vector["baseline"])).flatten().collect();
        let size = all.iter().fold(0.0, |size: f64, x| size.max(x.abs()));
        for (field, got) in [("low", it.low), ("high", it.high), ("estimate", it.estimate)] {
            let want = expected[field].as_f64().unwrap();
            assert!((got - want).abs() <= 1e-9 * size, "{name}: {field} {got}, not {want}");
        }
        match (it.effect, expected["effect"].as_f64()) {
            (Some(got), Some(want)) => assert!((got - want).abs() < 1e-9, "{name}: effect {got}, not {want}"),
            (got, want) => assert_eq!(got, want, "{name}"),
        }
        if let Some(want) = expected["z"].as_f64().filter(|_| vector["outliers"] == "keep" && vector["nan"] == "remove")
        {
            let sorted = |side: &str| {
                let mut values: Vec<f64> = points(&vector[side]).into_iter().flatten().collect();
                values.sort_by(f64::total_cmp);
                values
            };
            let got = mann_whitney::z(&sorted("canary"), &sorted("baseline"), 0.0);
            assert!((got - want).abs() < 1e-9, "{name}: z {got}, not {want}");
        }
    }
}

#[test]
fn a_metric_whose_source_fails_never_counts_as_passed() {
    let spec = |name: &str| MetricSpec::named(name);
    let good = || series(&around(100.0, 30, 1), &around(100.0, 30, 2));
    let failed = || Samples::Failed("Prometheus does not answer".to_owned());
    let one = metrics(vec![spec("a"), spec("b"), spec("c")]);
    for samples in [vec![failed(), failed(), failed()], vec![good(), good(), failed()], vec![good(), good()], vec![]] {
        let judgment = one.judge(&samples);
        assert_eq!(judgment.verdict, Verdict::Inconclusive, "{samples:?}");
        assert!(judgment.reasons[0].contains("cannot be judged"), "{:?}", judgment.reasons);
    }
    let judgment = one.judge(&[good(), failed(), good()]);
    assert_eq!((judgment.score, judgment.metrics[1].class), (Some(100.0), None));
    assert!(judgment.reasons.contains(&"b: Prometheus does not answer".to_owned()), "{:?}", judgment.reasons);
    assert_eq!(one.judge(&[failed(), failed(), failed()]).score, None);
    assert_eq!(one.judge(&[good(), good(), good()]).verdict, Verdict::Pass);
}

#[test]
fn no_metric_or_no_data_is_never_a_pass() {
    let nothing = || series(&[], &[]);
    assert_eq!(metrics(vec![]).judge(&[]).verdict, Verdict::Inconclusive);
    assert_eq!(judged(metric(|_| ()), nothing()).verdict, Verdict::Inconclusive);
    // Zeros in the place of points that neither side has would be two equal series.
    let replacing = judged(
        metric(|m| m.nan = Nan::Replace),
        Samples::Series { canary: vec![None; 20], baseline: vec![Some(f64::NAN); 20] },
    );
    assert_eq!((replacing.verdict, class(&replacing)), (Verdict::Inconclusive, Some(Class::Nodata)));
    let must = judged(metric(|m| m.must_have_data = true), nothing());
    assert_eq!((must.verdict, must.score), (Verdict::Fail, Some(0.0)));

    // One of thirty without the data it must have leaves a score that would pass.
    let mut all: Vec<MetricSpec> = (0..30).map(|i| MetricSpec::named(&format!("m{i}"))).collect();
    all[7].must_have_data = true;
    let mut samples = vec![series(&around(5.0, 20, 1), &around(5.0, 20, 2)); 30];
    samples[7] = nothing();
    let judgment = metrics(all).judge(&samples);
    assert_eq!(judgment.verdict, Verdict::Inconclusive, "{:?}", judgment.reasons);
    assert!(judgment.score.unwrap() > 95.0);
}

#[test]
fn the_configured_tolerance_is_used() {
    let (canary, baseline) = (around(106.0, 60, 1), around(100.0, 60, 2));
    let with = |tolerance: f64| judged(metric(|m| m.tolerance = tolerance), series(&canary, &baseline));
    assert_eq!((class(&with(0.1)), class(&with(0.95))), (Some(Class::High), Some(Class::Pass)));
    let it = with(0.4).metrics[0].comparison.unwrap();
    assert_eq!(it.bound, 0.4 * it.estimate);
}

#[test]
fn the_configured_confidence_is_used() {
    let (canary, baseline) = (around(106.0, 20, 1), around(100.0, 20, 2));
    let with = |confidence: f64| {
        judged(metric(|m| m.confidence = confidence), series(&canary, &baseline)).metrics[0].comparison.unwrap()
    };
    let (narrow, wide) = (with(0.8), with(0.999));
    assert!(wide.low < narrow.low && narrow.high < wide.high && narrow.estimate == wide.estimate);
}

#[test]
fn two_points_a_side_are_shown_and_decide_nothing() {
    let few = series(&[3.0, 4.0], &[1.0, 2.0]);
    let judgment = judged(metric(|m| m.critical = true), few.clone());
    assert_eq!((judgment.verdict, class(&judgment)), (Verdict::Inconclusive, Some(Class::High)));
    assert!(judgment.metrics[0].too_few && judgment.reasons[1].contains("only 2 points of the canary"));
    // Nor do they pass.
    assert_eq!(judged(metric(|_| ()), series(&[1.0, 2.0], &[1.0, 2.0])).verdict, Verdict::Inconclusive);
    let nine = judged(metric(|_| ()), series(&around(9.0, 9, 1), &around(9.0, 20, 1)));
    assert_eq!(nine.verdict, Verdict::Inconclusive);
    assert_eq!(judged(metric(|m| m.min_points = 2), few).verdict, Verdict::Fail);
}

#[test]
fn constant_series_are_compared_as_they_are_and_every_time_the_same() {
    let it = || judged(metric(|_| ()), series(&[6.0; 20], &[5.0; 20]));
    let comparison = it().metrics[0].comparison.unwrap();
    assert_eq!((comparison.low, comparison.high, comparison.estimate), (1.0, 1.0, 1.0));
    assert_eq!(class(&it()), Some(Class::High));
    assert_eq!(it(), it());
    assert_eq!(class(&judged(metric(|_| ()), series(&[5.0; 20], &[5.0; 12]))), Some(Class::Pass));
}

#[test]
fn more_looks_ask_for_more_evidence() {
    let (canary, baseline) = (around(107.0, 15, 1), around(100.0, 15, 2));
    let low = |looks: u32| {
        let mut spec = MetricsSpec::of(vec![metric(|_| ())]);
        spec.looks = looks;
        Metrics::try_from(spec).unwrap().judge(&[series(&canary, &baseline)]).metrics[0].comparison.unwrap().low
    };
    assert!(low(20) < low(1));
    let one_strict = judged(metric(|m| m.confidence = 1.0 - 0.02 / 20.0), series(&canary, &baseline));
    assert_eq!(low(20), one_strict.metrics[0].comparison.unwrap().low);
}

#[test]
fn a_good_release_is_rarely_called_bad() {
    let rounds = 1_500_u64;
    let bad = (0..rounds).filter(|round| {
        let (canary, baseline) = (around(100.0, 10, 2 * round), around(100.0, 10, 2 * round + 1));
        class(&judged(metric(|_| ()), series(&canary, &baseline))) != Some(Class::Pass)
    });
    let part = bad.count() as f64 / rounds as f64;
    assert!(part < 0.02, "{part}: more than the confidence of 0.98 allows");
}

#[test]
fn a_critical_failure_fails_whatever_the_others_say() {
    let mut all = vec![MetricSpec::named("latency"), MetricSpec::named("errors"), MetricSpec::named("saturation")];
    all[1].critical = true;
    all[1].critical_increase = Some(1.5);
    let good = series(&around(50.0, 30, 1), &around(50.0, 30, 2));
    let at = |factor: f64| series(&around(50.0 * factor, 30, 3), &around(50.0, 30, 4));
    let judge = |errors, other| metrics(all.clone()).judge(&[good.clone(), errors, other]);
    let beyond = judge(at(2.0), good.clone());
    assert_eq!((beyond.verdict, beyond.score), (Verdict::Fail, Some(0.0)));
    assert!(beyond.metrics[1].critical && beyond.reasons[0] == "a critical metric failed");
    let within = judge(at(1.3), good.clone());
    assert!(!within.metrics[1].critical && within.metrics[1].class == Some(Class::High));
    assert_eq!(within.verdict, Verdict::Fail, "66 of 100 is below the mark");
    let other_unknown = judge(at(2.0), Samples::Failed("no answer".to_owned()));
    assert_eq!(other_unknown.verdict, Verdict::Fail);
}

#[test]
fn groups_weigh_as_told_and_the_rest_share() {
    let mut all: Vec<MetricSpec> = ["a1", "a2", "b", "c"].map(MetricSpec::named).into();
    for (metric, group) in all.iter_mut().zip(["a", "a", "b", "c"]) {
        metric.group = group.to_owned();
    }
    let mut spec = MetricsSpec::of(all);
    spec.group_weights.insert("a".to_owned(), 40.0);
    let metrics = Metrics::try_from(spec.clone()).unwrap();
    let good = series(&around(5.0, 20, 1), &around(5.0, 20, 2));
    let bad = series(&around(50.0, 20, 1), &around(5.0, 20, 2));
    let judge = |samples: [&Samples; 4]| metrics.judge(&samples.map(Clone::clone));
    let one = judge([&good, &bad, &good, &good]);
    assert_eq!(
        one.groups.iter().map(|g| (g.weight, g.score)).collect::<Vec<_>>(),
        [(40.0, Some(50.0)), (30.0, Some(100.0)), (30.0, Some(100.0))]
    );
    assert_eq!((one.score, one.verdict), (Some(80.0), Verdict::Inconclusive));
    assert_eq!(judge([&good, &good, &bad, &good]).verdict, Verdict::Fail);
    assert_eq!(judge([&good, &good, &good, &good]).verdict, Verdict::Pass);
    // A group without data hands its weight to the others: 40 and 30 of 70.
    let without = judge([&bad, &bad, &good, &series(&[], &[])]);
    assert!((without.score.unwrap() - 300.0 / 7.0).abs() < 1e-9);

    for (group, weight, part) in
        [("a", 101.0, "0 to 100"), ("z", 10.0, "no metric is in"), ("b", 70.0, "add up to 110")]
    {
        let mut wrong = spec.clone();
        wrong.group_weights.insert(group.to_owned(), weight);
        let why = Metrics::try_from(wrong).expect_err(group).to_string();
        assert!(why.contains(part), "{why}");
    }
    spec.group_weights.insert("b".to_owned(), 60.0);
    assert!(Metrics::try_from(spec).unwrap_err().to_string().contains("nothing is left for group \"c\""));
}

#[test]
fn infinite_and_monstrous_points_are_never_judged() {
    for odd in [f64::INFINITY, f64::NEG_INFINITY, 1e200] {
        let mut canary = around(5.0, 20, 1);
        canary[3] = odd;
        let judgment = judged(metric(|m| m.nan = Nan::Replace), series(&canary, &around(5.0, 20, 2)));
        assert_eq!((judgment.verdict, class(&judgment)), (Verdict::Inconclusive, None), "{:?}", judgment.reasons);
    }
}

#[test]
fn what_cannot_be_a_metric_is_refused_with_what_it_must_be() {
    type Change = fn(&mut MetricSpec);
    let wrong: [(Change, &str); 8] = [
        (|m| m.name.clear(), "name"),
        (|m| m.tolerance = -0.1, "tolerance"),
        (|m| m.tolerance = f64::NAN, "tolerance"),
        (|m| m.confidence = 1.0, "confidence"),
        (|m| m.min_points = 0, "minPoints"),
        (|m| m.allowed_increase = Some(0.9), "allowedIncrease"),
        (|m| m.critical_increase = Some(f64::INFINITY), "criticalIncrease"),
        (|m| m.critical_decrease = Some(1.1), "criticalDecrease"),
    ];
    for (change, field) in wrong {
        let why = Metrics::try_from(MetricsSpec::of(vec![metric(change)])).expect_err(field).to_string();
        assert!(why.starts_with(field) && why.contains("must"), "{why}");
    }
    let twice = MetricsSpec::of(vec![metric(|_| ()), metric(|_| ())]);
    assert!(Metrics::try_from(twice).is_err());
    assert!(serde_json::from_str::<MetricSpec>(r#"{"name":"x","tolerence":1}"#).is_err());
    let read: MetricSpec = serde_json::from_str(r#"{"name":"x"}"#).unwrap();
    assert_eq!(read, MetricSpec::named("x"));
}

#[test]
fn a_root_is_found_at_the_place_of_a_jump() {
    let found = brent::root(|x| if x < 0.123 { 1.0 } else { -2.0 }, -5.0, 7.0, 1e-12);
    assert!((found - 0.123).abs() < 1e-11);
    let cubic = brent::root(|x| x * x * x - 2.0, 0.0, 2.0, 1e-14);
    assert!((cubic * cubic * cubic - 2.0).abs() < 1e-12);
    // No change of sign, no number: an end, and never for ever.
    assert_eq!(brent::root(|x| x + 10.0, 0.0, 1.0, 1e-9), 0.0);
    brent::root(|_| f64::NAN, 0.0, 1.0, 1e-9);
}

/// Small numbers with many ties, larger ones without, and holes.
fn side() -> impl Strategy<Value = Vec<Option<f64>>> {
    let value = prop_oneof![(0..5_i8).prop_map(f64::from), -1e3..1e3_f64, 0.0..1e-3_f64];
    vec(option::weighted(0.9, value), 0..25)
}

fn anything() -> impl Strategy<Value = Vec<Option<f64>>> {
    vec(option::of(any::<f64>()), 0..25)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn swapping_the_sides_mirrors_the_result(canary in side(), baseline in side()) {
        let one = judged(metric(|_| ()), Samples::Series { canary: canary.clone(), baseline: baseline.clone() });
        let two = judged(metric(|_| ()), Samples::Series { canary: baseline, baseline: canary });
        if let (Some(one), Some(two)) = (one.metrics[0].comparison, two.metrics[0].comparison) {
            prop_assert!((one.low + two.high).abs() < 1e-9 && (one.high + two.low).abs() < 1e-9);
            prop_assert!((one.estimate + two.estimate).abs() < 1e-9);
        }
        prop_assert_eq!(one.metrics[0].canary, two.metrics[0].baseline);
    }

    #[test]
    fn the_unit_of_a_metric_does_not_matter(canary in side(), baseline in side(), power in -30..30_i32) {
        let factor = f64::from(2_u32.pow(power.unsigned_abs()));
        let factor = if power < 0 { 1.0 / factor } else { factor };
        let scaled = |side: &[Option<f64>]| side.iter().map(|x| x.map(|x| x * factor)).collect();
        let one = judged(metric(|_| ()), Samples::Series { canary: canary.clone(), baseline: baseline.clone() });
        let two = judged(metric(|_| ()), Samples::Series { canary: scaled(&canary), baseline: scaled(&baseline) });
        prop_assert_eq!(class(&one), class(&two));
        if let (Some(one), Some(two)) = (one.metrics[0].comparison, two.metrics[0].comparison) {
            prop_assert_eq!(one.low * factor, two.low);
            prop_assert_eq!(one.estimate * factor, two.estimate);
        }
    }

    #[test]
    fn an_interval_of_counts_ends_exactly_at_counts(canary in vec(0..4_u8, 2..25), baseline in vec(0..4_u8, 2..25)) {
        // An end of 1e-15 in the place of 0 would lie beyond a bound of 0.
        let whole = |side: &[u8]| side.iter().copied().map(f64::from).collect::<Vec<_>>();
        let judgment = judged(metric(|_| ()), series(&whole(&canary), &whole(&baseline)));
        if let Some(it) = judgment.metrics[0].comparison {
            prop_assert!([it.low, it.high, 2.0 * it.estimate].iter().all(|x| x.fract() == 0.0), "{:?}", it);
        }
    }

    #[test]
    fn a_class_but_pass_is_only_given_the_way_that_is_bad(canary in side(), baseline in side()) {
        let samples = || Samples::Series { canary: canary.clone(), baseline: baseline.clone() };
        let up = class(&judged(metric(|m| m.direction = Direction::Increase), samples()));
        let down = class(&judged(metric(|m| m.direction = Direction::Decrease), samples()));
        let either = class(&judged(metric(|_| ()), samples()));
        prop_assert!(up != Some(Class::Low) && down != Some(Class::High));
        prop_assert!(either == up || either == down);
    }

    #[test]
    fn the_interval_holds_the_estimate(canary in side(), baseline in side()) {
        let judgment = judged(metric(|_| ()), Samples::Series { canary, baseline });
        if let Some(it) = judgment.metrics[0].comparison {
            prop_assert!(it.low <= it.estimate && it.estimate <= it.high, "{:?}", it);
        }
    }

    #[test]
    fn no_points_whatever_break_it_or_pass_it_unseen(canary in anything(), baseline in anything(), replace in any::<bool>()) {
        let metric = metric(|m| if replace { m.nan = Nan::Replace });
        let judgment = judged(metric, Samples::Series { canary, baseline });
        let result = &judgment.metrics[0];
        let firm = result.class.is_some() && result.canary.used >= 10 && result.baseline.used >= 10;
        prop_assert!(firm || judgment.verdict != Verdict::Pass, "{:?}", judgment);
        let text = serde_json::to_string(&judgment).unwrap();
        prop_assert!(serde_json::from_str::<Judgment>(&text).is_ok(), "{}", text);
    }
}
