//! A shop behind one Envoy: a service for each host, some of them in the middle of a rollout.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Listener, Wasm, cluster};
use sluicegate_tests::lab::WEB;
use sluicegate_tests::pods::{Pods, ROLES};
use sluicegate_tests::steady::Steady;
use sluicegate_tests::upstream::{Habits, SUBSET_HEADER, Upstreams};
use sluicegate_tests::{paths, poll};

/// Who is asked for, in turn.
const ASKED: [&str; 10] = [
    "checkout",
    "search",
    "checkout",
    "payments",
    "checkout",
    "recommendations",
    "checkout",
    "search",
    "checkout",
    "www",
];
/// Requests per second.
const RATE: f64 = 800.0;
/// Until every service is where the pictures want it.
const PATIENCE: Duration = Duration::from_mins(3);
/// Requests of the canary of checkout at the step of the picture: enough that its range is small.
const EVIDENCE: u64 = 1_500;
/// What the versions of checkout have in common.
const HABITS: &str = "--errors 0.3% --slow 2% --delay 150ms";

/// See the module. Of the fields, those below are needed by those above.
pub(crate) struct Shop {
    pub(crate) controller: Controller,
    _load: Steady,
    _envoy: Envoy,
    _services: [Upstreams; 2],
    _pods: Pods,
}

impl Shop {
    /// Starts it, and waits until one rollout was promoted, one was rolled back, one waits for a person, and one has evidence.
    pub(crate) fn open() -> Result<Self> {
        let pods = Pods::start_as("v41", HABITS, 6)?;
        pods.add_version("v42", HABITS)?;
        let controller = Controller::start_with(&[], &["--report-interval", "500ms"])?;
        let mut documents = splits();
        documents.extend(["checkout", "search", "payments", "recommendations"].map(|name| rollout(name, false, &pods)));
        for (name, yaml) in &documents {
            controller.write(name, yaml)?;
        }
        let services = [
            Upstreams::start(&["shop"])?,
            Upstreams::start_with(&["search-canary"], Habits { errors: 0.1, ..Habits::default() })?,
        ];
        let envoy = envoy(&controller, &pods, &services)?;
        let write = |number: u64, out: &mut Vec<u8>| {
            let host = ASKED[number as usize % ASKED.len()];
            out.extend_from_slice(format!("GET / HTTP/1.1\r\nhost: {host}.example.com\r\n\r\n").as_bytes());
        };
        let load = Steady::start_with(envoy.listener(WEB)?, RATE, Box::new(write))?;
        let shop = Self { controller, _load: load, _envoy: envoy, _services: services, _pods: pods };
        shop.until(|_, rollout| rollout["phase"] == "Idle" && rollout["acked"] == 1)?;
        for name in ["recommendations", "search", "payments", "checkout"] {
            let (file, yaml) = rollout(name, true, &shop._pods);
            shop.controller.write(&file, &yaml)?;
        }
        shop.until(|name, rollout| match name {
            "recommendations" => rollout["phase"] == "Promoted",
            "search" => rollout["phase"] == "RolledBack",
            "payments" => rollout["waits"].as_str().is_some_and(|waits| waits.contains("a person")),
            _ => {
                let seen = rollout["evidence"]["criteria"][0]["canary"]["step"]["requests"].as_u64();
                rollout["step"] == 3 && rollout["phase"] == "Hold" && seen.is_some_and(|seen| seen >= EVIDENCE)
            }
        })?;
        // Somebody mistypes a field of a split that is in force.
        let images =
            split_yaml("images", &[("v1", 75), ("v2", 25)], &host("images")).replace("weight: 25", "wieght: 25");
        shop.controller.write("images.yaml", &images)?;
        poll::until("the problem", PATIENCE, || match shop.controller.json("/v1/splits")?["problems"].as_array() {
            Some(problems) if !problems.is_empty() => Ok(()),
            other => Err(anyhow!("{other:?}")),
        })?;
        Ok(shop)
    }

