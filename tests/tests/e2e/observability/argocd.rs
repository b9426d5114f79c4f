//! The health checks for Argo CD, run by the Lua that Argo CD has, on objects as the API server had them.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::controller::Controller;
use sluicegate_tests::kube::{self, Cluster, PATIENCE};
use sluicegate_tests::kube_lab::{KubeLab, rollout_yaml};
use sluicegate_tests::{client, paths, poll};

/// Argo CD opens these only where `useOpenLibs` says so; strings have no methods either.
const WITHOUT_LIBRARIES: &str = "for _, name in ipairs({ 'string', 'io', 'os', 'math', 'debug', 'coroutine', 'channel' }) do _G[name] = nil end\n\
     local strings = getmetatable('')\nif strings then strings.__index = nil end\n";

/// The scripts as Argo CD reads them: by the command that the file names, into a ConfigMap that has something already.
struct Scripts(Value);

impl Scripts {
    fn install(cluster: &Cluster, namespace: &str) -> Result<Self> {
        let file = paths::repo().join("examples/observability/argocd-health.yaml");
        let file = file.to_str().context("an odd path")?;
        cluster.kubectl(&["-n", namespace, "create", "configmap", "argocd-cm", "--from-literal=url=https://argo"])?;
        cluster.kubectl(&["-n", namespace, "patch", "configmap", "argocd-cm", "--patch-file", file])?;
        let map: Value =
            serde_json::from_str(&cluster.kubectl(&["-n", namespace, "get", "cm", "argocd-cm", "-o", "json"])?)?;
        ensure!(map["data"]["url"] == "https://argo", "what was there is gone: {map}");
        Ok(Self(map["data"].clone()))
    }

    /// Status and message of each object, which are all of one kind.
    fn health(&self, objects: &[Value]) -> Result<Vec<(String, String)>> {
        let kind = objects.first().and_then(|object| object["kind"].as_str()).context("nothing to ask about")?;
        let script = &self.0[format!("resource.customizations.health.sluicegate.dev_{kind}")];
        let dir = paths::scratch("lua")?;
        fs::write(dir.path().join("health.lua"), script.as_str().with_context(|| format!("no script for {kind}"))?)?;
        let mut program = format!("local health = assert(loadfile('health.lua'))\n{WITHOUT_LIBRARIES}");
        for object in objects {
            let object = literal(object);
            writeln!(program, "obj = {object}\nresult = health()\nprint(result.status)\nprint(result.message)")?;
        }
        fs::write(dir.path().join("main.lua"), program)?;
        let output = Command::new(paths::lua()?).current_dir(dir.path()).arg("main.lua").output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<_> = said.lines().map(str::to_owned).collect();
        let wrong = String::from_utf8_lossy(&output.stderr);
        ensure!(wrong.is_empty() && lines.len() == 2 * objects.len(), "{kind}: {wrong}{said}");
        Ok(lines.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }

    fn one(&self, object: &Value) -> Result<(String, String)> {
        self.health(std::slice::from_ref(object))?.pop().context("no answer")
    }

    fn expect(&self, object: &Value, wanted: &str) -> Result<String> {
        let (status, message) = self.one(object)?;
        ensure!(status == wanted, "{status} ({message}), not {wanted}: {}", object["status"]);
        Ok(message)
    }
}

/// A value as Lua writes it.
fn literal(value: &Value) -> String {
    let quoted = |text: &str| -> String {
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:03}")).collect();
        format!("\"{bytes}\"")
    };
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(all) => format!("{{{}}}", all.iter().map(literal).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let all: Vec<_> = fields.iter().map(|(name, it)| format!("[{}]={}", quoted(name), literal(it))).collect();
            format!("{{{}}}", all.join(","))
        }
    }
}

/// The object after somebody changed it, before the controller saw that.
fn changed(object: &Value) -> Value {
    let mut newer = object.clone();
    newer["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap_or(0) + 1);
    newer
}

/// The object before the controller wrote anything.
fn untold(object: &Value) -> Value {
    let mut new = object.clone();
    new.as_object_mut().and_then(|fields| fields.remove("status"));
    new
}

/// The same with another value at a JSON pointer.
fn with(object: &Value, at: &str, value: Value) -> Value {
    let mut other = object.clone();
    if let Some(place) = other.pointer_mut(at) {
        *place = value;
    }
    other
}

fn set_condition(object: &Value, kind: &str, status: &str, reason: &str) -> Value {
    let mut other = object.clone();
    for one in other["status"]["conditions"].as_array_mut().into_iter().flatten() {
        if one["type"] == kind {
            (one["status"], one["reason"], one["message"]) = (json!(status), json!(reason), json!("why"));
        }
    }
    other
}

/// Waits as [`KubeLab::until`], and keeps all that was seen on the way.
fn watch(lab: &KubeLab, plural: &str, seen: &mut Vec<Value>, says: impl Fn(&Value) -> bool) -> Result<Value> {
    lab.until("the next", plural, |object| {
        if seen.last() != Some(object) {
            seen.push(object.clone());
        }
        says(object)
    })
}

fn phase<'a>(wanted: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |object| {
        let progressing = |c: &&Value| c["type"] == "Progressing";
        let told = object["status"]["conditions"].as_array().into_iter().flatten().find(progressing);
        object["status"]["phase"] == wanted
            && told.is_some_and(|told| told["observedGeneration"] == object["metadata"]["generation"])
    }
}

