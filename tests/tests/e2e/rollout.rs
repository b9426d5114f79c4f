//! Whole rollouts: the real controller leads a real Envoy from step to step under load. Pods are taken as given.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Listener, Wasm, cluster};
use sluicegate_tests::lab::WEB;
use sluicegate_tests::paths;
use sluicegate_tests::poll;
use sluicegate_tests::steady::{Seen, Steady};
use sluicegate_tests::upstream::Upstreams;

const PODS: [&str; 3] = ["canary", "main", "baseline"];
const RATE: f64 = 800.0;
const WHOLE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) controller: Controller,
    pub(crate) envoy: Envoy,
    _pods: Upstreams,
}

pub(crate) fn deploy(version: &str, more: &str) -> String {
    format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: CanaryDeploy\nmetadata: {{ name: app }}\nspec:\n  version: {version}\n  \
         splits: [app]\n  steps: [10, 25, 50]\n  hold: 1s\n  judge: {{ errors: {{}}, minRequests: 50 }}\n{more}"
    )
}

/// `canary`: what its route does with the path, such as `/?status=503`.
pub(crate) fn world(canary: Option<&str>, more: &str) -> Result<World> {
    world_with(canary, more, |files, args| Controller::start_with(files, args))
}

/// The same with a controller that is started in another way.
pub(crate) fn world_with(
    canary: Option<&str>,
    more: &str,
    start: impl FnOnce(&[(&str, &str)], &[&str]) -> Result<Controller>,
) -> Result<World> {
    let split = split_yaml("app", &[("canary", 0), ("main", 100), ("baseline", 0)], "")
        .replace("default: canary", "default: main");
    let files = [("app.yaml", split.as_str()), ("deploy.yaml", &deploy("v1", more))];
    let controller = start(&files, &["--report-interval", "200ms"])?;
    let pods = Upstreams::start(&PODS)?;
    let config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "split": "default/app" });
    let wasm = Wasm::new(&paths::wasm("sluicegate.wasm")?, config);
    let mut listener = Listener::new(WEB, "main").subset("canary", "canary").subset("baseline", "baseline");
    if let Some(path) = canary {
        let route = |subset: &str, action: Value| {
            let header = json!({ "name": "x-sluicegate-subset", "string_match": { "exact": subset } });
            json!({ "match": { "prefix": "/", "headers": [header] }, "route": action })
        };
        listener.routes = Some(vec![
            route("canary", json!({ "cluster": "canary", "prefix_rewrite": path })),
            route("baseline", json!({ "cluster": "baseline" })),
            json!({ "match": { "prefix": "/" }, "route": { "cluster": "main" } }),
        ]);
    }
    let mut clusters: Vec<Value> = PODS.iter().map(|pod| cluster(pod, &pods.addrs(pod))).collect();
    clusters.push(cluster(CONTROLLER_CLUSTER, &[controller.proxy]));
    let envoy = Envoy::start(Options::new(vec![listener.filter(wasm.filter())], clusters).workers(2))?;
    let world = World { controller, envoy, _pods: pods };
    world.until("Idle")?;
    Ok(world)
}

impl World {
    pub(crate) fn rollout(&self) -> Result<Value> {
        self.controller.json("/v1/rollouts/default/app")
    }

    pub(crate) fn until(&self, phase: &str) -> Result<Value> {
        poll::until(&format!("the rollout to be {phase}"), WHOLE, || {
            let rollout = self.rollout().map_err(|error| format!("{error:#}"))?;
            if rollout["phase"] == phase && rollout["acked"] == rollout["live"] && rollout["live"] != 0 {
                Ok(rollout)
            } else {
                Err(rollout.to_string())
            }
        })
    }

    pub(crate) fn load(&self) -> Result<Steady> {
        Steady::start(self.envoy.listener(WEB)?, RATE)
    }

    fn begin(&self, more: &str) -> Result<()> {
        self.controller.write("deploy.yaml", &deploy("v2", more))
    }

    fn judgments(&self) -> Result<Vec<String>> {
        sluicegate_tests::controller::files_in(&self.controller.state().join("judgments"))
    }
}

fn answers(seen: &Seen, pod: &str) -> u64 {
    seen.tally.pods.get(pod).copied().unwrap_or(0)
}

#[test]
fn a_good_version_goes_through_every_step_and_is_promoted_without_a_failed_request() -> Result<()> {
    let world = world(None, "")?;
    let load = world.load()?;
    world.begin("")?;
    let done = world.until("Promoted")?;
    let seen = load.stop_clean()?;
    ensure!(
        done["stable"] == "v2" && done["weights"] == json!({ "canary": "0", "main": "100", "baseline": "0" }),
        "{done}"
    );
    ensure!(answers(&seen, "canary") > 100 && answers(&seen, "baseline") > 100, "{:?}", seen.tally.pods);
    let judgments = world.judgments()?;
    ensure!(judgments.len() == 3, "one judgment a step: {judgments:?}");
    // The user's file is as it was.
    let file = std::fs::read_to_string(world.controller.splits().join("app.yaml"))?;
    ensure!(file.contains("main") && file.contains("100"), "{file}");
    Ok(())
}

