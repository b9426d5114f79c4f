//! From what the files say to the rollouts that are wanted. Pure.
//!
//! The rules are those of splits: a mistake leaves the last good version wanted; only a document that is really gone
//! is a deletion.

use super::{Complaint, plan::Source};
use crate::{
    api::{
        accept_rollout::{Deploy, Judgment, Said, Test},
        document::{Document, Meaning},
        nearest::hint,
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
                Ok(Meaning::Deploy(deploy)) => Some(Wanted::Deploy(Arc::new(Deploy::clone(deploy)))),
                Ok(Meaning::Test(test)) => Some(Wanted::Test(Arc::new(Test::clone(test)))),
                // Refused, as is said elsewhere: what it said before stays.
                _ => before.get(name).map(|found| found.wanted.clone()),
            };
            let Some(wanted) = found else { continue };
            match all.get(name) {
                None => {
                    all.insert(
                        name.clone(),
                        Found { wanted, file: source.file.clone(), generation: None, judgments: Vec::new() },
                    );
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
    for (name, found) in before {
        let kept = doubtful.contains(found.file.as_str()) && !all.contains_key(name);
        if kept {
            all.insert(name.clone(), found.clone());
        }
    }
    complaints.extend(judge(&mut all, sources));
    (all, complaints)
}

/// Hands the Judgments of persons to the rollouts they are about; returns what is wrong with them.
fn judge(all: &mut AllWanted, sources: &[Source]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for found in all.values_mut() {
        found.judgments.clear();
    }
    for source in sources {
        for document in &source.documents {
            let Ok(Meaning::Judgment(judgment)) = &document.meaning else { continue };
            if !matches!(judgment.said, Said::Person { .. }) {
                continue;
            }
            match all.get_mut(&judgment.rollout) {
                Some(found) => found.judgments.push(Arc::new(Judgment::clone(judgment))),
                None => {
                    let names = all.keys().map(String::as_str);
                    let message = format!(
                        "there is no CanaryDeploy {:?} that this Judgment could be about{}",
                        judgment.rollout,
                        hint(&judgment.rollout, names)
                    );
                    complaints.push(refused(source, document, "NoSuchRollout", message));
                }
            }
        }
    }
    for found in all.values_mut() {
        found.judgments.sort_by(|a, b| a.name.cmp(&b.name));
    }
    complaints
}

fn refused(source: &Source, document: &Document, reason: &'static str, message: String) -> Complaint {
    let (file, place) = (source.file.clone(), Some(document.place));
    Complaint { file, place, split: None, refused: true, reason, message }
}
