//! What is said to a rollout, and asked and told by it: webhooks, Judgments and `paused` among the documents, metrics.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::fault_controller::{Asked, FaultController, Reply};
use sluicegate_tests::poll;
use sluicegate_tests::prometheus::Prometheus;

use crate::rollout::{World, deploy, world};

const LONG: Duration = Duration::from_secs(60);

fn until(world: &World, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    poll::until(what, LONG, || {
        let rollout = world.rollout().map_err(|error| format!("{error:#}"))?;
        if is(&rollout) { Ok(rollout) } else { Err(rollout.to_string()) }
    })
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// The bodies of one phase of webhooks, in order.
fn bodies(receiver: &FaultController, phase: &str) -> Vec<Value> {
    let all = receiver.asked().into_iter().filter_map(|asked| serde_json::from_slice::<Value>(&asked.body).ok());
    all.filter(|body| body["phase"] == phase).collect()
}

#[test]
fn gates_are_asked_before_and_others_told_after_and_a_no_keeps_the_rollout() -> Result<()> {
    let says_no = |asked: &Asked| String::from_utf8_lossy(&asked.body).contains("beforePromote");
    let receiver = FaultController::start(move |asked| match says_no(asked) {
        true => Reply::Http(403, String::new(), b"the shop is closed".to_vec()),
        false => Reply::ok("", ""),
    })?;
    let all = ["beforeStart", "beforeIncrease", "beforePromote", "afterPromote", "onRollback", "notify"];
    let hooks: Vec<_> =
        all.iter().map(|phase| format!("{{ url: 'http://{}/', phase: {phase} }}", receiver.addr())).collect();
    let hooks = format!("  webhooks: [{}]\n", hooks.join(", "));
    let world = world(None, &hooks)?;
    let load = world.load()?;
    world.controller.write("deploy.yaml", &deploy("v2", &hooks))?;
    let kept = until(&world, "the no to be told", |r| text(r, "trouble").contains("the shop is closed"))?;
    ensure!(kept["phase"] == "Hold" && kept["step"] == 3, "{kept}");
    ensure!(text(&kept, "waits").contains("yes of the beforePromote webhook"), "{kept}");
    let stalled = kept["conditions"].as_array().into_iter().flatten().find(|c| c["type"] == "Stalled");
    ensure!(stalled.is_some_and(|c| c["status"] == "True"), "{kept}");
    ensure!(bodies(&receiver, "beforeStart").len() == 1, "{:?}", receiver.asked().len());
    let weights: Vec<_> =
        bodies(&receiver, "beforeIncrease").iter().map(|body| body["weights"][0]["canary"].clone()).collect();
    ensure!(weights == [10.0, 25.0, 50.0], "asked with the weights that a yes would give: {weights:?}");
    world.controller.cli(&["rollback", "app", "--by", "ada", "--reason", "enough"])?;
    let back = world.until("RolledBack")?;
    poll::until("the last word to be told", LONG, || {
        let told = bodies(&receiver, "notify");
        if told.iter().any(|body| text(body, "message").contains("was rolled back")) {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    })?;
    ensure!(bodies(&receiver, "onRollback").len() == 1 && bodies(&receiver, "afterPromote").is_empty(), "{back}");
    let history = back["history"].to_string();
    ensure!(history.contains("ada said rollback: enough"), "{history}");
    load.stop_clean()?;
    Ok(())
}

#[test]
fn a_gate_that_hangs_keeps_nobody_from_rolling_back() -> Result<()> {
    let receiver = FaultController::start(|_| Reply::Hang)?;
    let hook = format!("  webhooks: [{{ url: 'http://{}/', phase: beforeIncrease, timeout: 60s }}]\n", receiver.addr());
    let world = world(None, &hook)?;
    world.controller.write("deploy.yaml", &deploy("v2", &hook))?;
    until(&world, "the question", |r| text(r, "waits").contains("an answer of the beforeIncrease webhook"))?;
    let began = std::time::Instant::now();
    world.controller.cli(&["rollback", "app", "--by", "ada"])?;
    world.until("RolledBack")?;
    ensure!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
    Ok(())
}

#[test]
fn paused_in_the_document_keeps_a_rollout_from_beginning_and_from_going_on() -> Result<()> {
    let world = world(None, "")?;
    let load = world.load()?;
    let table = |paused| if paused { "  paused: true\n" } else { "" };
    world.controller.write("deploy.yaml", &deploy("v2", table(true)))?;
    world.controller.write("other.yaml", &deploy("v1", "").replace("name: app", "name: other"))?;
    // The other one is read after it, and is there: so this one has been seen.
    poll::until("the other rollout", LONG, || {
        world.controller.json("/v1/rollouts/default/other").map_err(|e| e.to_string())
    })?;
    ensure!(world.rollout()?["phase"] == "Idle", "{}", world.rollout()?);
    world.controller.write("deploy.yaml", &deploy("v2", ""))?;
    until(&world, "the first step", |r| r["phase"] == "Hold")?;
    world.controller.write("deploy.yaml", &deploy("v2", table(true)))?;
    until(&world, "the pause", |r| r["paused"] == true)?;
    let refused = world.controller.try_cli(&["resume", "app", "--by", "ada"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && told.contains("paused: true"), "{told}");
    world.controller.write("deploy.yaml", &deploy("v2", ""))?;
    world.until("Promoted")?;
    load.stop_clean()?;
    Ok(())
}

#[test]
fn a_dry_run_notes_that_it_would_have_failed_and_goes_on() -> Result<()> {
    let world = world(Some("/?status=503"), "")?;
    let load = world.load()?;
    let yaml = deploy("v2", "").replace("judge: { errors: {},", "judge: { dryRun: true, errors: {},");
    world.controller.write("deploy.yaml", &yaml.replace("hold: 1s", "hold: 4s"))?;
    let done = world.until("Promoted")?;
    load.stop()?;
    ensure!(done["verdict"] == "fail" && done["stable"] == "v2", "{done}");
    let judgments = world.controller.state().join("judgments");
    let files = sluicegate_tests::controller::files_in(&judgments)?;
    let last = files.iter().find(|name| name.ends_with("_3_evidence.json")).context("no judgment of the third step")?;
    let last = std::fs::read_to_string(judgments.join(last))?;
    let last: Value = serde_json::from_str(&last)?;
    ensure!(last["verdict"] == "fail" && last["decision"] == "continue" && last["dryRun"] == true, "{last}");
    Ok(())
}

fn judgment(name: &str, spec: &str) -> String {
    format!("apiVersion: sluicegate.dev/v1alpha1\nkind: Judgment\nmetadata: {{ name: {name} }}\nspec: {spec}\n")
}

#[test]
fn judgments_among_the_documents_are_carried_out_once_and_only_for_their_step() -> Result<()> {
    let mut world = world(None, "")?;
    let manual = "steps: [{ weight: 10, judge: manual }, { weight: 25, judge: manual }, 50]";
    world.controller.write("deploy.yaml", &deploy("v2", "").replace("steps: [10, 25, 50]", manual))?;
    until(&world, "the first step", |r| r["phase"] == "Hold" && r["step"] == 1)?;
    // For a step that is yet to come: it waits. For this one: it is carried out.
    let say = |name, spec| world.controller.write(&format!("{name}.yaml"), &judgment(name, spec));
    say("later", "{ rollout: app, step: 2, decision: rollback, by: bob, reason: 'not this one' }")?;
    say("now", "{ rollout: app, step: 1, decision: continue, by: ada }")?;
    let back = world.until("RolledBack")?;
    ensure!(back["why"] == "a person said so", "{back}");
    let (now, later) = (&back["judgments"]["default/now"], &back["judgments"]["default/later"]);
    ensure!(now == "carried out" && later == "carried out", "{back}");
    // A new version: what was carried out is not carried out again, even by a controller that has just begun.
    world.controller.kill();
    world.controller.restart()?;
    world.controller.write("deploy.yaml", &deploy("v3", "").replace("steps: [10, 25, 50]", manual))?;
    until(&world, "the first step of v3", |r| r["phase"] == "Hold" && r["step"] == 1 && r["version"] == "v3")?;
    world
        .controller
        .write("over.yaml", &judgment("over", "{ rollout: app, version: v2, decision: continue, by: ada }"))?;
    let kept = until(&world, "the refusal", |r| !r["judgments"]["default/over"].is_null())?;
    ensure!(text(&kept["judgments"], "default/over").contains("about v2, and v3 is rolled out"), "{kept}");
    ensure!(kept["step"] == 1, "{kept}");
    let described = world.controller.cli(&["describe", "app"])?;
    ensure!(described.contains("Events:") && described.contains("Conditions:"), "{described}");
    Ok(())
}

#[test]
fn metrics_of_prometheus_judge_a_step_and_their_absence_does_not_pass_it() -> Result<()> {
    let world = world(Some("/?status=503"), "")?;
    let load = world.load()?;
    let mut prometheus = Prometheus::start(&[world.controller.admin], "/metrics", Duration::from_millis(250))?;
    let url = prometheus.url();
    let query = r#"sum(rate(sluicegate_outcomes_total{split="{{namespace}}/{{split}}",subset="{{subset}}",outcome="5xx"}[2s]))"#;
    let metrics = format!(
        "judge: {{ prometheus: {{ url: '{url}', interval: 1s }}, metrics: [{{ name: errors, query: '{query}', nan: replace, critical: true }}] }}"
    );
    let yaml = |version: &str| deploy(version, "").replace("judge: { errors: {}, minRequests: 50 }", &metrics);
    world.controller.write("deploy.yaml", &yaml("v2"))?;
    // Too few points first: nothing passes and nothing fails by them.
    let held = until(&world, "a first reading", |r| !r["metrics"].is_null())?;
    ensure!(held["phase"] == "Hold", "{held}");
    let back = until(&world, "the way back", |r| r["phase"] == "RolledBack")?;
    ensure!(back["why"] == "the evidence says fail", "{back}");
    ensure!(back["metrics"]["judgment"]["metrics"][0]["class"] == "high", "{back}");
    prometheus.kill();
    world.controller.write("deploy.yaml", &yaml("v3"))?;
    let kept = until(&world, "the silence", |r| {
        r["version"] == "v3" && r["overdue"] == "Inconclusive" && !r["metrics"].is_null()
    })?;
    ensure!(kept["verdict"] == "inconclusive" && kept["metrics"].to_string().contains("does not answer"), "{kept}");
    load.stop()?;
    let metrics = sluicegate_tests::client::get(world.controller.admin, "/metrics")?.text();
    for line in [
        "sluicegate_rollout_step{rollout=\"default/app\"} 1",
        "sluicegate_rollout_verdict{rollout=\"default/app\"} 0",
        "sluicegate_rollouts_ended_total{rollout=\"default/app\",outcome=\"RolledBack\"} 1",
        "sluicegate_rollout_weight{rollout=\"default/app\",role=\"canary\"} 10",
    ] {
        ensure!(metrics.contains(line), "{line} is not among:\n{metrics}");
    }
    Ok(())
}
