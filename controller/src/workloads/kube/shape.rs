//! What a copy of a Deployment looks like, and what a Deployment says of itself. Pure.
//!
//! A version is one text made of images: `app=registry/app:v2,proxy=registry/proxy:v1`.

use crate::workloads::{Role, Target, Workload};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

/// Reasons to wait that everybody has for a moment.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// What a copy takes over from main beside the template.
const KEPT: [&str; 4] = ["strategy", "minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit"];

/// The version a Deployment was told to run; an error when a container is missing.
pub fn version(deployment: &Deployment, containers: &[String]) -> Result<String, String> {
    let spec = deployment.spec.template.spec.as_ref();
    let all = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let one = |name: &String| {
        let found = all.iter().find(|container| container.name == *name);
        found.map(|c| format!("{name}={}", c.image.as_deref().unwrap_or_default())).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|container| container.name.as_str()).collect();
            format!("it has no container {name:?}, which images names; it has {}", names.join(", "))
        })
    };
    Ok(containers.iter().map(one).collect::<Result<Vec<_>, _>>()?.join(","))
}

/// A Deployment as a group of pods.
pub fn observe(deployment: &Deployment, containers: &[String]) -> Result<Workload, String> {
    let version = version(deployment, containers)?;
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let current = status.observed_generation >= deployment.metadata.generation
        && deployment.metadata.deletion_timestamp.is_none();
    let count = |number: Option<i32>| number.unwrap_or(0).max(0);
    let (all, updated) = (count(status.replicas), count(status.updated_replicas));
    // Ready pods may be those of the version before.
    let ready = (count(status.ready_replicas) - (all - updated).max(0)).clamp(0, updated);
    Ok(Workload {
        version,
        replicas: wanted.max(0).unsigned_abs(),
        // What is not yet seen to be settled still serves; a rollback shares requests out by that.
        ready: if current { ready } else { ready.min(wanted.max(0)) }.unsigned_abs(),
        settled: current && all == wanted && updated == wanted,
        trouble: None,
        floor: None,
    })
}

/// The selector of its pods, as text.
pub fn selector(deployment: &Deployment) -> Option<String> {
    let labels = deployment.spec.selector.match_labels.as_ref()?;
    let all: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (!all.is_empty()).then(|| all.join(","))
}

/// A label of its pods.
pub fn label<'a>(deployment: &'a Deployment, key: &str) -> Option<&'a str> {
    let template = &deployment.spec.template;
    template.metadata.as_ref()?.labels.as_ref()?.get(key).map(String::as_str)
}

/// Why the first of these pods that has something to say is not ready.
pub fn trouble<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<String> {
    pods.filter_map(|pod| {
        let status = pod.status.as_ref()?;
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let of_kind = |all: &'a Option<Vec<_>>| all.iter().flatten();
        let containers = of_kind(&status.init_container_statuses).chain(of_kind(&status.container_statuses));
        let waiting = containers.filter_map(|container| {
            let waiting = container.state.as_ref()?.waiting.as_ref()?;
            let reason = waiting.reason.as_deref().filter(|reason| !ORDINARY.contains(reason))?;
            let message = waiting.message.as_deref().map_or_else(String::new, |text| format!(": {text}"));
            Some(format!("pod {name}: {reason}{message}"))
        });
        let unscheduled =
            status.conditions.iter().flatten().filter(|c| c.type_ == "PodScheduled" && c.status == "False");
        let unscheduled = unscheduled.map(|c| {
            format!("pod {name}: {}", c.message.as_deref().or(c.reason.as_deref()).unwrap_or("not scheduled"))
        });
        waiting.chain(unscheduled).next()
    })
    .next()
}

/// Why no pod can be made at all.
pub fn complaint(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.iter().flatten();
    let failed =
        conditions.filter(|c| c.type_.as_deref() == Some("ReplicaFailure") && c.status.as_deref() == Some("True"));
    failed.filter_map(|c| c.message.clone()).next()
}

/// It belongs to the rollout with this uid; one that is not there any more owns nothing.
pub fn is_owned(deployment: &Deployment, uid: Option<&str>) -> bool {
    deployment.metadata.owner_references.iter().flatten().any(|owner| Some(owner.uid.as_str()) == uid)
}

/// The containers of a pod with the images of a version, and nothing else.
pub fn images(version: &str) -> Value {
    let all: Vec<_> = pairs(version).map(|(container, image)| json!({ "name": container, "image": image })).collect();
    json!({ "containers": all })
}

fn pairs(version: &str) -> impl Iterator<Item = (&str, &str)> {
    version.split(',').filter_map(|pair| pair.split_once('='))
}

/// A copy of main for another role.
pub fn copy(main: &DynamicObject, role: Role, role_label: &str, target: &Target) -> Value {
    let old = &main.data["spec"];
    let mut spec: Map<String, Value> = KEPT
        .into_iter()
        .filter_map(|field| Some((field.to_owned(), old.get(field)?.clone())))
        .chain([("replicas".to_owned(), json!(target.replicas))])
        .collect();
    let mut selector = old.get("selector").cloned().unwrap_or_else(|| json!({}));
    selector["matchLabels"][role_label] = json!(role.name());
    spec.insert("selector".to_owned(), selector);
    let mut template = old.get("template").cloned().unwrap_or_else(|| json!({}));
    template["metadata"]["labels"][role_label] = json!(role.name());
    if let Some(containers) = template["spec"]["containers"].as_array_mut() {
        for container in containers {
            let image = pairs(&target.version).find(|(name, _)| container["name"] == *name);
            if let Some((_, image)) = image {
                container["image"] = json!(image);
            }
        }
    }
    spec.insert("template".to_owned(), template);
    json!({
        "metadata": { "labels": { role_label: role.name(), "app.kubernetes.io/managed-by": "sluicegate" } },
        "spec": spec,
    })
}
