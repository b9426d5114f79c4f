//! What `sluicegate crds` prints, on a real API server: it takes what the folder takes, and refuses what the folder refuses,
//! by a message with the field and the reason.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate::api::document;
use sluicegate_tests::kube::{self, Cluster, PATIENCE};
use sluicegate_tests::{paths, poll};

mod objects;

/// Kind, `spec`, what is in the message of the API server.
type Bad = (&'static str, Value, &'static [&'static str]);

fn object(kind: &str, spec: &Value) -> Value {
    json!({ "apiVersion": "sluicegate.dev/v1alpha1", "kind": kind, "metadata": { "name": "it" }, "spec": spec })
}

fn path(namespace: &str, kind: &str) -> String {
    format!("/apis/sluicegate.dev/v1alpha1/namespaces/{namespace}/{}s", kind.to_lowercase())
}

/// What the API server says of it, with the strictness of `kubectl apply`; nothing is kept.
fn refusal(cluster: &Cluster, namespace: &str, kind: &str, spec: &Value) -> Result<Option<String>> {
    let target = format!("{}?dryRun=All&fieldValidation=Strict", path(namespace, kind));
    match cluster.api().post(&target, &object(kind, spec)) {
        Ok(_) => Ok(None),
        Err(why) => Ok(Some(format!("{why:#}"))),
    }
}

/// A namespace in which CRDs and policy are at work: the API server takes up a policy some time after it was given.
fn namespace(cluster: &Cluster, prefix: &str) -> Result<String> {
    cluster.install_crds()?;
    let namespace = cluster.namespace(prefix)?;
    let wrong = json!({ "version": "v2", "splits": ["web"], "steps": [40] });
    poll::until("the policy to be at work", PATIENCE, || match refusal(cluster, &namespace, "CanaryDeploy", &wrong) {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    Ok(namespace)
}

fn folder_refusal(kind: &str, spec: &Value) -> Option<String> {
    let documents = document::read(&object(kind, spec).to_string());
    documents.first().and_then(document::Document::problem).map(|problem| problem.message.clone())
}

#[test]
fn examples_are_taken_by_kubectl_apply() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = namespace(cluster, "examples")?;
    for file in
        ["canary.yaml", "canary-deploy.yaml", "canary-test.yaml", "overrides.yaml", "sticky.yaml", "traffic-split.yaml"]
    {
        let path = paths::repo().join("examples").join(file);
        let path = path.to_str().context("a path")?;
        cluster.kubectl(&["-n", &namespace, "apply", "--validate=strict", "-f", path]).context(file)?;
    }
    let table = cluster.kubectl(&["-n", &namespace, "get", "sluicegate"])?;
    ensure!(table.contains("canarydeploy.sluicegate.dev/hello-app") && table.contains("PHASE"), "{table}");
    for short in ["split", "cdeploy", "ctest", "jdg"] {
        ensure!(!cluster.kubectl(&["-n", &namespace, "get", short, "-o", "name"])?.is_empty(), "{short}");
    }
    let deploy = cluster.api().get(&format!("{}/hello-app", path(&namespace, "CanaryDeploy")))?;
    ensure!(deploy["spec"]["steps"][2]["judge"] == "both" && deploy["spec"]["steps"][0] == 1, "{deploy:#}");
    Ok(())
}

#[test]
fn all_ways_to_write_a_field_are_taken() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = namespace(cluster, "good")?;
    for (kind, spec) in objects::good() {
        let said = refusal(cluster, &namespace, kind, &spec)?;
        ensure!(said.is_none(), "{kind} {spec}: {said:?}");
        let said = folder_refusal(kind, &spec);
        ensure!(said.is_none(), "in a folder: {kind} {spec}: {said:?}");
    }
    Ok(())
}

#[test]
fn what_a_folder_refuses_the_api_server_refuses_and_says_why() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = namespace(cluster, "bad")?;
    let mut wrong = Vec::new();
    for (kind, spec, parts) in objects::bad() {
        let said = refusal(cluster, &namespace, kind, &spec)?;
        if !said.as_ref().is_some_and(|said| parts.iter().all(|part| said.contains(part))) {
            wrong.push(format!("{kind} {spec}\n  wanted {parts:?}\n  got {said:?}"));
        }
        if folder_refusal(kind, &spec).is_none() {
            wrong.push(format!("a folder takes {kind} {spec}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // In the words that a person sees.
    let yaml = object("CanaryDeploy", &json!({ "version": "v2", "splits": ["web"], "steps": [1, 10, 40] })).to_string();
    let output = cluster.try_kubectl(&["-n", &namespace, "apply", "-f", "-"], &yaml)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        !output.status.success() && said.contains("spec.steps: the last step is 40, not 50: main has to be"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_tenant_reaches_neither_files_of_the_controller_nor_other_namespaces() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = namespace(cluster, "tenant")?;
    for (kind, spec, parts) in objects::foreign() {
        let said = refusal(cluster, &namespace, kind, &spec)?.unwrap_or_default();
        ensure!(parts.iter().all(|part| said.contains(part)), "{kind} {spec}\n  wanted {parts:?}\n  got {said}");
    }
    Ok(())
}

#[test]
fn what_must_stay_cannot_be_changed() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = namespace(cluster, "fixed")?;
    let make = |kind: &str, spec: Value| cluster.api().post(&path(&namespace, kind), &object(kind, &spec));
    let images = json!({ "app": "app:v1" });
    let template = json!({ "spec": { "containers": [{ "name": "app", "image": "app:v1" }] } });
    make("CanaryDeploy", json!({ "workload": "app", "images": images, "splits": ["app"], "steps": [50] }))?;
    make("Judgment", json!({ "rollout": "app", "decision": "continue", "by": "alice" }))?;
    for (kind, change, part) in [
        ("CanaryDeploy", json!({ "workload": "other" }), "workload cannot be changed"),
        ("CanaryDeploy", json!({ "workload": null, "images": null, "version": "v2" }), "workload cannot be changed"),
        ("CanaryDeploy", json!({ "images": null, "template": template }), "main belongs to a rollout with template"),
        ("CanaryDeploy", json!({ "steps": [10, 40] }), "the last step is 40, not 50"),
        ("Judgment", json!({ "by": "mallory" }), "not changed once it is given"),
        ("Judgment", json!({ "decision": "rollback" }), "not changed once it is given"),
    ] {
        let target = format!("{}/it", path(&namespace, kind));
        let said = cluster.api().patch(&target, &json!({ "spec": change })).err();
        let said = said.map(|why| format!("{why:#}")).unwrap_or_default();
        ensure!(said.contains(part), "{kind} {change}: {said}");
    }
    let target = format!("{}/it", path(&namespace, "CanaryDeploy"));
    cluster.api().patch(&target, &json!({ "spec": { "images": { "app": "app:v2" }, "steps": [10, 50] } }))?;
    // The status is a part of its own: it takes no part in a change of the object, nor the other way round.
    cluster.api().patch(&target, &json!({ "status": { "phase": "Holding" } }))?;
    let status =
        json!({ "status": { "phase": "Progressing", "state": { "anything": [1] } }, "spec": { "steps": [50] } });
    let got = cluster.api().patch(&format!("{target}/status"), &status)?;
    ensure!(got["status"]["phase"] == "Progressing" && got["status"]["state"]["anything"][0] == 1, "{got:#}");
    ensure!(got["spec"]["steps"] == json!([10, 50]) && got["metadata"]["generation"] == 2, "{got:#}");
    Ok(())
}
