//! Splits that no rollout leads, from `kubectl` to the pods.

use anyhow::{Result, ensure};
use serde_json::Value;
use sluicegate_tests::gateways::{Gateways, PATIENCE, Site, by_workload};
use sluicegate_tests::poll;
use sluicegate_tests::steady::Seen;

/// A split with these weights, and main by default.
pub(crate) fn split<const N: usize>(name: &str, weights: [(&str, u32); N]) -> String {
    let subsets = weights.map(|(subset, weight)| format!("{{ name: {subset}, weight: {weight} }}")).join(", ");
    format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: TrafficSplit\nmetadata: {{ name: {name} }}\nspec:\n  \
         subsets: [{subsets}]\n  default: main\n"
    )
}

/// Gives the canary so many of a hundred requests, and main the others; waits until that many proxies have acked it.
pub(crate) fn give(gateways: &Gateways, name: &str, canary: u32, proxies: u32) -> Result<()> {
    gateways.apply(&split(name, [("canary", canary), ("main", 100 - canary), ("baseline", 0)]))?;
    await_ack(gateways, name, proxies)
}

/// Waits until all of so many proxies have acked what was applied last.
pub(crate) fn await_ack(gateways: &Gateways, name: &str, proxies: u32) -> Result<()> {
    let path = format!("/apis/sluicegate.dev/v1alpha1/namespaces/default/trafficsplits/{name}");
    let all = format!("{proxies}/{proxies}");
    let acked = |o: &Value| {
        let told = o["status"]["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Propagated");
        let newest =
            told.is_some_and(|one| one["status"] == "True" && one["observedGeneration"] == o["metadata"]["generation"]);
        newest && o["status"]["acked"] == all.as_str()
    };
    gateways.until(&format!("the ack of {name}"), &path, acked).map(drop)
}

/// Fails unless the canary gets its part of a thousand requests, to one or two per decider: an even split is exact in each worker of an
/// Envoy. Nothing else may be sent meanwhile.
pub(crate) fn expect(site: &Site, canary: u32, header_lines: &str) -> Result<()> {
    within(site, canary, header_lines, 4)
}

/// The same while other requests are sent, which are a part of what is even.
pub(crate) fn expect_beside_load(site: &Site, canary: u32) -> Result<()> {
    within(site, canary, "", 60)
}

/// Waits until it is so: Envoy Gateway says of a policy what it made of it, and not when Envoy has it.
pub(crate) fn await_beside_load(site: &Site, canary: u32) -> Result<()> {
    let what = format!("{canary} % of {} to go to the canary", site.host);
    poll::until(&what, PATIENCE, || expect_beside_load(site, canary).map_err(|why| format!("{why:#}")))
}

/// Fails unless canary and baseline of `hello-app` were among those who answered.
pub(crate) fn each_had_requests(seen: &Seen) -> Result<()> {
    for role in ["canary", "baseline"] {
        let pods = format!("hello-app-{role}-");
        ensure!(seen.all().iter().any(|one| one.pod.starts_with(&pods)), "{role} never got a request");
    }
    Ok(())
}

fn within(site: &Site, canary: u32, header_lines: &str, slack: u64) -> Result<()> {
    let tally = site.ask(1000, header_lines)?;
    let counts = by_workload(&tally);
    let seen: u64 = counts.iter().filter(|(name, _)| name.ends_with("-canary")).map(|(_, number)| number).sum();
    let slack = if canary.is_multiple_of(100) { 0 } else { slack };
    let fair = tally.failures() == 0 && tally.answers() == 1000 && seen.abs_diff(u64::from(canary) * 10) <= slack;
    ensure!(fair, "{canary} % were wanted ({header_lines:?}): {counts:?}, statuses {:?}", tally.statuses);
    Ok(())
}
