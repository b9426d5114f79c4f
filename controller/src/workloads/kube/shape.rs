//! What a copy of a Deployment looks like, and what a Deployment says of itself. Pure.
//!
//! A version is one text made of images: `app=registry/app:v2,proxy=registry/proxy:v1`; where more than images is rolled
//! out, also of a hash of that, and an annotation says which one a Deployment was told.

use crate::workloads::{Care, Role, Target, Workload};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, Pod},
};
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

/// On Deployments: the version they were told.
pub const VERSION: &str = "sluicegate.dev/version";
/// On the pods of a main that belongs to a rollout, and in its selector: its name.
const WORKLOAD: &str = "sluicegate.dev/workload";
/// Reasons to wait that everybody has for a moment.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// What a copy takes over from main beside the template.
const KEPT: [&str; 4] = ["strategy", "minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit"];

/// The version a Deployment was told to run; an error when a container is missing.
pub fn version(deployment: &Deployment, care: &Care) -> Result<String, String> {
    let spec = deployment.spec.template.spec.as_ref();
    let all = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let runs = |container: &Container| (container.name.clone(), container.image.clone().unwrap_or_default());
    let all: Vec<_> = all.iter().map(runs).collect();
    if care.content.is_some() {
        // By hand it may have got other images since.
        let annotations = deployment.metadata.annotations.as_ref();
        let told = annotations.and_then(|annotations| annotations.get(VERSION));
        let is_so = |told: &&String| pairs(told).all(|(name, image)| all.iter().any(|(c, i)| c == name && i == image));
        let images = || all.iter().map(|(name, image)| format!("{name}={image}")).collect::<Vec<_>>().join(",");
        return Ok(told.filter(is_so).cloned().unwrap_or_else(images));
    }
    let one = |name: &String| {
        let found = all.iter().find(|(container, _)| container == name);
        found.map(|(name, image)| format!("{name}={image}")).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|(name, _)| name.as_str()).collect();
            format!("it has no container {name:?}, which images names; it has {}", names.join(", "))
        })
    };
    Ok(care.containers.iter().map(one).collect::<Result<Vec<_>, _>>()?.join(","))
}

/// A Deployment as a group of pods.
pub fn observe(deployment: &Deployment, care: &Care) -> Result<Workload, String> {
    let version = version(deployment, care)?;
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

/// The images of a version, as a patch of a pod template.
pub fn images(version: &str) -> Value {
    let all: Vec<_> = pairs(version).map(|(container, image)| json!({ "name": container, "image": image })).collect();
    json!({ "spec": { "containers": all } })
}

fn pairs(version: &str) -> impl Iterator<Item = (&str, &str)> {
    version.split(',').filter_map(|pair| pair.split_once('='))
}

/// A pod template with the images of a version in it.
pub fn with_images(mut template: Value, version: &str) -> Value {
    if let Some(containers) = template["spec"]["containers"].as_array_mut() {
        for container in containers {
            let image = pairs(version).find(|(name, _)| container["name"] == *name);
            if let Some((_, image)) = image {
                container["image"] = json!(image);
            }
        }
    }
    template
}

/// The pod template of a Deployment.
pub fn template(deployment: &DynamicObject) -> Value {
    deployment.data["spec"].get("template").cloned().unwrap_or_else(|| json!({}))
}

/// A copy of main for another role, with these pods.
pub fn copy(main: &DynamicObject, template: Value, role: Role, role_label: &str, target: &Target) -> Value {
    let old = &main.data["spec"];
    let mut spec: Map<String, Value> =
        KEPT.into_iter().filter_map(|field| Some((field.to_owned(), old.get(field)?.clone()))).collect();
    let mut selector = old.get("selector").cloned().unwrap_or_else(|| json!({}));
    selector["matchLabels"][role_label] = json!(role.name());
    spec.insert("selector".to_owned(), selector);
    // Of a template of the user the selector's labels are ours to see to.
    let template = labelled(template, main, role_label, role);
    spec.insert("replicas".to_owned(), json!(target.replicas));
    spec.insert("template".to_owned(), template);
    json!({ "metadata": metadata(role, role_label, target), "spec": spec })
}

fn metadata(role: Role, role_label: &str, target: &Target) -> Value {
    json!({
        "labels": { role_label: role.name(), "app.kubernetes.io/managed-by": "sluicegate" },
        "annotations": { VERSION: target.version },
    })
}

/// The same pods by the selector of `main`, in this role.
fn labelled(mut template: Value, main: &DynamicObject, role_label: &str, role: Role) -> Value {
    let selector = main.data["spec"]["selector"]["matchLabels"].as_object().cloned().unwrap_or_default();
    for (key, value) in selector {
        template["metadata"]["labels"][key] = value;
    }
    template["metadata"]["labels"][role_label] = json!(role.name());
    template
}

/// A main that belongs to a rollout.
pub fn own_main(name: &str, mut template: Value, role_label: &str, target: &Target) -> Value {
    let labels = json!({ WORKLOAD: name, role_label: Role::Main.name() });
    for (key, value) in labels.as_object().into_iter().flatten() {
        template["metadata"]["labels"][key] = value.clone();
    }
    json!({
        "metadata": metadata(Role::Main, role_label, target),
        "spec": { "replicas": target.replicas, "selector": { "matchLabels": labels }, "template": template },
    })
}

/// What makes main run these pods and no others, as a patch of it.
pub fn replaced(main: &DynamicObject, template: Value, role_label: &str) -> Value {
    let role = main.data["spec"]["template"]["metadata"]["labels"].get(role_label).cloned();
    let mut template = labelled(template, main, role_label, Role::Main);
    if role.is_none()
        && let Some(labels) = template["metadata"]["labels"].as_object_mut()
    {
        labels.remove(role_label);
    }
    template["$patch"] = json!("replace");
    template
}
