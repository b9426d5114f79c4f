//! From what the files say and what is in force to what changes. Pure: the same files and the same memory give the same
//! plan.
//!
//! The rules: a mistake leaves the last good version in force; what is in force has the older right to its name and to
//! its hosts; only a document that is really gone deletes its split.

use super::{Complaint, state::Known};
use crate::api::document::{Document, FOREIGN, Meaning};
use sluicegate_core::spec::SplitSpec;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A file as it was last read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Source {
    /// Its name in the folder.
    pub file: String,
    /// What is in it.
    pub documents: Vec<Document>,
    /// Why it could not be read.
    pub fault: Option<String>,
}

/// What is to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// New or changed, with the file it comes from; generations are still 0.
    pub put: Vec<(SplitSpec, String)>,
    /// To be deleted.
    pub delete: Vec<String>,
    /// Unchanged, but in another file now.
    pub moved: Vec<(String, String)>,
    /// What is wrong.
    pub complaints: Vec<Complaint>,
}

struct Candidate<'a> {
    file: &'a str,
    document: &'a Document,
}

/// Makes the plan.
pub fn plan(known: &BTreeMap<String, Known>, sources: &[Source]) -> Plan {
    let mut plan = Plan::default();
    let mut candidates: BTreeMap<&str, Vec<Candidate<'_>>> = BTreeMap::new();
    // Files of which something is missing that may have been anything.
    let mut doubtful = BTreeSet::new();
    for source in sources {
        let file = source.file.as_str();
        let had: Vec<_> = known.iter().filter(|(_, k)| k.is_live() && k.file == file).map(|(n, _)| n).collect();
        let fault = match &source.fault {
            Some(fault) => Some(fault.clone()),
            None if source.documents.is_empty() && !had.is_empty() => {
                Some("the file is empty; its splits stay in force until the file is deleted".to_owned())
            }
            None => None,
        };
        if let Some(fault) = fault {
            doubtful.insert(file);
            let about = |split| complaint(file, None, split, true, "Unreadable", fault.clone());
            plan.complaints.push(about(None));
            plan.complaints.extend(had.into_iter().map(|name| about(Some(name.clone()))));
        }
        for document in &source.documents {
            match (&document.name, &document.meaning) {
                (Some(name), _) if document.is_split() => {
                    candidates.entry(name).or_default().push(Candidate { file, document });
                }
                (_, Err(problem)) if problem.reason == FOREIGN => {}
                (_, Err(problem)) => {
                    // Another kind cannot have been a split.
                    if !document.is_of_other_kind() {
                        doubtful.insert(file);
                    }
                    let message = problem.message.clone();
                    plan.complaints.push(complaint(file, Some(document), None, true, problem.reason, message));
                }
                (_, Ok(_)) => {}
            }
        }
    }
    let mut wanted: BTreeMap<&str, (&SplitSpec, &Candidate<'_>)> = BTreeMap::new();
    for (name, documents) in &candidates {
        let home = known.get(*name).filter(|k| k.is_live()).map(|k| k.file.as_str());
        let owner = documents.iter().position(|c| Some(c.file) == home).unwrap_or(0);
        let Some(first) = documents.get(owner) else { continue };
        for (_, other) in documents.iter().enumerate().filter(|(i, _)| *i != owner) {
            let message = format!(
                "there is already a split {name} in {}:{}, which is in force; give this one another name or delete it",
                first.file, first.document.place.line
            );
            let about = Some((*name).to_owned());
            plan.complaints.push(complaint(other.file, Some(other.document), about, false, "Duplicate", message));
        }
        match &first.document.meaning {
            Ok(Meaning::Split(split)) => {
                wanted.insert(name, (split, first));
            }
            Ok(_) => {}
            Err(problem) => {
                let about = Some((*name).to_owned());
                let message = problem.message.clone();
                let told = complaint(first.file, Some(first.document), about, true, problem.reason, message);
                plan.complaints.push(told);
            }
        }
    }
    refuse_taken_hosts(known, &mut wanted, &mut plan.complaints);
    for (name, (split, at)) in &wanted {
        match known.get(*name).and_then(|k| k.split.as_ref().map(|s| (k, s))) {
            Some((k, in_force)) if is_same(in_force, split) => {
                if k.file != at.file {
                    plan.moved.push(((*name).to_owned(), at.file.to_owned()));
                }
            }
            _ => plan.put.push(((*split).clone(), at.file.to_owned())),
        }
    }
    let gone = known.iter().filter(|(name, k)| {
        k.is_live() && !candidates.contains_key(name.as_str()) && !doubtful.contains(k.file.as_str())
    });
    plan.delete = gone.map(|(name, _)| name.clone()).collect();
    plan
}

/// The same but for the generation.
fn is_same(a: &SplitSpec, b: &SplitSpec) -> bool {
    SplitSpec { generation: 0, ..a.clone() } == SplitSpec { generation: 0, ..b.clone() }
}

fn complaint(
    file: &str,
    document: Option<&Document>,
    split: Option<String>,
    refused: bool,
    reason: &'static str,
    message: String,
) -> Complaint {
    let place = document.map(|d| d.problem().map_or(d.place, |problem| problem.place));
    Complaint { file: file.to_owned(), place, split, refused, reason, message }
}

/// Takes out of `wanted` what lists a host that another split has. What is in force has no such conflicts, and it
/// claims first; so each refusal, which puts a version in force back, can only cause refusals of newer ones.
fn refuse_taken_hosts(
    known: &BTreeMap<String, Known>,
    wanted: &mut BTreeMap<&str, (&SplitSpec, &Candidate<'_>)>,
    complaints: &mut Vec<Complaint>,
) {
    let in_force = |name: &str| known.get(name).and_then(|k| k.split.as_ref());
    loop {
        let mut taken: HashMap<&str, &str> = HashMap::new();
        // Splits whose version in force stays, and hosts that a split keeps.
        for (name, k) in known {
            let Some(split) = &k.split else { continue };
            for host in &split.hosts {
                let keeps = wanted.get(name.as_str()).is_none_or(|(new, _)| new.hosts.contains(host));
                if keeps {
                    taken.insert(host, name);
                }
            }
        }
        let mut refused = None;
        'splits: for (name, (split, at)) in wanted.iter() {
            for host in &split.hosts {
                match taken.get(host.as_str()) {
                    Some(other) if other != name => {
                        refused = Some((*name, host.clone(), (*other).to_owned(), at.file, at.document));
                        break 'splits;
                    }
                    _ => {
                        taken.insert(host, name);
                    }
                }
            }
        }
        let Some((name, host, other, file, document)) = refused else { return };
        wanted.remove(name);
        let stays = if in_force(name).is_some() { "; the last good version stays in force" } else { "" };
        let message = format!("host {host:?} already belongs to split {other}; a host has one split{stays}");
        complaints.push(complaint(file, Some(document), Some(name.to_owned()), true, "HostTaken", message));
    }
}
