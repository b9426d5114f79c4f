//! What is asked of a store, checked against what is in force. Pure.

use super::{Complaint, Driven, SetError, Weights, driven, edit::with_weights, plan::Source, state::Known};
use crate::{
    api::{accept_rollout::Test, nearest::hint},
    rollouts::{AllWanted, Wanted},
};
use sluicegate_core::{spec::SplitSpec, split::Split};
use std::{collections::BTreeMap, sync::Arc};

/// A split that is not deleted.
pub fn live<'a>(known: &'a BTreeMap<String, Known>, split: &str) -> Result<(&'a SplitSpec, &'a Known), SetError> {
    match known.get(split) {
        Some(known) if let Some(spec) = &known.split => Ok((spec, known)),
        _ => Err(no_split(known, split)),
    }
}

/// There is no such split; what there is instead.
pub fn no_split(known: &BTreeMap<String, Known>, split: &str) -> SetError {
    let names = || known.iter().filter(|(_, k)| k.is_live()).map(|(n, _)| n.as_str());
    let known = match hint(split, names()) {
        none if none.is_empty() => format!("; there are: {}", names().collect::<Vec<_>>().join(", ")),
        meant => meant,
    };
    SetError::NoSplit { name: split.to_owned(), known }
}

/// A split with new weights by a person.
pub fn weigh(
    split: &str,
    old: &SplitSpec,
    known: &Known,
    complaints: &[Complaint],
    weights: &Weights,
) -> Result<SplitSpec, SetError> {
    if let Some(Driven { by, .. }) = &known.driven {
        return Err(SetError::Driven { split: split.to_owned(), by: by.clone() });
    }
    if let Some(broken) = complaints.iter().find(|c| c.refused && c.split.as_deref() == Some(split)) {
        return Err(SetError::Broken { of: format!("split {split}"), complaint: broken.to_string() });
    }
    if let Some(subset) = weights.keys().find(|name| !old.subsets.iter().any(|s| s.name == **name)) {
        let known = old.subsets.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
        return Err(SetError::NoSubset { split: split.to_owned(), subset: subset.clone(), known });
    }
    let new = with_weights(old, weights);
    match Split::try_from(new.clone()) {
        Ok(_) => Ok(new),
        Err(why) => Err(SetError::Refused { of: format!("split {split}"), why: why.to_string() }),
    }
}

/// A split whose weights `by` holds, or lets go: then it is as it was until the user's own are read. `None`: they are
/// somebody else's to let go.
pub fn drive(
    split: &str,
    old: &SplitSpec,
    known: &Known,
    by: &str,
    weights: Option<Weights>,
) -> Result<Option<(SplitSpec, Option<Driven>)>, SetError> {
    match (&known.driven, &weights) {
        (Some(held), Some(_)) if held.by != by => {
            return Err(SetError::Driven { split: split.to_owned(), by: held.by.clone() });
        }
        (Some(held), None) if held.by != by => return Ok(None),
        _ => {}
    }
    let Some(weights) = weights else { return Ok(Some((old.clone(), None))) };
    let driven = Driven { by: by.to_owned(), weights };
    let spec = driven::with(old, &driven).map_err(|why| SetError::Refused { of: format!("split {split}"), why })?;
    Ok(Some((spec, Some(driven))))
}

/// A CanaryTest that a person may change: it is wanted as its file says.
pub fn test(
    wanted: &AllWanted,
    sources: &[Source],
    complaints: &[Complaint],
    name: &str,
) -> Result<Arc<Test>, SetError> {
    let found = wanted.get(name).ok_or_else(|| SetError::NoTest(name.to_owned()))?;
    let Wanted::Test(test) = &found.wanted else { return Err(SetError::NotByHand(found.wanted.title())) };
    let source = sources.iter().find(|source| source.file == found.file);
    let mut documents = source.into_iter().flat_map(|source| &source.documents);
    let document = documents
        .find(|document| document.name.as_deref() == Some(name) && document.kind.as_deref() == Some("CanaryTest"));
    let broken = match document.map(|document| document.problem().map(|problem| problem.place)) {
        Some(None) => return Ok(Arc::clone(test)),
        Some(place) => complaints.iter().find(|c| c.file == found.file && c.place == place),
        // It may be the one that cannot be read at all.
        None => complaints.iter().find(|c| c.refused && c.file == found.file),
    };
    let complaint = broken.map_or_else(|| format!("{} does not say it any more", found.file), ToString::to_string);
    Err(SetError::Broken { of: found.wanted.title(), complaint })
}