#[test]
fn a_bad_version_is_rolled_back_by_the_evidence_and_gets_nothing_any_more() -> Result<()> {
    let world = world(Some("/?status=503"), "")?;
    let load = world.load()?;
    world.begin("")?;
    let done = world.until("RolledBack")?;
    let after = std::time::Instant::now();
    ensure!(done["why"] == "the evidence says fail" && done["stable"] == "v1", "{done}");
    // Long enough for some hundred requests.
    poll::until("more answers", WHOLE, || {
        if after.elapsed() > Duration::from_millis(500) { Ok(()) } else { Err(String::new()) }
    })?;
    let seen = load.stop()?;
    ensure!(seen.since(after).all(|one| one.pod == "main"), "the canary still got requests");
    let failed = seen.tally.failures();
    println!("{failed} requests failed of {}", seen.tally.answers());
    ensure!(failed > 0 && failed < 1_000, "{failed} failed");
    Ok(())
}

#[test]
fn a_controller_that_is_killed_again_and_again_completes_the_rollout_and_skips_no_step() -> Result<()> {
    let mut world = world(None, "")?;
    let load = world.load()?;
    world.begin("")?;
    for kill in 0..8_u64 {
        let pause = std::time::Instant::now();
        let length = Duration::from_millis(150 + kill * 397 % 900);
        poll::until("a moment", WHOLE, || if pause.elapsed() > length { Ok(()) } else { Err(String::new()) })?;
        world.controller.kill();
        world.controller.restart()?;
    }
    let done = world.until("Promoted")?;
    load.stop_clean()?;
    ensure!(done["stable"] == "v2", "{done}");
    let judgments = world.judgments()?;
    ensure!(judgments.len() == 3, "one judgment a step: {judgments:?}");
    Ok(())
}

#[test]
fn a_manual_step_waits_for_a_person_and_obeys_them() -> Result<()> {
    let manual = "  watch: 0s\n";
    let world = world(None, manual)?;
    let yaml = deploy("v2", manual).replace("steps: [10, 25, 50]", "steps: [{ weight: 10, judge: manual }, 50]");
    world.controller.write("deploy.yaml", &yaml)?;
    let held = world.until("Hold")?;
    ensure!(held["step"] == 1 && held["waits"].as_str().unwrap_or("").contains("sluicegate continue app"), "{held}");
    let refused = world.controller.try_cli(&["continue", "app", "--step", "2", "--by", "ada"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && told.contains("step 2") && told.contains("step 1"), "{told}");
    let refused = world.controller.try_cli(&["set-weight", "app", "canary=50"])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("held by CanaryDeploy default/app"), "{refused:?}");
    world.controller.cli(&["pause", "app", "--by", "ada"])?;
    let table = world.controller.cli(&["get", "rollouts"])?;
    ensure!(table.contains("PHASE") && table.contains("Paused"), "{table}");
    world.controller.cli(&["resume", "app", "--by", "ada"])?;
    world.controller.cli(&["continue", "app", "--by", "ada", "--reason", "looks good"])?;
    let next = world.until("Hold")?;
    ensure!(next["step"] == 2, "{next}");
    world.controller.cli(&["rollback", "app", "--by", "ada", "--reason", "second thoughts"])?;
    let back = world.until("RolledBack")?;
    ensure!(back["why"] == "a person said so" && back["weights"]["main"] == "100", "{back}");
    Ok(())
}

#[test]
fn a_state_that_a_newer_version_wrote_stands_still_and_says_so() -> Result<()> {
    let mut world = world(None, "")?;
    world.begin("")?;
    world.until("Hold")?;
    world.controller.kill();
    let path = world.controller.state().join("rollouts/default_app.json");
    let text = std::fs::read_to_string(&path)?;
    paths::write_atomically(&path, text.replacen("\"format\": 1", "\"format\": 2", 1))?;
    world.controller.restart()?;
    let trouble = poll::until("the trouble to be told", WHOLE, || {
        let rollout = world.rollout().map_err(|error| format!("{error:#}"))?;
        rollout["trouble"].as_str().map(str::to_owned).ok_or(rollout.to_string())
    })?;
    ensure!(trouble.contains("newer version"), "{trouble}");
    // The weights of the step stay in force, and nothing is begun anew.
    let split = world.controller.json("/v1/splits/default/app")?;
    ensure!(split["subsets"][0]["weight"] != 0, "{split}");
    ensure!(std::fs::read_to_string(&path)?.contains("\"format\": 2"), "the state was overwritten");
    Ok(())
}
