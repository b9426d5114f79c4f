//! What passes a step, and what never does.

use crate::evidence::{evidence, window};
use sluicegate_core::judge::{
    Verdict,
    rules::{PassWhen, RulesSpec},
    window::Window,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn judged(spec: RulesSpec, windows: &[Window]) -> (Verdict, Vec<String>) {
    let it = evidence(spec, windows).assess();
    (it.verdict, it.reasons)
}

fn eager() -> RulesSpec {
    RulesSpec { min_requests: 0, warning: 1e9, ..RulesSpec::default() }
}

#[test]
fn without_data_nothing_passes_even_when_nothing_is_asked() {
    let nothing = [
        vec![],
        vec![Window { canary: vec![Default::default()], baseline: vec![Default::default()], missing: 0 }],
        vec![window((0, 10_000), (0, 0)); 5],
        vec![window((0, 0), (0, 10_000)); 5],
    ];
    for windows in nothing {
        let (verdict, reasons) = judged(eager(), &windows);
        assert_eq!(verdict, Verdict::Inconclusive, "{windows:?}");
        assert!(reasons.iter().any(|r| r.contains("requests observed on the")), "{reasons:?}");
    }
}

#[test]
fn few_requests_never_pass() {
    let (verdict, reasons) = judged(RulesSpec::default(), &vec![window((0, 19), (0, 1_000)); 10]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert_eq!(reasons, ["errors: 190 requests observed on the canary, 200 needed"]);
    assert_eq!(judged(RulesSpec::default(), &vec![window((0, 20), (0, 1_000)); 10]).0, Verdict::Pass);
}

#[test]
fn a_step_that_can_see_nothing_does_not_pass() {
    // One window of plenty: its cap keeps any harm from being shown.
    let (verdict, reasons) = judged(RulesSpec::default(), &[window((0, 10_000), (0, 10_000))]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reasons[0].contains("cannot show any harm"), "{reasons:?}");
    let few = evidence(eager(), &vec![window((0, 1), (0, 1)); 4]).assess();
    assert!(few.criteria[0].could_see.is_none() && few.verdict == Verdict::Inconclusive);
}

#[test]
fn missing_reports_never_pass_and_still_fail() {
    let fine = |missing| Window { missing, ..window((2, 1_000), (2, 1_000)) };
    let windows = [fine(0), fine(0), fine(0), fine(2)];
    let (verdict, reasons) = judged(RulesSpec::default(), &windows);
    assert_eq!((verdict, reasons.len()), (Verdict::Inconclusive, 1));
    assert!(reasons[0].contains("2 proxies are missing"), "{reasons:?}");
    // They are back.
    assert_eq!(judged(RulesSpec::default(), &[windows.to_vec(), vec![fine(0)]].concat()).0, Verdict::Pass);
    let broken = Window { missing: 2, ..window((500, 1_000), (2, 1_000)) };
    assert_eq!(judged(RulesSpec::default(), &vec![broken; 3]).0, Verdict::Fail);
}

#[test]
fn a_step_with_a_warning_waits_for_more() {
    let worse = vec![window((9, 200), (0, 200)); 2];
    let it = evidence(RulesSpec::default(), &worse);
    assert!(it.harm() >= 10.0 && !it.failed(), "{}", it.harm());
    assert_eq!(it.assess().verdict, Verdict::Inconclusive);
    assert!(it.assess().reasons.iter().any(|r| r.contains("evidence of harm")), "{:?}", it.assess().reasons);
}

#[test]
fn harm_that_was_shown_stays_shown() {
    let mut windows = vec![window((100, 200), (0, 200)); 4];
    windows.extend(vec![window((0, 5_000), (0, 5_000)); 100]);
    windows.extend(vec![window((0, 200), (100, 200)); 20]);
    let it = evidence(RulesSpec::default(), &windows).assess();
    assert!(it.harm.value < 1.0 && it.harm.peak >= 100.0);
    assert_eq!(it.verdict, Verdict::Fail);
    assert!(it.reasons[0].contains("evidence of harm reached"), "{:?}", it.reasons);
}

#[test]
fn proof_takes_more_than_seeing_no_harm() {
    let proven = RulesSpec { pass_when: PassWhen::ProvenHarmless, ..RulesSpec::default() };
    let some = |windows: usize| vec![window((10, 1_000), (10, 1_000)); windows];
    assert_eq!(judged(RulesSpec::default(), &some(3)).0, Verdict::Pass);
    let (verdict, reasons) = judged(proven.clone(), &some(3));
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(reasons[0].contains("evidence of no harm is"), "{reasons:?}");
    assert_eq!(judged(proven.clone(), &some(20)).0, Verdict::Pass);
    // Without any error the comparison is mute, and the canary's own rate speaks.
    assert_eq!(judged(proven.clone(), &vec![window((0, 1_000), (0, 1_000)); 4]).0, Verdict::Inconclusive);
    assert_eq!(judged(proven, &vec![window((0, 1_000), (0, 1_000)); 10]).0, Verdict::Pass);
}

#[test]
fn a_pass_says_what_would_have_been_caught() {
    let it = evidence(RulesSpec::default(), &vec![window((1, 100), (1, 100)); 50]).assess();
    assert_eq!(it.verdict, Verdict::Pass);
    let least = it.criteria[0].could_see.expect("5,000 a side see something");
    assert!(least.odds_ratio > 1.5 && least.odds_ratio < 3.0, "{least:?}");
    assert!(it.reasons[0].contains("it would have been caught, four times in five"), "{:?}", it.reasons);
}
