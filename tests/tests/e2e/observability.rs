//! `examples/observability`: the dashboard and the alerts on a real Prometheus that scrapes a real controller, and what Argo
//! CD says of real objects.

mod argocd;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::prometheus::Prometheus;
use sluicegate_tests::rollout_lab::RolloutLab;
use sluicegate_tests::{client, paths, poll};

const LONG: Duration = Duration::from_secs(60);

/// Panels that are empty as long as nothing is wrong, and those of what has not ended yet.
const MAY_BE_EMPTY: [&str; 1] = ["sluicegate_rollouts_ended_total"];

fn example(name: &str) -> Result<String> {
    let path = paths::repo().join("examples/observability").join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn dashboard() -> Result<Value> {
    Ok(serde_json::from_str(&example("grafana-dashboard.json")?)?)
}

/// The alerts as a file of rules: what is below `spec` of the PrometheusRule.
fn rules() -> Result<String> {
    let all = example("alerts.yaml")?;
    let (_, spec) = all.split_once("\nspec:\n").context("alerts.yaml has no spec")?;
    Ok(spec.lines().map(|line| format!("{}\n", line.strip_prefix("  ").unwrap_or(line))).collect())
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The queries of the dashboard as Grafana would ask them with everything selected.
fn queries(dashboard: &Value) -> BTreeSet<String> {
    let all = items(&dashboard["panels"]).flat_map(|panel| items(&panel["targets"]));
    let variables = [("$__rate_interval", "5s"), ("$split", ".*"), ("$rollout", ".*")];
    let filled = |query: String| variables.iter().fold(query, |query, (name, value)| query.replace(name, value));
    all.map(|target| filled(text(&target["expr"]))).collect()
}

/// Each metric of ours in a query, with the labels that are asked of it.
fn selectors(query: &str) -> Vec<(String, Vec<String>)> {
    let word = |text: &str| -> String {
        text.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect()
    };
    let places = query.match_indices("sluicegate_").map(|(at, _)| &query[at..]);
    let selector = |rest: &str| {
        let name = word(rest);
        let labels = rest[name.len()..].strip_prefix('{').and_then(|labels| labels.split_once('}'));
        let labels = labels.map_or("", |(labels, _)| labels).split(',').map(|one| word(one.trim()));
        (name, labels.filter(|label| !label.is_empty()).collect())
    };
    places.map(selector).collect()
}

/// The labels that a query groups and joins by.
fn grouped(query: &str) -> Vec<String> {
    let lists = ["by (", "on ("].into_iter().flat_map(|word| query.split(word).skip(1));
    let labels = lists.flat_map(|rest| rest.split(')').next().unwrap_or_default().split(','));
    labels.map(|label| label.trim().to_owned()).collect()
}

/// Every metric and label of the queries is on `/metrics`, and has the labels that a scrape adds.
fn names_exist(metrics: &str, queries: &BTreeSet<String>) -> Result<()> {
    // `namespace` comes from the ServiceMonitor.
    let scraped = ["instance", "job", "namespace"];
    for query in queries {
        let asked = selectors(query);
        ensure!(!asked.is_empty() || query.starts_with("up "), "nothing of ours in {query}");
        let mut known: BTreeSet<String> = scraped.map(str::to_owned).into();
        for (name, labels) in asked {
            let lines: Vec<_> =
                metrics.lines().filter(|line| selectors(line).iter().any(|(of, _)| *of == name)).collect();
            let samples: Vec<_> =
                lines.iter().filter(|line| !line.starts_with('#')).flat_map(|l| selectors(l)).collect();
            if !MAY_BE_EMPTY.contains(&name.as_str()) {
                ensure!(!samples.is_empty(), "{name} of {query} is not on /metrics");
            }
            for label in labels {
                let has = samples.iter().all(|(_, labels)| labels.contains(&label));
                ensure!(has, "{name} of {query} has no label {label}: {samples:?}");
            }
            known.extend(samples.into_iter().flat_map(|(_, labels)| labels));
        }
        if !MAY_BE_EMPTY.iter().any(|name| query.contains(name)) {
            let unknown: Vec<_> = grouped(query).into_iter().filter(|label| !known.contains(label)).collect();
            ensure!(unknown.is_empty(), "{query} groups by {unknown:?}, which no metric in it has");
        }
    }
    Ok(())
}

/// The state of each alert: inactive, pending or firing.
fn alerts(prometheus: &Prometheus) -> Result<Vec<(String, String)>> {
    let rules = prometheus.api("/rules")?;
    let all: Vec<_> = items(&rules["groups"]).flat_map(|group| items(&group["rules"])).collect();
    for rule in &all {
        ensure!(rule["health"] == "ok" || rule["health"] == "unknown", "{rule}");
    }
    Ok(all.into_iter().map(|rule| (text(&rule["name"]), text(&rule["state"]))).collect())
}

fn until_raised(prometheus: &Prometheus, wanted: &[&str]) -> Result<()> {
    poll::until(&format!("{wanted:?}"), LONG, || {
        let all = alerts(prometheus).map_err(|why| format!("{why:#}"))?;
        let raised = |name: &str| all.iter().any(|(of, state)| of == name && state != "inactive");
        if wanted.iter().all(|name| raised(name)) { Ok(()) } else { Err(format!("{all:?}")) }
    })
}

#[test]
fn every_query_of_the_dashboard_and_the_alerts_is_answered_by_a_real_controller() -> Result<()> {
    let mut lab = RolloutLab::start(3)?;
    lab.pods.add_version("v2", "")?;
    let target = [lab.controller.admin];
    let rules = rules()?;
    let prometheus = Prometheus::start_with(&target, "/metrics", Duration::from_millis(500), Some(&rules))?;
    // Evidence that is never enough: the step is held, and after a second it is overdue.
    let spec = |version: &str| {
        format!(
            "  version: {version}\n  steps: [10, 50]\n  hold: 1s\n  judge: {{ errors: {{}}, minRequests: 100000000 }}\n"
        )
    };
    lab.write("CanaryDeploy", &spec("v1"))?;
    lab.until_phase("Idle")?;
    let quiet = alerts(&prometheus)?;
    ensure!(quiet.len() > 8, "{quiet:?}");
    let load = lab.load(200.0)?;
    lab.write("CanaryDeploy", &spec("v2"))?;
    lab.until("the step to be overdue", |rollout| rollout["overdue"] == "Inconclusive")?;
    lab.controller.write(
        "refused.yaml",
        "apiVersion: sluicegate.dev/v1alpha1\nkind: TrafficSplit\nmetadata: { name: x }\nspec: {}\n",
    )?;

    let queries = queries(&dashboard()?);
    ensure!(queries.len() > 30, "{queries:?}");
    for query in &queries {
        poll::until(query, LONG, || match prometheus.query(query) {
            Ok(series) if series.is_empty() && !MAY_BE_EMPTY.iter().any(|name| query.contains(name)) => {
                Err("no series".to_owned())
            }
            Ok(_) => Ok(Ok(())),
            // An expression that is wrong stays so.
            Err(why) => Ok(Err(why)),
        })??;
    }
    let metrics = client::get(lab.controller.admin, "/metrics")?.text();
    names_exist(&metrics, &queries)?;
    let of_alerts = prometheus.api("/rules")?;
    let of_alerts = items(&of_alerts["groups"]).flat_map(|group| items(&group["rules"]));
    names_exist(&metrics, &of_alerts.map(|rule| text(&rule["query"])).collect())?;
    until_raised(&prometheus, &["SluicegateRolloutStalled", "SluicegateSplitRefused", "SluicegateDocumentRefused"])?;
    let calm = alerts(&prometheus)?;
    let loud = |name: &str| calm.iter().any(|(of, state)| of == name && state != "inactive");
    for name in ["SluicegateControllerDown", "SluicegateNoLeader", "SluicegateProxiesNotAcked"] {
        ensure!(!loud(name), "{name}: {calm:?}");
    }
    load.stop()?;
    lab.controller.stop()?;
    until_raised(&prometheus, &["SluicegateControllerDown", "SluicegateReplicaDown"])
}

#[test]
fn alerts_wait_before_they_fire_and_say_what_it_is_about() -> Result<()> {
    let dir = paths::scratch("rules")?;
    fs::write(dir.path().join("rules.yaml"), rules()?)?;
    fs::copy(paths::repo().join("tests/alerts.yaml"), dir.path().join("tests.yaml"))?;
    for args in [["check", "rules", "rules.yaml"], ["test", "rules", "tests.yaml"]] {
        let output = Command::new(paths::promtool()?).current_dir(dir.path()).args(args).output()?;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        ensure!(output.status.success(), "promtool {args:?}: {said}");
    }
    Ok(())
}

#[test]
fn the_dashboard_is_one_that_grafana_takes() -> Result<()> {
    let dashboard = dashboard()?;
    let names: Vec<_> = items(&dashboard["templating"]["list"]).map(|variable| text(&variable["name"])).collect();
    ensure!(names == ["datasource", "split", "rollout"], "{names:?}");
    let (mut ids, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for panel in items(&dashboard["panels"]) {
        ensure!(ids.insert(panel["id"].as_u64()), "two panels have the id {}", panel["id"]);
        let of = |side: &str| panel["gridPos"][side].as_u64().with_context(|| format!("no {side}: {panel}"));
        let (x, y, w, h) = (of("x")?, of("y")?, of("w")?, of("h")?);
        ensure!(x + w <= 24, "{} is wider than the page", panel["title"]);
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            ensure!(taken.insert(place), "{} lies on another panel at {place:?}", panel["title"]);
        }
        if panel["type"] == "row" {
            continue;
        }
        let mut references = BTreeSet::new();
        for target in items(&panel["targets"]) {
            ensure!(references.insert(text(&target["refId"])), "{target}");
            for source in [&panel["datasource"], &target["datasource"]] {
                ensure!(source["uid"] == "${datasource}" && source["type"] == "prometheus", "{source}");
            }
        }
        ensure!(!references.is_empty(), "{} asks nothing", panel["title"]);
    }
    Ok(())
}
