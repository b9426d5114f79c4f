//! From what the files say to the rollouts that are wanted. Pure.
//!
//! The rules are those of splits: a mistake leaves the last good version wanted; only a document that is really gone
//! is a deletion.

use super::{Complaint, plan::Source};
use crate::{
    api::{
        accept_rollout::{Deploy, Test},
        document::{Document, Meaning},
    },
    rollouts::{AllWanted, Found, Wanted},
};
use std::{collections::BTreeSet, sync::Arc};

const KINDS: [&str; 2] = ["CanaryDeploy", "CanaryTest"];

/// What is wanted now, and what is wrong that nobody else says.
pub fn wanted(before: &AllWanted, sources: &[Source]) -> (AllWanted, Vec<Complaint>) {
    let (mut all, mut complaints) = (AllWanted::new(), Vec::new());
    let mut doubtful = BTreeSet::new();
    for source in sources {
        if source.fault.is_some() || source.documents.iter().any(|d| d.name.is_none() && d.problem().is_some()) {
            doubtful.insert(source.file.as_str());
        }
        let ours = |d: &&Document| d.kind.as_deref().is_some_and(|kind| KINDS.contains(&kind));
        for document in source.documents.iter().filter(ours) {
            let Some(name) = &document.name else { continue };
            let found = match &document.meaning {
                // Half of what a user asked for is not what they asked for: without its gate or its metrics a rollout
                // would go on where they wanted it stopped.
                Ok(Meaning::Deploy(deploy)) if !not_yet(deploy).is_empty() => {
                    complaints.push(refused(source, document, "NotSupported", not_yet(deploy).join("; ")));
                    before.get(name).map(|found| found.wanted.clone())
                }
                Ok(Meaning::Deploy(deploy)) => Some(Wanted::Deploy(Arc::new(Deploy::clone(deploy)))),
                Ok(Meaning::Test(test)) => Some(Wanted::Test(Arc::new(Test::clone(test)))),
                // Refused, as is said elsewhere: what it said before stays.
                _ => before.get(name).map(|found| found.wanted.clone()),
            };
            let Some(wanted) = found else { continue };
            match all.get(name) {
                None => {
                    all.insert(name.clone(), Found { wanted, file: source.file.clone() });
                }
                Some(first) => {
                    let message = format!(
                        "there is already a {} in {}; give this one another name or delete it",
                        first.wanted.title(),
                        first.file
                    );
                    complaints.push(refused(source, document, "Duplicate", message));
                }
            }
        }
    }
    for source in sources {
        for document in source.documents.iter().filter(|d| matches!(d.meaning, Ok(Meaning::Judgment(_)))) {
            let message =
                "a Judgment in the folder is not acted on yet; say `sluicegate continue NAME` or `rollback NAME`";
            complaints.push(refused(source, document, "NotSupported", message.to_owned()));
        }
    }
    for (name, found) in before {
        let kept = doubtful.contains(found.file.as_str()) && !all.contains_key(name);
        if kept {
            all.insert(name.clone(), found.clone());
        }
    }
    (all, complaints)
}

/// What this version reads and would not do.
fn not_yet(deploy: &Deploy) -> Vec<&'static str> {
    let mut all = Vec::new();
    if !deploy.webhooks.is_empty() {
        all.push("webhooks are not called yet by this version; leave them out");
    }
    if !deploy.judging.metrics.is_empty() {
        all.push("judge.metrics are not judged yet by this version; leave them out and judge by errors and latency");
    }
    if deploy.paused {
        all.push("paused is not acted on yet by this version; leave it out and say `sluicegate pause NAME`");
    }
    all
}

fn refused(source: &Source, document: &Document, reason: &'static str, message: String) -> Complaint {
    let (file, place) = (source.file.clone(), Some(document.place));
    Complaint { file, place, split: None, refused: true, reason, message }
}