    /// Waits until all rollouts are so, each by its name.
    fn until(&self, so: impl Fn(&str, &Value) -> bool) -> Result<()> {
        poll::until("the rollouts", PATIENCE, || {
            let rollouts = self.controller.json("/v1/rollouts")?["rollouts"].take();
            let all = rollouts.as_array().map(Vec::as_slice).unwrap_or_default();
            let name = |rollout: &Value| rollout["name"].as_str().unwrap_or_default().replace("default/", "");
            let late = all.iter().find(|rollout| !so(&name(rollout), rollout));
            match late {
                None if all.len() == 4 => Ok(()),
                late => Err(anyhow!("{} rollouts; {late:?}", all.len())),
            }
        })
    }
}

/// File and YAML of each.
fn splits() -> Vec<(String, String)> {
    let rolled = ["checkout", "search", "payments", "recommendations"].map(|name| {
        let split = split_yaml(name, &[("canary", 0), ("main", 100), ("baseline", 0)], &host(name));
        (name, split.replace("default: canary", "default: main"))
    });
    let plain = [
        ("frontend", split_yaml("frontend", &[("v7", 90), ("v8", 10)], &host("www"))),
        ("images", split_yaml("images", &[("v1", 75), ("v2", 25)], &host("images"))),
        ("inventory", split_yaml("inventory", &[("blue", 100), ("green", 0)], &host("inventory"))),
    ];
    rolled.into_iter().chain(plain).map(|(name, yaml)| (format!("{name}.yaml"), yaml)).collect()
}

fn host(name: &str) -> String {
    format!("hosts: [{name}.example.com]")
}

/// File and YAML of the rollout of a service; `wanted`: of the version that is to come.
fn rollout(name: &str, wanted: bool, pods: &Pods) -> (String, String) {
    let (versions, spec) = match name {
        "checkout" => (
            ["v41", "v42"],
            format!(
                "steps: [5, 10, {{ weight: 25, hold: 15m }}, 50]\n  \
                 judge: {{ errors: {{}}, latency: {{ slowerThan: 100ms }}, minRequests: 50 }}\n  \
                 workloads: {{ command: {} }}",
                pods.command()
            ),
        ),
        "search" => (["v12", "v13"], "steps: [5, 25, 50]\n  judge: { errors: {}, minRequests: 30 }".to_owned()),
        "payments" => (["v8", "v9"], "steps: [{ weight: 10, judge: manual }, 50]\n  judge: { errors: {} }".to_owned()),
        _ => (["v3", "v4"], "steps: [20, 50]\n  judge: { errors: {}, minRequests: 20 }\n  watch: 0s".to_owned()),
    };
    let yaml = format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: CanaryDeploy\nmetadata: {{ name: {name} }}\nspec:\n  \
         version: {}\n  splits: [{name}]\n  hold: 2s\n  {spec}\n",
        versions[usize::from(wanted)]
    );
    (format!("{name}-rollout.yaml"), yaml)
}

fn envoy(controller: &Controller, pods: &Pods, [shop, search]: &[Upstreams; 2]) -> Result<Envoy> {
    let header = |name: &str, value: &str| json!({ "name": name, "string_match": { "exact": value } });
    let route = |host: &str, subset: Option<&str>, to: &str| {
        let mut headers = vec![header(":authority", &format!("{host}.example.com"))];
        headers.extend(subset.map(|subset| header(SUBSET_HEADER, subset)));
        json!({ "match": { "prefix": "/", "headers": headers }, "route": { "cluster": to } })
    };
    let config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "hosts": true });
    let mut listener = Listener::new(WEB, "shop").filter(Wasm::new(&paths::wasm("sluicegate.wasm")?, config).filter());
    listener.routes = Some(vec![
        route("checkout", Some("canary"), "canary"),
        route("checkout", Some("baseline"), "baseline"),
        route("checkout", None, "main"),
        route("search", Some("canary"), "search-canary"),
        json!({ "match": { "prefix": "/" }, "route": { "cluster": "shop" } }),
    ]);
    let mut clusters: Vec<Value> = ROLES.iter().map(|role| pods.cluster(role)).collect();
    clusters.push(cluster("shop", &shop.addrs("shop")));
    clusters.push(cluster("search-canary", &search.addrs("search-canary")));
    clusters.push(cluster(CONTROLLER_CLUSTER, &[controller.proxy]));
    let mut options = Options::new(vec![listener], clusters).workers(2);
    options.extra = json!({ "node": { "id": "gateway-1", "cluster": "shop" } });
    Envoy::start(options)
}
