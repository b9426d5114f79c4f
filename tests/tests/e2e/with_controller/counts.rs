//! What the controller says was answered is what the client saw.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::controller::Controller;
use sluicegate_tests::http1;
use sluicegate_tests::lab::{self, PODS, WEB};
use sluicegate_tests::load::{Limits, Load, Tally};
use sluicegate_tests::upstream::Upstreams;

use super::{FAST, controller, envoy, gate, set, settled, split, until};

/// Requests by subset.
fn requests(split: &Value) -> BTreeMap<String, u64> {
    let all = split["subsets"].as_array().into_iter().flatten();
    all.filter_map(|s| Some((s["name"].as_str()?.to_owned(), s["counts"]["requests"].as_u64()?))).collect()
}

/// Waits until the controller has counted exactly this.
fn counted(controller: &Controller, sent: &BTreeMap<String, u64>) -> Result<Value> {
    until(controller, &format!("counts of {sent:?}"), |split| requests(split) == *sent)
}

/// Sends so many requests with this query, and adds what was answered by which pod.
fn send(to: SocketAddr, count: u64, query: &str, sums: &mut BTreeMap<String, u64>) -> Result<Tally> {
    let request = format!("GET /{query} HTTP/1.1\r\nhost: test\r\n\r\n").into_bytes();
    let write = move |_: u64, out: &mut Vec<u8>| out.extend_from_slice(&request);
    Load::with(to, 8, Box::new(write))?.run_with(&Limits::count(count), |answer| {
        let pod = http1::header(answer.head, "x-pod").unwrap_or_default();
        *sums.entry(String::from_utf8_lossy(pod).into_owned()).or_default() += 1;
    })
}

fn nothing() -> BTreeMap<String, u64> {
    BTreeMap::from([("v1".to_owned(), 0), ("v2".to_owned(), 0)])
}

#[test]
fn describe_tells_what_the_client_saw() -> Result<()> {
    // Equal weights: nothing is sampled, so everything is exact.
    let (controller, lab) = gate(2, 1, 1)?;
    let (mut sent, mut failed, mut slow) = (nothing(), nothing(), nothing());
    let mut seen = send(lab.web()?, 600, "?delay_ms=20", &mut sent)?;
    seen.merge(&send(lab.web()?, 100, "?status=503&delay_ms=20", &mut failed)?);
    seen.merge(&send(lab.web()?, 40, "?delay_ms=300", &mut slow)?);
    // What Envoy measures is less than what the client does; a tenth for the width of a bucket.
    let most = |q: f64| seen.latencies.quantile(q).as_secs_f64() * 1e3 * 1.1;
    let total = |pod: &str| sent[pod] + failed[pod] + slow[pod];
    let all = ["v1", "v2"].map(|pod| (pod.to_owned(), total(pod))).into();
    counted(&controller, &all)?;
    // A request is counted when it starts, its outcome when it ends.
    let split = until(&controller, "the outcomes", |split| {
        let all = split["subsets"].as_array().into_iter().flatten();
        let outcomes = all.filter_map(|subset| subset["counts"]["outcomes"].as_object());
        outcomes.flat_map(|outcomes| outcomes.values()).filter_map(Value::as_u64).sum::<u64>() == 740
    })?;
    for subset in split["subsets"].as_array().into_iter().flatten() {
        let (pod, counts) = (subset["name"].as_str().unwrap_or_default(), &subset["counts"]);
        let number = |field: &str| counts[field].as_f64().unwrap_or(-1.0);
        ensure!(counts["outcomes"]["2xx"] == sent[pod] + slow[pod], "{pod}: {counts}");
        ensure!(counts["outcomes"]["5xx"] == failed[pod], "{pod}: {counts}");
        let errors = failed[pod] as f64 / total(pod) as f64;
        ensure!((number("errors") - errors).abs() < 1e-9, "{pod}: errors {errors}, not {counts}");
        // All of it was sent within the window.
        let rate = total(pod) as f64 / number("windowSeconds").max(1.0);
        ensure!((number("rate") / rate - 1.0).abs() < 1e-6, "{pod}: rate {rate}, not {counts}");
        ensure!((18.0..most(0.9)).contains(&number("p50Ms")), "{pod}: {counts}");
        ensure!((270.0..most(1.0)).contains(&number("p99Ms")), "{pod}: {counts}");
    }
    let described = controller.cli(&["describe", "backend"])?;
    ensure!(
        described.lines().any(|line| line.starts_with("v2 ") && line.contains(&total("v2").to_string())),
        "{described}"
    );
    Ok(())
}

