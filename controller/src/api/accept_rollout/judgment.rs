//! A Judgment from written to meant.

use super::{Judgment, Said, parts};
use crate::api::{
    accept::{Refusal, refuse},
    judgment::{DecisionKind, JudgmentSpec},
};
use sluicegate_core::name;

/// What this document means.
pub fn judgment(name: String, written: &JudgmentSpec) -> Result<Judgment, Refusal> {
    let at = |field: &'static str| ["spec".into(), field.into()];
    let rollout = parts::full_name(&name, &written.rollout);
    if name::split(&rollout).is_err() {
        let message = format!("rollout {:?} must be NAME or NAMESPACE/NAME of a CanaryDeploy", written.rollout);
        return refuse(at("rollout"), message);
    }
    let step = match written.step {
        Some(0) => return refuse(at("step"), "steps count from 1"),
        step => step.map(|s| usize::try_from(s - 1).unwrap_or(usize::MAX)),
    };
    let over_fail = written.over_fail.unwrap_or(false);
    let said = match (written.verdict, written.decision) {
        (Some(_), _) if over_fail => {
            return refuse(at("override"), "override is for persons; leave out verdict, or override");
        }
        (Some(verdict), decision) => {
            Said::Evidence { verdict, decision, evidence: written.evidence.clone().unwrap_or_default() }
        }
        (None, None) => {
            return refuse(
                at("decision"),
                "the decision is missing; write decision: continue, promote, rollback or undo",
            );
        }
        (None, Some(DecisionKind::Rollback | DecisionKind::Undo)) if over_fail => {
            return refuse(
                at("override"),
                "override goes with continue and promote; nothing keeps you from rolling back",
            );
        }
        (None, Some(_)) if written.evidence.is_some() => {
            return refuse(at("evidence"), "evidence goes with a verdict; say why you decided so in reason");
        }
        (None, Some(decision)) => match written.by.as_deref().map(str::trim) {
            Some(by) if !by.is_empty() => Said::Person { decision, by: by.to_owned(), over_fail },
            _ => return refuse(at("by"), "say who decided; write for example by: alice"),
        },
    };
    Ok(Judgment { rollout, version: written.version.clone(), step, said, reason: written.reason.clone(), name })
}
