//! Where a rollout is in the words of Kubernetes, for `kubectl wait` and for alerts. Pure.

use super::view::View;
use crate::admin::model::Condition;
use jiff::Timestamp;

/// Progressing, Judged, Promoted, RolledBack and Stalled. `before`: as they were, to tell since when they are so.
pub fn conditions(view: &View, before: &[Condition], now: Timestamp) -> Vec<Condition> {
    let all = [progressing(view), judged(view), promoted(view), rolled_back(view), stalled(view)];
    let dated = |(kind, (status, reason, message)): (&str, (&str, &str, String))| {
        let same = before.iter().find(|condition| condition.kind == kind && condition.status == status);
        Condition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: same.map_or(now, |condition| condition.last_transition_time),
            observed_generation: None,
        }
    };
    ["Progressing", "Judged", "Promoted", "RolledBack", "Stalled"].into_iter().zip(all).map(dated).collect()
}

type Told<'a> = (&'static str, &'a str, String);

fn progressing(view: &View) -> Told<'_> {
    if let Some(version) = &view.pending {
        return ("True", "Pending", format!("{version} is wanted, and not begun yet"));
    }
    match view.phase.as_str() {
        "" => ("Unknown", "Unknown", view.waits.clone()),
        "Idle" | "Off" | "On" | "Promoted" | "RolledBack" | "Gone" => ("False", &view.phase, view.waits.clone()),
        _ if view.paused => ("False", "Paused", view.waits.clone()),
        phase => ("True", phase, format!("waits for {}", view.waits)),
    }
}

fn judged(view: &View) -> Told<'_> {
    let reasons = view.evidence.as_ref().and_then(|evidence| evidence.get("reasons")?.as_array());
    let reasons: Vec<_> = reasons.into_iter().flatten().filter_map(|reason| reason.as_str()).collect();
    let metrics = view.metrics.iter().flat_map(|reading| &reading.judgment.reasons).map(String::as_str);
    let reasons = reasons.into_iter().chain(metrics).collect::<Vec<_>>().join("; ");
    match view.verdict.as_deref() {
        Some("pass") => ("True", "Pass", reasons),
        Some("fail") => ("True", "Fail", reasons),
        Some(_) => ("False", "Inconclusive", reasons),
        None => ("False", "NothingYet", "nothing was judged yet".to_owned()),
    }
}

fn promoted(view: &View) -> Told<'_> {
    match view.phase.as_str() {
        "Promoted" if view.pending.is_none() => ("True", "Promoted", format!("main runs {}", view.stable)),
        _ => ("False", phase_or(view), format!("main runs {}", view.stable)),
    }
}

fn rolled_back(view: &View) -> Told<'_> {
    match view.phase.as_str() {
        "RolledBack" if view.pending.is_none() => ("True", "RolledBack", view.why.clone().unwrap_or_default()),
        _ => ("False", phase_or(view), view.why.clone().unwrap_or_default()),
    }
}

fn stalled(view: &View) -> Told<'_> {
    match (&view.trouble, &view.overdue) {
        (Some(trouble), _) => ("True", "Trouble", trouble.clone()),
        (None, Some(overdue)) => ("True", overdue, format!("waits for {}", view.waits)),
        (None, None) => ("False", "Moving", String::new()),
    }
}

/// A reason may not be empty.
fn phase_or(view: &View) -> &str {
    match view.phase.as_str() {
        _ if view.pending.is_some() => "Pending",
        "" => "Unknown",
        phase => phase,
    }
}
