//! The status of a pod, as the API wants it. In: what is known of its containers. Out: JSON.

use std::fmt::Display;

use serde_json::{Value, json};

/// The same moment for everything: what only has to be some valid time.
pub(crate) const ONCE: &str = "2026-01-01T00:00:00Z";

/// How a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does not run, and why: `ContainerCreating`, `CrashLoopBackOff`, `ImagePullBackOff`; with a message.
    Waiting(&'static str, String),
    Running,
    /// It has ended for good, with this code.
    Ended(i32),
}

/// One container, as it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) state: State,
    pub(crate) ready: bool,
    pub(crate) restarts: u32,
}

/// The whole status of a pod at this address.
pub(crate) fn of(all: &[Told], address: &impl Display) -> Value {
    let address = address.to_string();
    let ready = !all.is_empty() && all.iter().all(|one| one.ready);
    let ended = all.iter().all(|one| matches!(one.state, State::Ended(_)));
    let failed = all.iter().any(|one| matches!(one.state, State::Ended(code) if code != 0));
    let creating = all.iter().any(|one| matches!(one.state, State::Waiting(why, _) if why != "CrashLoopBackOff"));
    let phase = match (ended, failed, creating) {
        (true, true, _) => "Failed",
        (true, false, _) => "Succeeded",
        (_, _, true) => "Pending",
        _ => "Running",
    };
    let condition = |kind: &str, yes: bool| json!({ "type": kind, "status": if yes { "True" } else { "False" }, "lastTransitionTime": ONCE });
    json!({
        "phase": phase,
        "startTime": ONCE,
        "podIP": address,
        "podIPs": [{ "ip": address }],
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
        "containerStatuses": all.iter().map(container).collect::<Vec<_>>(),
    })
}

fn container(one: &Told) -> Value {
    let state = match &one.state {
        State::Waiting(reason, message) => json!({ "waiting": { "reason": reason, "message": message } }),
        State::Running => json!({ "running": { "startedAt": ONCE } }),
        State::Ended(code) => json!({ "terminated": {
            "exitCode": code, "reason": if *code == 0 { "Completed" } else { "Error" }, "startedAt": ONCE, "finishedAt": ONCE,
        } }),
    };
    json!({
        "name": one.name, "image": one.image, "imageID": one.image, "restartCount": one.restarts,
        "ready": one.ready, "started": matches!(one.state, State::Running), "state": state,
    })
}
