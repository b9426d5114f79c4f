//! `sluicegate judge` on counts, and on the examples, by the real binary: no controller runs.

use serde_json::{Value, json};
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

fn run(input: &str, args: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .arg("judge")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn judged(recording: &Value) -> Value {
    let output = run(&recording.to_string(), &["-", "-o", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The message with which it is refused.
pub(crate) fn refused(input: &str) -> String {
    let output = run(input, &["-", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{input}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// Numbers that are the same everywhere (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / 9_007_199_254_740_992.0
    }

    fn bad(&mut self, n: u64, rate: f64) -> u64 {
        (0..n).map(|_| u64::from(self.next() < rate)).sum()
    }

    pub(crate) fn series(&mut self, n: usize, middle: f64) -> Vec<f64> {
        (0..n).map(|_| middle + self.next() + self.next()).collect()
    }
}

/// So many windows of 100 requests a side.
fn counts(seed: u64, windows: u64, canary: f64, baseline: f64) -> Value {
    let mut random = Random(seed);
    let window = |t| {
        json!({ "t": t, "canary": { "n": 100, "errors": random.bad(100, canary) },
                "baseline": { "n": 100, "errors": random.bad(100, baseline) } })
    };
    json!({ "counts": (1..=windows).map(window).collect::<Vec<_>>() })
}

/// The same, ending with the window of this `t`.
fn until(recording: &Value, t: u64) -> Value {
    let mut shorter = recording.clone();
    shorter["counts"].as_array_mut().unwrap().retain(|window| window["t"].as_u64().unwrap() <= t);
    shorter
}

#[test]
fn equal_sides_never_fail_and_pass_from_a_window_on() {
    for seed in 0..20 {
        let recording = counts(seed, 100, 0.01, 0.01);
        let it = judged(&recording);
        assert_eq!(it["verdict"], "pass", "{it}");
        let evidence = &it["evidence"];
        assert!(evidence["fail"].as_f64() < evidence["failAt"].as_f64() && evidence["failAt"] == 100.0, "{it}");
        assert!(evidence["pass"].is_f64() && evidence["passAt"] == 20.0, "{it}");
        let at = it["decidedAt"].as_u64().unwrap();
        assert_eq!(judged(&until(&recording, at))["verdict"], "pass");
        assert_eq!(judged(&until(&recording, at - 1))["verdict"], "inconclusive", "{seed}: {at}");
    }
}

#[test]
fn five_times_the_errors_fail_at_the_first_window_that_shows_it_and_stay_failed() {
    for seed in 0..20 {
        let mut recording = counts(seed, 100, 0.05, 0.01);
        let it = judged(&recording);
        let at = it["decidedAt"].as_u64().unwrap();
        assert!(it["verdict"] == "fail" && (3..40).contains(&at), "{seed}: {it}");
        assert!(it["evidence"]["fail"].as_f64() >= it["evidence"]["failAt"].as_f64());
        assert_eq!(judged(&until(&recording, at))["decidedAt"], at);
        assert_ne!(judged(&until(&recording, at - 1))["verdict"], "fail");
        // A thousand good windows do not undo it.
        let windows = recording["counts"].as_array_mut().unwrap();
        let calm = |t| json!({ "t": t, "canary": { "n": 100, "errors": 0 }, "baseline": { "n": 100, "errors": 1 } });
        windows.extend((101..1101).map(calm));
        let later = judged(&recording);
        assert_eq!((&later["verdict"], &later["decidedAt"]), (&it["verdict"], &it["decidedAt"]));
    }
}

#[test]
fn a_verdict_that_did_not_last_did_not_stand() {
    // It passes early, then a burst makes it wait, then it passes again.
    let mut recording = counts(7, 100, 0.01, 0.01);
    let early = judged(&recording)["decidedAt"].as_u64().unwrap();
    for window in 50..54 {
        recording["counts"][window]["canary"]["errors"] = json!(20);
    }
    assert_eq!(judged(&until(&recording, 54))["verdict"], "inconclusive");
    assert_eq!(judged(&until(&recording, 54))["decidedAt"], Value::Null);
    let it = judged(&recording);
    let late = it["decidedAt"].as_u64().unwrap();
    assert!(it["verdict"] == "pass" && early < 50 && late > 54, "{early} {late} {it}");
}

#[test]
fn slowness_is_a_criterion_where_both_sides_have_it() {
    let mut recording = counts(1, 60, 0.01, 0.01);
    assert_eq!(judged(&recording)["criteria"].as_array().unwrap().len(), 1);
    for window in recording["counts"].as_array_mut().unwrap().iter_mut().skip(20) {
        window["canary"]["slow"] = json!(10);
        window["baseline"]["slow"] = json!(1);
    }
    recording["counts"][0]["canary"]["slow"] = json!(100);
    let it = judged(&recording);
    assert_eq!((&it["verdict"], &it["criteria"][1]["name"]), (&json!("fail"), &json!("slow")));
    assert!(it["decidedAt"].as_u64().unwrap() > 20, "{it}");
    assert_eq!(it["criteria"][1]["canary"], json!({ "n": 4_000, "bad": 400, "rate": 0.1 }));
    // The evidence is shared, so one criterion alone needs twice as much.
    assert_eq!(it["criteria"][1]["failAt"], 200.0);
    let of = |i: usize| it["criteria"][i]["pass"].as_f64().unwrap();
    assert_eq!(it["evidence"]["pass"].as_f64().unwrap(), of(0).min(of(1)));
}

#[test]
fn the_options_do_what_they_say() {
    let with = |field: &str, value: Value| {
        let mut recording = counts(3, 100, 0.02, 0.01);
        recording[field] = value;
        judged(&recording)
    };
    assert_eq!(with("alpha", json!(0.01))["verdict"], "fail");
    assert_eq!(with("alpha", json!(0.000001))["evidence"]["failAt"], 1e6);
    let tolerant = with("tolerance", json!(2.0));
    assert!(tolerant["verdict"] == "pass" && tolerant["evidence"]["fail"].as_f64() < Some(2.0), "{tolerant}");
    let few = |min: u64| {
        let mut recording = counts(3, 4, 0.0, 0.0);
        recording["minRequests"] = json!(min);
        judged(&recording)["verdict"].clone()
    };
    assert_eq!([few(400), few(401)], ["pass", "inconclusive"]);
    let mut recording = counts(3, 30, 0.01, 0.01);
    recording["passWhen"] = json!("provenHarmless");
    let it = judged(&recording);
    assert_eq!((&it["verdict"], &it["decidedAt"]), (&json!("inconclusive"), &Value::Null));
    recording = counts(3, 400, 0.01, 0.01);
    recording["passWhen"] = json!("provenHarmless");
    let it = judged(&recording);
    assert!(it["verdict"] == "pass" && it["evidence"]["pass"].as_f64() >= it["evidence"]["passAt"].as_f64(), "{it}");
}

#[test]
fn overwhelming_evidence_is_still_a_number() {
    let window = |t| json!({ "t": t, "canary": { "n": 1000, "errors": 900 }, "baseline": { "n": 1000, "errors": 0 } });
    let it = judged(&json!({ "counts": (0..2000).map(window).collect::<Vec<_>>() }));
    assert!(it["evidence"]["fail"].as_f64().unwrap() > 1e299, "{it}");
    assert_eq!(
        (&it["verdict"], &it["decidedAt"], &it["evidence"]["pass"]),
        (&json!("fail"), &json!(2), &it["criteria"][0]["pass"])
    );
}

#[test]
fn a_time_is_given_back_as_it_was_written() {
    let mut recording = counts(1, 20, 0.9, 0.0);
    for (i, window) in recording["counts"].as_array_mut().unwrap().iter_mut().enumerate() {
        window["t"] = json!(1_700_000_000_000_000_000_u64 + i as u64);
    }
    assert_eq!(judged(&recording)["decidedAt"], 1_700_000_000_000_000_002_u64);
    let text = r#"{"counts":[{"t":-1.5,"canary":{"n":900.0,"errors":0},"baseline":{"n":900,"errors":0}},
        {"t":-1,"canary":{"n":900,"errors":0},"baseline":{"n":900,"errors":0}},
        {"t":0.25,"canary":{"n":900,"errors":0},"baseline":{"n":900,"errors":0}}]}"#;
    let output = run(&format!("\u{feff}{text}"), &["-", "-o", "yaml"]);
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.contains("decidedAt: 0.25"), "{out}{}", String::from_utf8_lossy(&output.stderr));
}

const WINDOW: &str = r#"{"t":1,"canary":{"n":9,"errors":1},"baseline":{"n":9,"errors":1}}"#;

#[test]
fn bad_counts_are_refused_with_their_place() {
    let second = |window: &str| format!(r#"{{"counts":[{WINDOW},{window}]}}"#);
    let canary = |canary: &str| second(&format!(r#"{{"t":2,"canary":{canary},"baseline":{{"n":1,"errors":0}}}}"#));
    let option = |option: &str| format!(r#"{{"counts":[{WINDOW}],{option}}}"#);
    for (input, told) in [
        (canary(r#"{"n":9,"errors":10}"#), "counts[1].canary.errors (t 2) is 10, more than n, 9"),
        (canary(r#"{"n":9,"errors":1,"slow":10}"#), "counts[1].canary.slow (t 2) is 10, more than n"),
        (canary(r#"{"n":-9,"errors":1}"#), "counts[1].canary.n: invalid value: integer `-9`, expected a whole number"),
        (canary(r#"{"n":9.5,"errors":1}"#), "counts[1].canary.n: invalid value: floating point `9.5`"),
        (canary(r#"{"n":"9","errors":1}"#), "counts[1].canary.n: invalid type: string \"9\""),
        (canary(r#"{"n":NaN,"errors":1}"#), "JSON has no NaN"),
        (canary(r#"{"n":9}"#), "counts[1].canary: missing field `errors`"),
        (canary(r#"{"n":9,"error":1}"#), "did you mean \"errors\"?"),
        (second(WINDOW), "counts[1].t is 1, after 1: put the windows in the order of time"),
        (second(r#"{"canary":{"n":1,"errors":0},"baseline":{"n":1,"errors":0}}"#), "counts[1]: missing field `t`"),
        (second("7"), "counts[1]: invalid type: integer `7`, expected a window, an object"),
        (option("\"alpha\":0"), "alpha is 0: it must be between 0 and 1"),
        (option("\"alpha\":1.5"), "alpha is 1.5"),
        (option("\"tolerance\":-0.1"), "tolerance is -0.1: it must be between 0 and 100"),
        (option("\"minRequests\":0"), "minRequests is 0: it must be at least 1"),
        (option("\"passWhen\":\"noHarmSean\""), "did you mean \"noHarmSeen\"?"),
        (option("\"alhpa\":0.1"), "did you mean \"alpha\"?"),
        (option("\"groups\":{}"), "groups says nothing about counts"),
        (option("\"metrics\":[]"), "there are counts and metrics"),
        (option("\"alpha\":0.1,\"alpha\":0.2"), "duplicate field `alpha`"),
        ("{\"counts\":[]}".to_owned(), "counts is empty"),
        ("{}".to_owned(), "neither counts nor metrics"),
        ("[]".to_owned(), "this is a list: an object is expected"),
        (String::new(), "this is not JSON: EOF"),
        (format!("{} x", option("\"alpha\":0.1")), "one JSON object is expected"),
        ("counts: []".to_owned(), "this is not JSON"),
    ] {
        let message = refused(&input);
        assert!(message.starts_with("sluicegate: standard input: ") && message.contains(told), "{input}\n{message}");
    }
}

fn example(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name).display().to_string()
}

#[test]
fn the_examples_say_what_the_reference_shows() {
    let of = |name: &str| {
        let output = run("", &[&example(name), "-o", "json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let it = of("judge-counts.json");
    assert_eq!((&it["verdict"], &it["windows"]), (&json!("fail"), &json!(24)), "{it}");
    let it = of("judge-metrics.json");
    let near = |got: &Value, wanted: f64| {
        let got = got.as_f64().unwrap();
        assert!((got - wanted).abs() < 1e-9, "{got} is not {wanted}");
    };
    let classes: Vec<_> = it["metrics"].as_array().unwrap().iter().map(|m| m["class"].as_str().unwrap()).collect();
    assert_eq!(classes, ["pass", "high", "pass", "pass"]);
    // As SciPy and NumPy have it.
    for (i, interval, estimate, effect) in [
        (0, [-4.2, 1.0], -1.3, 0.968_739_064_504_840_7),
        (1, [72.9, 99.0], 86.55, 1.458_361_911_294_009_6),
        (2, [-0.016, 0.0], -0.008, 0.990_728_334_851_814_2),
        (3, [-1.0, 0.0], 0.0, 0.76),
    ] {
        let m = &it["metrics"][i];
        near(&m["interval"][0], interval[0]);
        near(&m["interval"][1], interval[1]);
        near(&m["estimate"], estimate);
        near(&m["effect"], effect);
    }
    assert_eq!((&it["verdict"], &it["score"]), (&json!("inconclusive"), &json!(75.0)));
}

#[test]
fn people_get_a_table_and_scripts_an_exit_code() {
    let output = run("", &[&example("judge-counts.json")]);
    let out = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "a verdict of fail is no failure to judge");
    for part in ["fail  from t ", "24 windows", "EVIDENCE", "of no harm", "slow", "evidence of harm reached"] {
        assert!(out.contains(part), "{part:?} is missing in\n{out}");
    }
    assert!(!out.contains('\x1b'), "colours are for terminals");
    let output = run("", &[&example("judge-metrics.json")]);
    let out = String::from_utf8(output.stdout).unwrap();
    for part in ["score 75 (95 passes, below 75 fails)", "METRIC", "latency p99", "high", "the canary is higher"] {
        assert!(out.contains(part), "{part:?} is missing in\n{out}");
    }
    for (args, code, told) in [
        (&["no such file"][..], 1, "no such file: cannot be read; give a file of JSON"),
        (&[][..], 2, "<FILE>"),
        (&["-", "-o", "xml"][..], 2, "invalid value 'xml'"),
    ] {
        let output = run("", args);
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && err.contains(told), "{args:?}: {err}");
    }
}

#[test]
fn long_recordings_are_judged_at_once() {
    let recording = counts(9, 10_000, 0.01, 0.01);
    assert_eq!(judged(&recording)["windows"], 10_000);
}
