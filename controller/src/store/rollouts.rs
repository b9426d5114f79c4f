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
                Some(first) => complaints.push(Complaint {
                    file: source.file.clone(),
                    place: Some(document.place),
                    split: None,
                    refused: true,
                    reason: "Duplicate",
                    message: format!(
                        "there is already a {} in {}; give this one another name or delete it",
                        first.wanted.title(),
                        first.file
                    ),
                }),
            }
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
