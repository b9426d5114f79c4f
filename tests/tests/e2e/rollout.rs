//! Whole rollouts: the real controller leads a real Envoy from step to step under load. Pods are taken as given.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::client;
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
const FAST: [&str; 2] = ["--report-interval", "200ms"];
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
    world_with(canary, more, Controller::start_with)
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
    let controller = start(&files, &FAST)?;
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
        self.told(&format!("the rollout to be {phase}"), |rollout| {
            rollout["phase"] == phase && rollout["acked"] == rollout["live"] && rollout["live"] != 0
        })
    }

    fn told(&self, what: &str, so: impl Fn(&Value) -> bool) -> Result<Value> {
        poll::until(what, WHOLE, || {
            let rollout = self.rollout().map_err(|error| format!("{error:#}"))?;
            if so(&rollout) { Ok(rollout) } else { Err(rollout.to_string()) }
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
    let after = Instant::now();
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
fn a_controller_that_is_killed_fifty_times_completes_the_rollout_and_judges_every_step_once() -> Result<()> {
    const KILLS: u64 = 50;
    const STEPS: u32 = 10;
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let weights: Vec<String> = (1..=STEPS).map(|step| (step * 50 / STEPS).to_string()).collect();
    let mut world = world(None, "")?;
    let load = world.load()?;
    let yaml = deploy("v2", "").replace("10, 25, 50", &weights.join(", ")).replace("hold: 1s", "hold: 300ms");
    world.controller.write("deploy.yaml", &yaml)?;
    world.until("Hold")?;
    let mut reached = 1;
    for kill in 1..=KILLS {
        // Most of them in the middle of coming back, some on the way from one step to the next.
        if kill % 6 == 0 {
            world.told("another step", |rollout| rollout["step"].as_u64() > Some(reached))?;
        }
        let (began, length) = (Instant::now(), Duration::from_millis(random.u64(0..400)));
        poll::until("a moment", WHOLE, || if began.elapsed() > length { Ok(()) } else { Err("not yet") })?;
        world.controller.kill();
        world.controller.restart_with(&FAST)?;
        let rollout = world.told("the rollout after a restart", |rollout| rollout["version"] == "v2")?;
        let step = rollout["step"].as_u64().with_context(|| format!("kill {kill} is too late: {rollout}"))?;
        ensure!(step >= reached, "back from step {reached}: {rollout}");
        reached = step;
    }
    println!("{KILLS} kills until step {reached} of {STEPS}");
    let done = world.until("Promoted")?;
    load.stop_clean()?;
    ensure!(done["stable"] == "v2", "{done}");
    let judgments = world.judgments()?;
    ensure!(judgments.len() == STEPS as usize, "one judgment a step: {judgments:?}");
    // In order, and each of them once.
    let record: Value =
        serde_json::from_slice(&std::fs::read(world.controller.state().join("rollouts/default_app.json"))?)?;
    let judged = find(&record, "judged").and_then(Value::as_array).context("no record of judgments")?;
    let expected: Vec<Value> = (0..STEPS).map(|step| json!({ "step": step, "by": "evidence" })).collect();
    ensure!(*judged == expected, "{judged:?}");
    Ok(())
}

/// A field of this name, wherever it is.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields.get(name).or_else(|| fields.values().find_map(|inner| find(inner, name))),
        Value::Array(items) => items.iter().find_map(|inner| find(inner, name)),
        _ => None,
    }
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
    let late = world.controller.try_cli(&["continue", "app", "--step", "1", "--by", "ada"])?;
    let told = String::from_utf8_lossy(&late.stderr).into_owned();
    ensure!(late.status.code() == Some(1) && told.contains("about step 1, but it is at step 2"), "{told}");
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

/// One rollout waits for a person at 10 %; another wants the same split and is told that it cannot have it.
fn two_rollouts_on_one_split() -> Result<(World, Value)> {
    let world = world(None, "")?;
    let manual = deploy("v2", "").replace("[10, 25, 50]", "[{ weight: 10, judge: manual }, 50]");
    world.controller.write("deploy.yaml", &manual)?;
    world.until("Hold")?;
    let before = world.controller.json("/v1/splits/default/app")?["generation"].clone();
    world.controller.write("second.yaml", &deploy("v9", "").replace("name: app", "name: second"))?;
    poll::until("the second to be told", WHOLE, || {
        let second = world.controller.json("/v1/rollouts/default/second").map_err(|error| format!("{error:#}"))?;
        let trouble = second["trouble"].as_str().unwrap_or_default();
        if trouble.contains("CanaryDeploy default/app") { Ok(()) } else { Err(second.to_string()) }
    })?;
    Ok((world, before))
}

#[test]
fn a_second_rollout_on_the_same_split_is_told_who_holds_it_and_changes_nothing() -> Result<()> {
    let (world, before) = two_rollouts_on_one_split()?;
    let split = world.controller.json("/v1/splits/default/app")?;
    ensure!(split["generation"] == before, "the second changed weights: {split}");
    let first = world.rollout()?;
    ensure!(first["phase"] == "Hold" && first["weights"]["canary"] == "10" && first["trouble"].is_null(), "{first}");
    Ok(())
}

#[test]
fn the_end_of_a_second_rollout_on_the_same_split_changes_nothing() -> Result<()> {
    let (world, before) = two_rollouts_on_one_split()?;
    std::fs::remove_file(world.controller.splits().join("second.yaml"))?;
    poll::until("the second to be gone", WHOLE, || {
        let status = client::get(world.controller.admin, "/v1/rollouts/default/second").map(|answer| answer.status);
        if matches!(status, Ok(404)) { Ok(()) } else { Err(format!("{status:?}")) }
    })?;
    let split = world.controller.json("/v1/splits/default/app")?;
    ensure!(split["generation"] == before, "its end changed weights: {split}");
    Ok(())
}

#[test]
fn a_rollout_of_an_unknown_split_says_which_and_begins_when_it_is_there() -> Result<()> {
    let world = world(None, "")?;
    world.controller.write("deploy.yaml", &deploy("v2", "").replace("splits: [app]", "splits: [app, outside]"))?;
    let told = poll::until("the unknown split to be told", WHOLE, || {
        let rollout = world.rollout().map_err(|error| format!("{error:#}"))?;
        let said = format!("{} {}", rollout["trouble"], rollout["waits"]);
        if said.contains("default/outside") { Ok(rollout) } else { Err(rollout.to_string()) }
    })?;
    ensure!(told["weights"]["main"] == "100" && told["step"].is_null(), "{told}");
    world.controller.write("deploy.yaml", &deploy("v2", ""))?;
    world.until("Hold")?;
    Ok(())
}
