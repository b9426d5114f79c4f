//! What is rolled out beyond images: a patch of main's pods, or a template of them, with a main that belongs to the rollout.

use super::rollouts::{Stage, deploy, manual};
use super::{World, condition};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::kube::PATIENCE;
use sluicegate_tests::poll;

const TIMES: &str = "  deadline: 60s\n  watch: 10m\n";

fn path(stage: &Stage, plural: &str, name: &str) -> String {
    format!("/apis/apps/v1/namespaces/{}/{plural}/{name}", stage.world.namespace)
}

fn deployment(stage: &Stage, name: &str) -> Result<Value> {
    stage.world.cluster.api().get(&path(stage, "deployments", name))
}

/// Image and the variable FLAG of a Deployment's container.
fn runs(stage: &Stage, name: &str) -> Result<(String, String)> {
    let found = deployment(stage, name)?;
    let container = &found["spec"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array().into_iter().flatten();
    let flag = env.filter(|one| one["name"] == "FLAG").find_map(|one| one["value"].as_str());
    let image = container["image"].as_str().unwrap_or_default();
    Ok((image.to_owned(), flag.unwrap_or_default().to_owned()))
}

fn is(image: &str, flag: &str) -> (String, String) {
    (image.to_owned(), flag.to_owned())
}

fn at_step(stage: &Stage, step: &str) -> Result<Value> {
    stage.until_with("Hold", |o| o["status"]["step"] == step)
}

fn patched(image: &str, flag: &str) -> String {
    let patch = format!(
        "  patch: {{ spec: {{ containers: [{{ name: app, env: [{{ name: FLAG, value: \"{flag}\" }}] }}] }} }}\n"
    );
    manual(&deploy(image, &format!("{TIMES}{patch}")))
}

#[test]
fn a_patch_reaches_the_canary_only_and_main_gets_back_all_it_had() -> Result<()> {
    let stage = Stage::new("patched", 2, TIMES)?;
    let load = stage.load()?;
    let before = deployment(&stage, "hello")?;
    stage.world.apply(&patched("hello:v2", "on"))?;
    at_step(&stage, "1/2")?;
    ensure!(runs(&stage, "hello-canary")? == is("hello:v2", "on"), "{:?}", runs(&stage, "hello-canary")?);
    ensure!(runs(&stage, "hello-baseline")? == is("hello:v1", ""), "{:?}", runs(&stage, "hello-baseline")?);
    ensure!(deployment(&stage, "hello")?["metadata"]["generation"] == before["metadata"]["generation"]);
    // Another content is another version, even with the same image.
    stage.world.apply(&patched("hello:v2", "off"))?;
    let says = |o: &Value| o["status"]["step"] == "1/2";
    stage.until_with("Hold", |o| says(o) && runs(&stage, "hello-canary").is_ok_and(|seen| seen.1 == "off"))?;
    stage.say("continue")?;
    at_step(&stage, "2/2")?;
    stage.say("continue")?;
    let watched = stage.until("Watch")?;
    ensure!(runs(&stage, "hello")? == is("hello:v2", "off"), "{:?}", runs(&stage, "hello")?);
    let told = watched["status"]["main"].as_str().context("no main")?;
    ensure!(told.starts_with("app=hello:v2,#"), "{told}");
    // What was promoted is taken back, and with it what the patch brought.
    stage.say("rollback")?;
    stage.until("RolledBack")?;
    let after = deployment(&stage, "hello")?;
    ensure!(after["spec"]["template"] == before["spec"]["template"], "{}", after["spec"]["template"]);
    load.stop_clean()?;
    let revisions = format!("/apis/apps/v1/namespaces/{}/controllerrevisions", stage.world.namespace);
    let (revisions, _) = stage.world.cluster.api().list(&revisions)?;
    let of = |version: &Value| {
        revisions.iter().find(|one| one["metadata"]["annotations"]["sluicegate.dev/version"] == *version)
    };
    let kept = of(&json!("app=hello:v1")).context("no revision of v1")?;
    ensure!(kept["metadata"]["ownerReferences"][0]["kind"] == "CanaryDeploy", "{kept}");
    ensure!(revisions.len() == 2, "{revisions:?}");
    Ok(())
}

#[test]
fn what_was_promoted_can_be_undone_and_does_not_come_back_by_itself() -> Result<()> {
    let stage = Stage::new("undone", 2, "")?;
    let before = deployment(&stage, "hello")?;
    let load = stage.load()?;
    let yaml = patched("hello:v2", "on").replace("  watch: 10m\n", "");
    stage.world.apply(&yaml)?;
    for step in ["1/2", "2/2"] {
        at_step(&stage, step)?;
        stage.say("continue")?;
    }
    stage.until("Promoted")?;
    ensure!(runs(&stage, "hello")? == is("hello:v2", "on"), "{:?}", runs(&stage, "hello")?);
    // By hand it may have got other pods meanwhile.
    stage.world.cluster.api().patch(&path(&stage, "deployments", "hello"), &json!({ "spec": { "replicas": 3 } }))?;
    poll::until("the third pod to be known", PATIENCE, || {
        let seen = stage.world.object("canarydeploys", "hello").map_err(|why| format!("{why:#}"))?;
        let main = seen["status"]["main"].to_string();
        if main.contains("3/3") { Ok(()) } else { Err(main) }
    })?;
    let name = format!("{}/hello", stage.world.namespace);
    let said = stage.world.controller.try_cli(&["undo", &name, "--by", "ada"])?;
    let told = String::from_utf8_lossy(&said.stderr).into_owned();
    ensure!(
        said.status.success() && told.contains("main goes back to app=hello:v1; its document still says"),
        "{told}"
    );
    stage.until("RolledBack")?;
    let after = deployment(&stage, "hello")?;
    ensure!(after["spec"]["template"] == before["spec"]["template"], "{}", after["spec"]["template"]);
    ensure!(after["spec"]["replicas"] == 3, "{}", after["spec"]);
    load.stop_clean()?;
    ensure!(stage.say("undo").is_err_and(|why| format!("{why:#}").contains("undone already")));
    // Whoever applies the same document again begins nothing.
    stage.world.apply(&yaml.replace("  deadline: 60s", "  deadline: 61s"))?;
    stage.world.until("the document to be read", "canarydeploys", "hello", |o| {
        o["status"]["observedGeneration"] == o["metadata"]["generation"] && o["status"]["phase"] == "RolledBack"
    })?;
    Ok(())
}

#[test]
fn a_patch_that_kubernetes_refuses_is_told_in_its_words_and_touches_nothing() -> Result<()> {
    let stage = Stage::new("refused", 2, TIMES)?;
    let before = deployment(&stage, "hello")?;
    let wrong = "  patch: { spec: { containers: [{ name: app, resources: { limits: { cpu: lots } } }] } }\n";
    stage.world.apply(&deploy("hello:v2", &format!("{TIMES}{wrong}")))?;
    stage.until_with("Scale", |o| o["status"]["message"].to_string().contains("quantities must match"))?;
    ensure!(deployment(&stage, "hello")?["metadata"]["generation"] == before["metadata"]["generation"]);
    Ok(())
}

fn templated(image: &str, env: &str, replicas: u32) -> String {
    let container = format!("{{ name: app, image: \"{image}\"{env} }}");
    let template = format!(
        "  template: {{ metadata: {{ labels: {{ app: hello }} }}, spec: {{ containers: [{container}] }} }}\n  \
         replicas: {replicas}\n"
    );
    let whole = manual(&deploy(image, &format!("{TIMES}{template}")));
    whole.replace("  workload: hello\n", "").replace(&format!("  images: {{ app: \"{image}\" }}\n"), "")
}

const FLAG: &str = ", env: [{ name: FLAG, value: \"on\" }]";

fn until_main(stage: &Stage, replicas: u64, flag: &str) -> Result<()> {
    poll::until(&format!("main with {replicas} pods, FLAG={flag}"), PATIENCE, || {
        let main = deployment(stage, "hello").map_err(|why| format!("{why:#}"))?;
        let seen = (main["status"]["readyReplicas"].as_u64(), main["spec"]["replicas"].as_u64(), runs(stage, "hello"));
        match &seen {
            (Some(ready), Some(asked), Ok((_, set))) if *ready == replicas && *asked == replicas && set == flag => {
                Ok(())
            }
            _ => Err(format!("{seen:?}")),
        }
    })
}

#[test]
fn with_a_template_the_rollout_makes_main_leads_it_and_takes_it_along() -> Result<()> {
    let stage = Stage::of(World::new("own")?, &templated("hello:v1", FLAG, 2))?;
    stage.until("Idle")?;
    until_main(&stage, 2, "on")?;
    // At rest its pods are as many as the document says, whoever says otherwise.
    stage.world.apply(&templated("hello:v1", FLAG, 4))?;
    until_main(&stage, 4, "on")?;
    stage.world.cluster.api().patch(&path(&stage, "deployments", "hello"), &json!({ "spec": { "replicas": 1 } }))?;
    until_main(&stage, 4, "on")?;
    ensure!(stage.until("Idle").is_ok());
    // A template that takes something away, to the end.
    let load = stage.load()?;
    stage.world.apply(&templated("hello:v2", "", 4))?;
    at_step(&stage, "1/2")?;
    ensure!(runs(&stage, "hello-canary")? == is("hello:v2", ""), "{:?}", runs(&stage, "hello-canary")?);
    ensure!(runs(&stage, "hello-baseline")? == is("hello:v1", "on"), "{:?}", runs(&stage, "hello-baseline")?);
    // In mid-rollout the number of pods waits.
    stage.world.apply(&templated("hello:v2", "", 3))?;
    stage.say("continue")?;
    at_step(&stage, "2/2")?;
    ensure!(stage.seen("hello")?.0 == 4 && stage.seen("hello-canary")?.0 == 3);
    stage.say("continue")?;
    stage.until("Watch")?;
    ensure!(runs(&stage, "hello")? == is("hello:v2", ""), "{:?}", runs(&stage, "hello")?);
    stage.say("rollback")?;
    stage.until("RolledBack")?;
    until_main(&stage, 3, "on")?;
    load.stop_clean()?;
    // Main is what it was, also after somebody deleted it.
    stage.world.cluster.api().delete(&path(&stage, "deployments", "hello"))?;
    until_main(&stage, 3, "on")?;
    stage.world.cluster.api().delete(&stage.world.path("canarydeploys", "hello"))?;
    poll::until("main to be gone", PATIENCE, || match deployment(&stage, "hello") {
        Err(_) => Ok(()),
        Ok(main) => Err(main["metadata"].to_string()),
    })
}

#[test]
fn a_main_of_a_rollout_stays_when_that_is_deleted_without_it() -> Result<()> {
    let stage = Stage::of(World::new("orphan")?, &templated("hello:v1", FLAG, 2))?;
    stage.until("Idle")?;
    until_main(&stage, 2, "on")?;
    let delete = ["-n", &stage.world.namespace, "delete", "canarydeploy", "hello", "--cascade=orphan", "--wait=true"];
    stage.world.cluster.kubectl(&delete)?;
    until_main(&stage, 2, "on")?;
    let owners = deployment(&stage, "hello")?["metadata"]["ownerReferences"].clone();
    ensure!(owners.is_null(), "{owners}");
    Ok(())
}

#[test]
fn a_template_takes_no_deployment_over_that_is_somebody_elses() -> Result<()> {
    let other = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: hello }\nspec:\n  replicas: 1\n  selector: { matchLabels: \
                 { app: other } }\n  template:\n    metadata: { labels: { app: other } }\n    \
                 spec: { containers: [{ name: other, image: other }] }\n";
    let stage = Stage::of(World::new("others")?, &format!("{other}---\n{}", templated("hello:v1", "", 2)))?;
    let says = |o: &Value| condition(o, "Stalled")["message"].to_string().contains("does not belong to this rollout");
    stage.world.until("the refusal", "canarydeploys", "hello", says)?;
    ensure!(deployment(&stage, "hello")?["metadata"]["generation"] == 1);
    Ok(())
}

#[test]
fn a_controller_that_is_killed_in_the_middle_brings_a_patch_to_its_end() -> Result<()> {
    let mut stage = Stage::new("torn", 2, "")?;
    let load = stage.load()?;
    let patch = "  patch: { spec: { containers: [{ name: app, env: [{ name: FLAG, value: \"on\" }] }] } }\n";
    stage.world.apply(&deploy("hello:v2", patch))?;
    for kill in 0..8_u64 {
        let (since, length) = (std::time::Instant::now(), std::time::Duration::from_millis(200 + kill * 397 % 900));
        poll::until("a moment", PATIENCE, || if since.elapsed() > length { Ok(()) } else { Err("not yet") })?;
        stage.world.controller.kill();
        stage.world.controller.restart()?;
    }
    stage.until("Promoted")?;
    load.stop_clean()?;
    ensure!(runs(&stage, "hello")? == is("hello:v2", "on"), "{:?}", runs(&stage, "hello")?);
    Ok(())
}
