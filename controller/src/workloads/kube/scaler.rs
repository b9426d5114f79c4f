//! A HorizontalPodAutoscaler that scales main, and the pods it is told to leave. Pure.
//!
//! Its `minReplicas` is raised; what it was before is kept in annotations of the same write. Whoever changes it meanwhile
//! says what it is to be afterwards.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::{Value, json};

/// What it is told to leave, as asked for.
const HELD: &str = "sluicegate.dev/held-replicas";
/// Its `minReplicas` before and afterwards.
const BEFORE: &str = "sluicegate.dev/min-replicas";

/// It scales the Deployment of this name in its namespace.
pub fn scales(scaler: &HorizontalPodAutoscaler, deployment: &str) -> bool {
    let target = &scaler.spec.scale_target_ref;
    let group = target.api_version.as_deref().unwrap_or_default().split('/').next();
    target.kind == "Deployment" && target.name == deployment && group == Some("apps")
}

fn annotation(scaler: &HorizontalPodAutoscaler, key: &str) -> Option<u32> {
    scaler.metadata.annotations.as_ref()?.get(key)?.parse().ok()
}

fn least(scaler: &HorizontalPodAutoscaler) -> u32 {
    scaler.spec.min_replicas.unwrap_or(1).max(0).unsigned_abs()
}

/// `minReplicas` that leave so many: not below what its owner wants, and never above its `maxReplicas`.
fn raised(scaler: &HorizontalPodAutoscaler, replicas: u32, before: u32) -> u32 {
    replicas.max(before).min(scaler.spec.max_replicas.max(1).unsigned_abs())
}

/// What it is told to leave; 0: what its owner says.
pub fn told(scaler: &HorizontalPodAutoscaler) -> u32 {
    match (annotation(scaler, HELD), annotation(scaler, BEFORE)) {
        (Some(held), Some(before)) if raised(scaler, held, before) == least(scaler) => held,
        // Half of it: somebody changed the rest. It is told again, or what is left is taken away.
        (Some(_), _) | (_, Some(_)) => u32::MAX,
        (None, None) => 0,
    }
}

/// What to write, so that it leaves so many; 0: what its owner says.
pub fn tell(scaler: &HorizontalPodAutoscaler, replicas: u32) -> Value {
    let (held, before) = (annotation(scaler, HELD), annotation(scaler, BEFORE));
    let own = match (held, before) {
        (Some(held), Some(before)) if raised(scaler, held, before) == least(scaler) => before,
        _ => least(scaler),
    };
    match replicas {
        0 => json!({
            "metadata": { "annotations": { HELD: null, BEFORE: null } },
            "spec": { "minReplicas": own },
        }),
        _ => json!({
            "metadata": { "annotations": { HELD: replicas.to_string(), BEFORE: own.to_string() } },
            "spec": { "minReplicas": raised(scaler, replicas, own) },
        }),
    }
}
