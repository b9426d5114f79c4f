//! `sluicegate judge` on series of metrics.

use crate::judge::{Random, judged, refused};
use serde_json::{Value, json};

fn metric(more: Value) -> Value {
    let mut random = Random(11);
    let mut metric =
        json!({ "name": "latency", "baseline": random.series(30, 10.0), "canary": random.series(30, 10.0) });
    metric.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    metric
}

fn one(more: Value) -> Value {
    judged(&json!({ "metrics": [metric(more)] }))
}

fn shifted() -> Value {
    json!(Random(5).series(30, 14.0))
}

#[test]
fn series_that_are_alike_pass_and_those_apart_do_not() {
    let it = one(json!({}));
    assert_eq!((&it["verdict"], &it["decidedAt"], &it["score"]), (&json!("pass"), &Value::Null, &json!(100.0)));
    assert_eq!(it["metrics"][0]["n"], json!({ "baseline": 30, "canary": 30 }));
    let high = one(json!({ "canary": shifted() }));
    assert_eq!((&high["verdict"], &high["score"]), (&json!("fail"), &json!(0.0)));
    let m = &high["metrics"][0];
    assert!(m["class"] == "high" && m["critical"] == false && m["effect"].as_f64() > Some(1.3), "{m}");
    assert!(m["interval"][0].as_f64() < m["estimate"].as_f64() && m["estimate"].as_f64() < m["interval"][1].as_f64());
    assert_eq!(one(json!({ "canary": shifted(), "direction": "decrease" }))["verdict"], "pass");
    let low = one(json!({ "baseline": shifted(), "direction": "either" }));
    assert_eq!(low["metrics"][0]["class"], "low");
    assert_eq!(one(json!({ "canary": shifted(), "allowedIncrease": 1.9 }))["verdict"], "pass");
    assert_eq!(one(json!({ "canary": shifted(), "tolerance": 5.0 }))["verdict"], "pass");
    let same = one(json!({ "canary": vec![3.0; 12], "baseline": vec![3.0; 15] }));
    assert_eq!((&same["verdict"], &same["metrics"][0]["interval"]), (&json!("pass"), &Value::Null));
    let constants = one(json!({ "canary": vec![4.0; 12], "baseline": vec![3.0; 15] }));
    assert_eq!(
        (&constants["metrics"][0]["class"], &constants["metrics"][0]["interval"]),
        (&json!("high"), &json!([1.0, 1.0]))
    );
    let unequal = one(json!({ "canary": Random(2).series(200, 10.0) }));
    assert_eq!((&unequal["verdict"], &unequal["metrics"][0]["n"]["canary"]), (&json!("pass"), &json!(200)));
}

#[test]
fn a_critical_metric_fails_everything() {
    let fine = |i: usize| metric(json!({ "name": format!("fine {i}"), "group": "g" }));
    let all = |bad: Value| {
        let mut metrics: Vec<Value> = (0..30).map(fine).collect();
        metrics.push(metric(bad));
        judged(&json!({ "metrics": metrics, "groups": { "g": 96.0 } }))
    };
    let it = all(json!({ "canary": shifted() }));
    assert_eq!((&it["verdict"], &it["score"]), (&json!("pass"), &json!(96.0)));
    let it = all(json!({ "canary": shifted(), "critical": true }));
    assert_eq!(
        (&it["verdict"], &it["score"], &it["metrics"][30]["critical"]),
        (&json!("fail"), &json!(0.0), &json!(true))
    );
    let it = all(json!({ "canary": shifted(), "critical": true, "criticalIncrease": 2.0 }));
    assert_eq!((&it["verdict"], &it["metrics"][30]["critical"]), (&json!("pass"), &json!(false)));
    let marks = json!({ "metrics": [metric(json!({})), metric(json!({ "name": "b", "canary": shifted() }))], "pass": 60, "marginal": 50 });
    assert_eq!(judged(&marks)["verdict"], "inconclusive");
}

#[test]
fn what_was_not_measured_never_passes() {
    let nothing = json!([null, null, null]);
    let it = one(json!({ "canary": nothing, "baseline": [] }));
    assert_eq!(
        (&it["verdict"], &it["score"], &it["metrics"][0]["class"]),
        (&json!("inconclusive"), &json!(0.0), &json!("nodata"))
    );
    assert_eq!(it["reasons"][0], "no metric has data");
    let it = one(json!({ "canary": nothing, "mustHaveData": true }));
    assert_eq!((&it["verdict"], &it["score"]), (&json!("fail"), &json!(0.0)));
    let few = one(json!({ "canary": [1, 2, 3], "baseline": [1, 2, 4] }));
    assert_eq!((&few["verdict"], &few["metrics"][0]["tooFew"]), (&json!("inconclusive"), &json!(true)));
    assert_eq!(one(json!({ "canary": [1, 2, 3], "baseline": [1, 2, 4], "minPoints": 3 }))["verdict"], "pass");
    let endless = one(json!({ "canary": [1e200] }));
    assert_eq!((&endless["verdict"], &endless["metrics"][0]["class"]), (&json!("inconclusive"), &json!("error")));
}

