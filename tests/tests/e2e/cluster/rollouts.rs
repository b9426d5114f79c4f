//! Whole rollouts on real Deployments, with a real Envoy in front of upstreams that stand for the pods.

use super::{World, condition};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::controller::split_yaml;
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Listener, Wasm, cluster};
use sluicegate_tests::kube::stub::Health;
use sluicegate_tests::kube::{Cluster, PATIENCE, Part};
use sluicegate_tests::lab::WEB;
use sluicegate_tests::paths;
use sluicegate_tests::poll;
use sluicegate_tests::steady::Steady;
use sluicegate_tests::upstream::Upstreams;
use std::sync::Arc;
use std::time::Duration;

const PODS: [&str; 3] = ["canary", "main", "baseline"];

pub(super) fn deployment(image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: hello }}\nspec:\n  replicas: {replicas}\n  \
         selector: {{ matchLabels: {{ app: hello, sluicegate.dev/role: main }} }}\n  template:\n    \
         metadata: {{ labels: {{ app: hello, sluicegate.dev/role: main }} }}\n    \
         spec: {{ containers: [{{ name: app, image: \"{image}\" }}] }}\n"
    )
}

pub(super) fn deploy(image: &str, more: &str) -> String {
    format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: CanaryDeploy\nmetadata: {{ name: hello }}\nspec:\n  \
         workload: hello\n  images: {{ app: \"{image}\" }}\n  splits: [hello]\n  steps: [10, 50]\n  hold: 1s\n  \
         judge: {{ errors: {{}}, minRequests: 20 }}\n{more}"
    )
}

pub(super) struct Stage {
    pub(super) world: World,
    envoy: Envoy,
    _pods: Upstreams,
}

impl Stage {
    /// main at v1 with this many pods, and a rollout of v1 that has nothing to do.
    pub(super) fn new(prefix: &str, replicas: u32, more: &str) -> Result<Self> {
        Self::in_world(World::new(prefix)?, replicas, more)
    }

    pub(super) fn in_world(world: World, replicas: u32, more: &str) -> Result<Self> {
        let documents = format!("{}---\n{}", deployment("hello:v1", replicas), deploy("hello:v1", more));
        let stage = Self::of(world, &documents)?;
        stage.until("Idle")?;
        Ok(stage)
    }

    /// The split `hello` and these documents.
    pub(super) fn of(world: World, documents: &str) -> Result<Self> {
        let split = split_yaml("hello", &[("canary", 0), ("main", 100), ("baseline", 0)], "");
        world.apply(&split.replace("default: canary", "default: main"))?;
        world.apply(documents)?;
        let pods = Upstreams::start(&PODS)?;
        let split = format!("{}/hello", world.namespace);
        let config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "split": split });
        let wasm = Wasm::new(&paths::wasm("sluicegate.wasm")?, config);
        let listener = Listener::new(WEB, "main").subset("canary", "canary").subset("baseline", "baseline");
        let mut clusters: Vec<Value> = PODS.iter().map(|pod| cluster(pod, &pods.addrs(pod))).collect();
        clusters.push(cluster(CONTROLLER_CLUSTER, &[world.controller.proxy]));
        let envoy = Envoy::start(Options::new(vec![listener.filter(wasm.filter())], clusters).workers(2))?;
        Ok(Self { world, envoy, _pods: pods })
    }

    pub(super) fn until(&self, phase: &str) -> Result<Value> {
        self.until_with(phase, |_| true)
    }

    pub(super) fn until_with(&self, phase: &str, more: impl Fn(&Value) -> bool) -> Result<Value> {
        let says = |o: &Value| o["status"]["phase"] == phase && more(o);
        self.world.until(&format!("the rollout to be {phase}"), "canarydeploys", "hello", says)
    }

    pub(super) fn begin(&self, more: &str) -> Result<()> {
        self.world.apply(&deploy("hello:v2", more))
    }

    pub(super) fn load(&self) -> Result<Steady> {
        Steady::start(self.envoy.listener(WEB)?, 400.0)
    }

    /// Replicas and image of a Deployment.
    pub(super) fn seen(&self, name: &str) -> Result<(u64, String)> {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments/{name}", self.world.namespace);
        let found = self.world.cluster.api().get(&path)?;
        let image = found["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        Ok((found["spec"]["replicas"].as_u64().unwrap_or(0), image.to_owned()))
    }

    pub(super) fn say(&self, verb: &str) -> Result<()> {
        let name = format!("{}/hello", self.world.namespace);
        self.world.controller.cli(&[verb, &name, "--by", "ada"]).map(drop)
    }
}

pub(super) const MANUAL: &str = "  deadline: 60s\n";

pub(super) fn manual(yaml: &str) -> String {
    yaml.replace("steps: [10, 50]", "steps: [{ weight: 10, judge: manual }, { weight: 50, judge: manual }]")
}

#[test]
fn a_good_version_goes_through_every_step_with_the_pods_of_the_formulas() -> Result<()> {
    let stage = Stage::new("good", 4, MANUAL)?;
    let load = stage.load()?;
    stage.world.apply(&manual(&deploy("hello:v2", MANUAL)))?;
    stage.until_with("Hold", |o| o["status"]["step"] == "1/2")?;
    // R = 4, n = 10: ⌊0.4⌋ + 1, and main is untouched.
    ensure!(stage.seen("hello")? == (4, "hello:v1".into()), "{:?}", stage.seen("hello")?);
    ensure!(stage.seen("hello-canary")? == (1, "hello:v2".into()), "{:?}", stage.seen("hello-canary")?);
    ensure!(stage.seen("hello-baseline")? == (1, "hello:v1".into()), "{:?}", stage.seen("hello-baseline")?);
    stage.say("continue")?;
    stage.until_with("Hold", |o| o["status"]["step"] == "2/2")?;
    // n = 50: ⌊2⌋ + 1; main ⌊4 · 80 %⌋ + 1.
    ensure!(stage.seen("hello")? == (4, "hello:v1".into()), "{:?}", stage.seen("hello")?);
    ensure!(stage.seen("hello-canary")?.0 == 3 && stage.seen("hello-baseline")?.0 == 3);
    stage.say("continue")?;
    let done = stage.until("Promoted")?;
    load.stop_clean()?;
    ensure!(condition(&done, "Promoted")["status"] == "True", "{done}");
    ensure!(stage.seen("hello")? == (4, "hello:v2".into()), "{:?}", stage.seen("hello")?);
    ensure!(stage.seen("hello-canary")?.0 == 0 && stage.seen("hello-baseline")?.0 == 0);
    let judgments = format!("/apis/sluicegate.dev/v1alpha1/namespaces/{}/judgments", stage.world.namespace);
    ensure!(stage.world.cluster.api().list(&judgments)?.0.len() == 2);
    // The user's spec of the split is as it was.
    ensure!(stage.world.object("trafficsplits", "hello")?["spec"]["subsets"][1]["weight"] == 100);
    Ok(())
}

#[test]
fn a_canary_that_crashes_is_rolled_back_and_the_reason_is_told() -> Result<()> {
    let stage = Stage::new("ill", 2, "  deadline: 60s\n")?;
    let image = format!("{}:v2", stage.world.namespace);
    stage.world.cluster.stub().health(&image, Health::CrashLoop)?;
    let short = "  deadline: 8s\n";
    stage.world.apply(&deploy(&image, short))?;
    let says = |o: &Value| o.to_string().contains("CrashLoopBackOff");
    stage.until_with("Scale", says)?;
    let done = stage.until("RolledBack")?;
    ensure!(condition(&done, "RolledBack")["status"] == "True", "{done}");
    ensure!(stage.seen("hello")? == (2, "hello:v1".into()));
    ensure!(stage.seen("hello-canary")?.0 == 0);
    Ok(())
}

#[test]
fn a_rollout_deleted_half_way_is_rolled_back_before_it_goes() -> Result<()> {
    let stage = Stage::new("deleted", 2, MANUAL)?;
    let load = stage.load()?;
    stage.world.apply(&manual(&deploy("hello:v2", MANUAL)))?;
    stage.until_with("Hold", |o| o["status"]["step"] == "1/2")?;
    stage.world.cluster.api().delete(&stage.world.path("canarydeploys", "hello"))?;
    poll::until("the rollout to be gone", PATIENCE, || match stage.world.object("canarydeploys", "hello") {
        Err(_) => Ok(()),
        Ok(object) => Err(object["status"].to_string()),
    })?;
    stage.world.until_weights("hello", &[0, 100, 0])?;
    load.stop_clean()?;
    ensure!(stage.seen("hello")? == (2, "hello:v1".into()));
    // They belong to the rollout, and go with it.
    poll::until("the copies to be gone", PATIENCE, || match stage.seen("hello-canary") {
        Err(_) => Ok(()),
        Ok(seen) => Err(format!("{seen:?}")),
    })
}

#[test]
fn a_controller_killed_again_and_again_completes_the_rollout() -> Result<()> {
    let mut stage = Stage::new("killed", 3, "")?;
    let load = stage.load()?;
    stage.begin("")?;
    for kill in 0..6_u64 {
        let (since, length) = (std::time::Instant::now(), Duration::from_millis(300 + kill * 397 % 1100));
        poll::until("a moment", PATIENCE, || if since.elapsed() > length { Ok(()) } else { Err("not yet") })?;
        stage.world.controller.kill();
        stage.world.controller.restart()?;
    }
    stage.until("Promoted")?;
    load.stop_clean()?;
    ensure!(stage.seen("hello")? == (3, "hello:v2".into()));
    Ok(())
}

#[test]
fn an_api_server_that_is_away_for_longer_than_the_lease_costs_no_request_and_no_step() -> Result<()> {
    // One of its own: the others need theirs.
    let cluster = Arc::new(Cluster::start()?);
    let stage = Stage::in_world(World::on(Arc::clone(&cluster), "away")?, 2, MANUAL)?;
    let load = stage.load()?;
    stage.world.apply(&manual(&deploy("hello:v2", MANUAL)))?;
    stage.until_with("Hold", |o| o["status"]["step"] == "1/2")?;
    cluster.kill(Part::ApiServer);
    let since = std::time::Instant::now();
    poll::until("the lease to run out", PATIENCE, || {
        // The controller goes on telling what is in force.
        let weights = stage.world.controller.json(&format!("/v1/splits/{}/hello", stage.world.namespace));
        let weights = weights.map_err(|why| format!("{why:#}"))?;
        let told = weights["subsets"][0]["weight"] == 10 && weights["acked"] == weights["live"];
        if told && since.elapsed() > Duration::from_secs(17) { Ok(()) } else { Err(weights.to_string()) }
    })?;
    cluster.restart(Part::ApiServer)?;
    // It is not what is tested, and may take minutes to try again.
    cluster.kill(Part::ControllerManager);
    cluster.restart(Part::ControllerManager)?;
    stage.world.until_weights("hello", &[10, 80, 10])?;
    poll::until("the rollout to be led again", PATIENCE, || stage.say("continue").map_err(|why| format!("{why:#}")))?;
    stage.until_with("Hold", |o| o["status"]["step"] == "2/2")?;
    poll::until("the second decision", PATIENCE, || stage.say("continue").map_err(|why| format!("{why:#}")))?;
    stage.until("Promoted")?;
    load.stop_clean().map(drop)
}