fn deploy(image: &str, more: &str) -> String {
    let spec = format!(
        "  steps: [{{ weight: 10, judge: manual }}, 50]\n  hold: 1s\n  judge: {{ errors: {{}}, minRequests: 10 }}\n{more}"
    );
    rollout_yaml("CanaryDeploy", image, &spec)
}

#[test]
fn argo_cd_calls_a_rollout_healthy_when_the_wanted_version_is_promoted_and_not_before() -> Result<()> {
    let cluster = kube::shared()?;
    cluster.install_crds()?;
    let lab = KubeLab::start(cluster, &cluster.namespace("argocd")?, 3)?;
    one_leads(&lab)?;
    let scripts = Scripts::install(cluster, &lab.namespace)?;
    splits(&lab, &scripts)?;

    lab.apply(&deploy("hello:v1", ""))?;
    let idle = lab.until("Idle", "canarydeploys", phase("Idle"))?;
    scripts.expect(&idle, "Healthy")?;
    let load = lab.load(100.0)?;
    lab.apply(&deploy("hello:v2", ""))?;
    let mut seen = Vec::new();
    let held = watch(&lab, "canarydeploys", &mut seen, phase("Hold"))?;
    ensure!(scripts.expect(&held, "Suspended")?.contains("sluicegate continue"), "{held}");
    lab.kubectl(&["patch", "canarydeploy", "hello", "--type=merge", "-p", r#"{"spec":{"paused":true}}"#])?;
    let paused = watch(&lab, "canarydeploys", &mut seen, phase("Paused"))?;
    scripts.expect(&paused, "Suspended")?;
    lab.kubectl(&["patch", "canarydeploy", "hello", "--type=merge", "-p", r#"{"spec":{"paused":false}}"#])?;
    watch(&lab, "canarydeploys", &mut seen, phase("Hold"))?;
    say(&lab, "continue")?;
    let promoted = watch(&lab, "canarydeploys", &mut seen, phase("Promoted"))?;
    ensure!(scripts.expect(&promoted, "Healthy")?.contains("hello:v2"), "{promoted}");
    let on_the_way: Vec<_> = seen.into_iter().filter(|object| !phase("Promoted")(object)).collect();
    for (object, (status, why)) in on_the_way.iter().zip(scripts.health(&on_the_way)?) {
        ensure!(status == "Progressing" || status == "Suspended", "{status} ({why}): {}", object["status"]);
    }
    others(&scripts, &promoted)?;

    pending(&lab, &scripts, "hello:v3")?;
    let bad = deploy("hello:v3", "").replace("hold: 1s", "hold: 99999d");
    lab.apply(&bad)?;
    let refused = lab.until("a refusal", "canarydeploys", |object| {
        object["status"]["conditions"].to_string().contains("spec.hold")
    })?;
    ensure!(scripts.expect(&refused, "Degraded")?.contains("spec.hold"), "{refused}");
    lab.apply(&deploy("hello:v3", ""))?;
    lab.until("Hold", "canarydeploys", phase("Hold"))?;
    say(&lab, "rollback")?;
    let back = lab.until("RolledBack", "canarydeploys", phase("RolledBack"))?;
    ensure!(scripts.expect(&back, "Degraded")?.contains("a person said so"), "{back}");
    pending(&lab, &scripts, "hello:v4")?;
    lab.kubectl(&["delete", "canarydeploy", "hello"])?;
    lab.until_gone("canarydeploys")?;
    // A test has copies of the same names, and does not take those of somebody else.
    for copy in ["hello-canary", "hello-baseline"] {
        poll::until(&format!("{copy} to go with its owner"), PATIENCE, || match lab.deployment(copy) {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
    }
    test_of_a_canary(&lab, &scripts)?;
    load.stop().map(drop)
}

/// A second replica says that it does not lead, and has no rollouts to tell of.
fn one_leads(lab: &KubeLab) -> Result<()> {
    let follower = Controller::start_in_cluster(lab.cluster.kubeconfig(), &lab.namespace, &[])?;
    poll::until("a ready follower", poll::LONG, || match client::get(follower.admin, "/readyz") {
        Ok(answer) if answer.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    for (admin, leads) in [(lab.controller.admin, 1), (follower.admin, 0)] {
        let metrics = client::get(admin, "/metrics")?.text();
        ensure!(metrics.contains(&format!("\nsluicegate_leader {leads}\n")), "{metrics}");
    }
    Ok(())
}

fn say(lab: &KubeLab, verb: &str) -> Result<()> {
    lab.controller.cli(&[verb, &format!("{}/hello", lab.namespace), "--by", "ada"]).map(drop)
}

/// While it is paused, another version is not begun, and what became of the one before says nothing of it.
fn pending(lab: &KubeLab, scripts: &Scripts, image: &str) -> Result<()> {
    lab.apply(&deploy(image, "  paused: true\n"))?;
    let pending = lab.until("the wish", "canarydeploys", |object| object.to_string().contains("not begun yet"))?;
    scripts.expect(&pending, "Suspended")?;
    scripts.expect(&with(&pending, "/spec/paused", json!(false)), "Progressing").map(drop)
}

fn splits(lab: &KubeLab, scripts: &Scripts) -> Result<()> {
    let split = lab.until("the ack to be told", "trafficsplits", |split| split["status"]["acked"] == "1/1")?;
    scripts.expect(&split, "Healthy")?;
    scripts.expect(&untold(&split), "Progressing")?;
    scripts.expect(&changed(&split), "Progressing")?;
    for (condition, status, reason, wanted) in [
        ("Accepted", "False", "Invalid", "Degraded"),
        ("Propagated", "Unknown", "Publishing", "Progressing"),
        ("Propagated", "Unknown", "NoProxies", "Healthy"),
        ("Propagated", "False", "Waiting", "Progressing"),
        ("Propagated", "False", "Ahead", "Degraded"),
        ("Propagated", "False", "Conflict", "Degraded"),
    ] {
        scripts.expect(&set_condition(&split, condition, status, reason), wanted)?;
    }
    Ok(())
}

/// What comes too seldom, or goes by too fast, to be waited for.
fn others(scripts: &Scripts, promoted: &Value) -> Result<()> {
    scripts.expect(&untold(promoted), "Progressing")?;
    scripts.expect(&changed(promoted), "Progressing")?;
    // A controller that has just started says what it read, before it knows where the rollout is.
    let newer = changed(promoted);
    let generation = newer["metadata"]["generation"].clone();
    scripts.expect(&with(&newer, "/status/observedGeneration", generation), "Progressing")?;
    let moving = set_condition(promoted, "Progressing", "True", "Moving");
    for phase in [
        "Scale", "Probe", "Weigh", "Hold", "Update", "Switch", "CleanUp", "Watch", "Shed", "Restore", "Return", "Clear",
    ] {
        scripts.expect(&with(&moving, "/status/phase", json!(phase)), "Progressing")?;
    }
    for (reason, wanted) in
        [("Trouble", "Degraded"), ("PodsNotReady", "Degraded"), ("NotAcked", "Degraded"), ("Inconclusive", "Suspended")]
    {
        scripts.expect(&set_condition(&moving, "Stalled", "True", reason), wanted)?;
    }
    Ok(())
}

fn test_of_a_canary(lab: &KubeLab, scripts: &Scripts) -> Result<()> {
    lab.apply(&rollout_yaml("CanaryTest", "hello:v5", "  weight: 5\n"))?;
    let mut seen = Vec::new();
    let on = watch(lab, "canarytests", &mut seen, phase("On"))?;
    scripts.expect(&on, "Healthy")?;
    scripts.expect(&changed(&on), "Progressing")?;
    scripts.expect(&untold(&on), "Progressing")?;
    scripts.expect(&set_condition(&on, "Accepted", "False", "Invalid"), "Degraded")?;
    scripts.expect(&set_condition(&on, "Stalled", "True", "Trouble"), "Degraded")?;
    // A test that has not begun is off, as one is that was switched off.
    let begun = |object: &&Value| !phase("On")(object) && !phase("Off")(object);
    let on_the_way: Vec<_> = seen.iter().filter(begun).cloned().collect();
    ensure!(!on_the_way.is_empty(), "nothing was seen on the way");
    for (object, (status, why)) in on_the_way.iter().zip(scripts.health(&on_the_way)?) {
        ensure!(status == "Progressing", "{status} ({why}): {}", object["status"]);
    }
    Ok(())
}