#[test]
fn a_large_subset_is_counted_whole_and_its_outcomes_by_samples() -> Result<()> {
    let (controller, lab) = gate(2, 95, 5)?;
    let mut sent = nothing();
    send(lab.web()?, 4_000, "", &mut sent)?;
    let split = counted(&controller, &sent)?;
    let (v1, v2) = (&split["subsets"][0]["counts"], &split["subsets"][1]["counts"]);
    ensure!(v2["observed"]["2xx"] == sent["v2"], "the small one is observed whole: {v2}");
    let observed = v1["observed"]["2xx"].as_u64().unwrap_or(0);
    ensure!((1..sent["v1"] / 4).contains(&observed), "the large one is sampled: {v1}");
    let scaled = v1["outcomes"]["2xx"].as_u64().unwrap_or(0);
    ensure!(scaled.abs_diff(sent["v1"]) < sent["v1"] / 20, "{v1}");
    Ok(())
}

#[test]
fn a_restarted_controller_has_all_counts_and_no_inflated_rates() -> Result<()> {
    let (mut controller, lab) = gate(2, 1, 1)?;
    let mut sent = nothing();
    send(lab.web()?, 3_000, "", &mut sent)?;
    // Of another sampling rate, so of series that do not change any more after the restart.
    set(&controller, 9, 1)?;
    send(lab.web()?, 1_000, "", &mut sent)?;
    set(&controller, 1, 1)?;
    counted(&controller, &sent)?;
    controller.kill();
    controller.restart_with(&FAST)?;
    settled(&controller, 1)?;
    let mut recent = nothing();
    send(lab.web()?, 100, "", &mut recent)?;
    recent.iter().for_each(|(pod, count)| *sent.entry(pod.clone()).or_default() += count);
    let split = counted(&controller, &sent)?;
    let counts = &split["subsets"][1]["counts"];
    let window = counts["rate"].as_f64().unwrap_or(1e9) * counts["windowSeconds"].as_f64().unwrap_or(1e9).max(1.0);
    ensure!(window <= recent["v2"] as f64 + 0.5, "{window} requests in the last minute, sent {recent:?}: {counts}");
    Ok(())
}

#[test]
fn two_envoys_and_a_restarted_one_add_up() -> Result<()> {
    let controller = controller(1, 1)?;
    let pods = Upstreams::start(&PODS)?;
    let plugin = lab::plugin(json!({}))?;
    let one = envoy("gate-one", &pods, controller.proxy, &plugin)?;
    let two = envoy("gate-two", &pods, controller.proxy, &plugin)?;
    settled(&controller, 2)?;
    let mut sent = nothing();
    send(one.listener(WEB)?, 500, "", &mut sent)?;
    send(two.listener(WEB)?, 300, "", &mut sent)?;
    counted(&controller, &sent)?;
    drop(one);
    let one = envoy("gate-one", &pods, controller.proxy, &plugin)?;
    until(&controller, "the new process", |split| split["proxies"].as_array().is_some_and(|all| all.len() == 3))?;
    // Fewer than the first process had counted: these must not be taken for a part of those.
    send(one.listener(WEB)?, 200, "", &mut sent)?;
    counted(&controller, &sent)?;
    ensure!(requests(&split(&controller)?).values().sum::<u64>() == 1_000);
    Ok(())
}