#[test]
fn missing_points_and_outliers_go_as_the_metric_says() {
    let mut holes = vec![json!(null); 10];
    holes.extend(Random(3).series(20, 10.0).into_iter().map(|x| json!(x)));
    let removed = one(json!({ "canary": holes }));
    assert_eq!((&removed["verdict"], &removed["metrics"][0]["n"]["canary"]), (&json!("pass"), &json!(20)));
    let replaced = one(json!({ "canary": holes, "nan": "replace", "direction": "decrease", "tolerance": 0.0 }));
    assert_eq!((&replaced["metrics"][0]["n"]["canary"], &replaced["metrics"][0]["class"]), (&json!(30), &json!("low")));
    let mut spike = Random(3).series(30, 10.0);
    spike[4] = 9e6;
    let kept = one(json!({ "canary": spike }));
    let left_out = one(json!({ "canary": spike, "outliers": "remove" }));
    assert_eq!([&kept["metrics"][0]["n"]["canary"], &left_out["metrics"][0]["n"]["canary"]], [&json!(30), &json!(29)]);
}

#[test]
fn both_names_of_an_effect_mean_the_same() {
    for (one_name, other) in [("meanRatio", "ratioOfMeans"), ("cles", "commonLanguage")] {
        let of = |field: &str, name: &str| one(json!({ field: name, "canary": shifted(), "allowedDecrease": 1.0 }));
        assert_eq!(of("effect", one_name), of("effectSize", other));
    }
    let it = one(json!({ "effect": "cles", "canary": shifted(), "allowedIncrease": 1.0, "allowedDecrease": 1.0 }));
    assert_eq!((&it["metrics"][0]["effect"], &it["verdict"]), (&json!(1.0), &json!("fail")));
}

#[test]
fn bad_metrics_are_refused_with_their_place() {
    let with = |more: Value| json!({ "metrics": [metric(json!({ "name": "first" })), metric(more)] }).to_string();
    let beside = |field: &str, value: Value| {
        let mut recording = json!({ "metrics": [metric(json!({}))] });
        recording[field] = value;
        recording.to_string()
    };
    for (input, told) in [
        (with(json!({ "direction": "up" })), "metrics[1].direction: unknown variant `up`, expected one of `increase`"),
        (with(json!({ "direction": "increse" })), "did you mean \"increase\"?"),
        (with(json!({ "effect": "median" })), "metrics[1].effect: unknown variant `median`"),
        (with(json!({ "nan": "zero" })), "metrics[1].nan: unknown variant"),
        (with(json!({ "outliers": "drop" })), "metrics[1].outliers: unknown variant"),
        (
            with(json!({ "canary": [1, "x"] })),
            "metrics[1].canary[1]: invalid type: string \"x\", expected a number, or null",
        ),
        (with(json!({ "canary": 7 })), "metrics[1].canary: invalid type"),
        (with(json!({ "confidense": 0.9 })), "did you mean \"confidence\"?"),
        (
            with(json!({ "confidence": 1.0 })),
            "metrics[1]: confidence of metric \"latency\" must be above 0 and below 1",
        ),
        (with(json!({ "tolerance": -1 })), "tolerance of metric \"latency\""),
        (with(json!({ "allowedIncrease": 0.5 })), "allowedIncrease of metric \"latency\" must be at least 1"),
        (with(json!({ "minPoints": 0 })), "minPoints of metric \"latency\""),
        (with(json!({ "name": "first" })), "two metrics are called \"first\""),
        (with(json!({ "name": "" })), "name of metric \"\" must not be empty"),
        (beside("groups", json!({ "latencies": 50 })), "no metric is in that group (did you mean \"latency\"?)"),
        (beside("groups", json!({ "latency": 101 })), "the weight of group \"latency\" must be 0 to 100"),
        (beside("groups", json!({ "latency": -1 })), "the weight of group \"latency\" must be 0 to 100"),
        (beside("pass", json!(60)), "marks must be 0 <= marginal <= pass <= 100, not marginal 75, pass 60"),
        (beside("alpha", json!(0.01)), "alpha says nothing about metrics"),
        (json!({ "metrics": [] }).to_string(), "metrics is empty"),
        (json!({ "metrics": [{ "name": "a", "canary": [] }] }).to_string(), "metrics[0]: missing field `baseline`"),
        (
            json!({ "metrics": [metric(json!({ "group": "a" })), metric(json!({ "name": "b", "group": "b" }))],
                    "groups": { "a": 60, "b": 60 } })
            .to_string(),
            "the weights of groups add up to 120",
        ),
        (r#"{"metrics":[{"name":"a","canary":[1,NaN],"baseline":[1]}]}"#.to_owned(), "write null for a missing point"),
        (
            r#"{"metrics":[{"name":"a","canary":[-Infinity],"baseline":[1]}]}"#.to_owned(),
            "JSON has no infinite numbers",
        ),
        (r#"{"metrics":[{"name":"a","canary":[1e999],"baseline":[1]}]}"#.to_owned(), "number out of range"),
    ] {
        let message = refused(&input);
        assert!(message.contains(told), "{input}\n{message}");
    }
}

#[test]
fn long_series_are_judged_at_once() {
    let mut random = Random(1);
    let it = one(json!({ "canary": random.series(10_000, 1.0), "baseline": random.series(10_000, 1.0) }));
    assert_eq!(it["metrics"][0]["n"]["canary"], 10_000);
}
