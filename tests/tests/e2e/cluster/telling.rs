//! What people see with `kubectl` alone: Events of a rollout, and what became of their Judgments.

use super::condition;
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::kube;
use sluicegate_tests::kube::PATIENCE;
use sluicegate_tests::kube_lab::{KubeLab, rollout_yaml};
use sluicegate_tests::poll;

fn judgment(name: &str, spec: Value) -> String {
    let object = json!({
        "apiVersion": "sluicegate.dev/v1alpha1", "kind": "Judgment", "metadata": { "name": name }, "spec": spec,
    });
    object.to_string()
}

fn applied(lab: &KubeLab, name: &str, status: &str) -> Result<Value> {
    poll::until(&format!("judgment {name} to be Applied={status}"), PATIENCE, || {
        let object = lab.object("judgments", name).map_err(|why| format!("{why:#}"))?;
        let found = condition(&object, "Applied");
        if found["status"] == status { Ok(found.clone()) } else { Err(object["status"].to_string()) }
    })
}

#[test]
fn events_tell_a_rollout_and_judgments_what_became_of_them() -> Result<()> {
    let cluster = kube::shared()?;
    let lab = KubeLab::start(cluster, &cluster.namespace("telling")?, 2)?;
    let spec = "  steps: [{ weight: 10, judge: manual }, { weight: 50, judge: manual }]\n  hold: 1s\n";
    lab.apply(&rollout_yaml("CanaryDeploy", "hello:v1", spec))?;
    lab.until("the rollout to be idle", "canarydeploys", |o| o["status"]["phase"] == "Idle")?;
    lab.apply(&judgment("early", json!({ "rollout": "hello", "step": 2, "decision": "continue", "by": "ada" })))?;
    applied(&lab, "early", "Unknown")?;
    lab.apply(&rollout_yaml("CanaryDeploy", "hello:v2", spec))?;
    lab.until("the first step", "canarydeploys", |o| o["status"]["phase"] == "Hold" && o["status"]["step"] == "1/2")?;
    applied(&lab, "early", "Unknown")?;
    lab.apply(&judgment("go", json!({ "rollout": "hello", "step": 1, "decision": "continue", "by": "ada" })))?;
    let done = applied(&lab, "go", "True")?;
    ensure!(done["reason"] == "CarriedOut", "{done}");
    // The one of the second step had its moment then.
    applied(&lab, "early", "True")?;
    lab.until("promotion", "canarydeploys", |o| o["status"]["phase"] == "Promoted")?;
    lab.apply(&judgment(
        "late",
        json!({ "rollout": "hello", "version": "app=hello:v2", "decision": "rollback", "by": "ada" }),
    ))?;
    let late = applied(&lab, "late", "False")?;
    ensure!(late["message"].as_str().is_some_and(|why| why.contains("which is over")), "{late}");

    let events = poll::until("the last event", PATIENCE, || {
        let events = lab.kubectl(&["events", "--for", "canarydeploy/hello"]).map_err(|why| format!("{why:#}"))?;
        if events.contains("is promoted") && events.contains("Judgment") { Ok(events) } else { Err(events) }
    })?;
    for said in ["pods of app=hello:v2 get ready", "step 1 of 2 (10 %)", "ada said continue", "Warning"] {
        ensure!(events.contains(said), "{said:?} is missing:\n{events}");
    }
    let all = lab.kubectl(&["get", "events.events.k8s.io", "-o", "json"])?;
    let all: Value = serde_json::from_str(&all)?;
    let ours = |one: &&Value| one["reportingController"] == "sluicegate.dev/controller";
    let mut notes: Vec<_> = all["items"].as_array().into_iter().flatten().filter(ours).collect();
    let count = notes.len();
    notes.sort_by_key(|one| format!("{}{}", one["eventTime"], one["note"]));
    notes.dedup_by_key(|one| format!("{}{}", one["eventTime"], one["note"]));
    ensure!(count == notes.len() && count >= 8, "{count} events, {} of them different", notes.len());
    Ok(())
}
