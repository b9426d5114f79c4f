//! New weights into the user's YAML, nothing else touched: comments, order and style stay as they are.

use super::Weights;
use crate::api::{
    document::{self, parts},
    tree::{self, Tree},
};
use sluicegate_core::spec::SplitSpec;
use thiserror::Error;

/// Why a text does not let itself be edited.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// The split is not there.
    #[error("it has no readable split {0}")]
    Missing(String),
    /// The number is somewhere else.
    #[error("line {0}: the weight comes from an anchor or a merge, so changing it could change something else")]
    Anchored(u64),
    /// The number is not written as a plain number.
    #[error("line {0}: the weight is not written as a plain number")]
    NotPlain(u64),
    /// The text would mean something else than what was wanted.
    #[error("changing the numbers in place would not give the wanted weights")]
    Unsure,
}

/// The text with these weights of this split (`namespace/name`).
pub fn edit(text: &str, name: &str, weights: &Weights) -> Result<String, EditError> {
    let missing = || EditError::Missing(name.to_owned());
    let before = document::read(text);
    let index = before.iter().position(|d| d.is_split() && d.name.as_deref() == Some(name)).ok_or_else(missing)?;
    let part = *parts(text).get(index).ok_or_else(missing)?;
    let old = before.get(index).and_then(document::Document::split).ok_or_else(missing)?;
    let root = tree::read(part.text).ok_or_else(missing)?;
    let mut edits = Vec::new();
    for (i, subset) in old.subsets.iter().enumerate() {
        let Some(weight) = weights.get(&subset.name).filter(|w| **w != subset.weight) else { continue };
        let path = ["spec".into(), "subsets".into(), i.into(), "weight".into()];
        let node = tree::find(&root, &path).ok_or(EditError::Unsure)?;
        let line = part.lines + node.referenced.line();
        if node.referenced != node.defined {
            return Err(EditError::Anchored(line));
        }
        let span = node.referenced.span();
        let (Some(start), Some(len)) = (span.byte_offset(), span.byte_len()) else { return Err(EditError::Unsure) };
        let range = start as usize..(start + len) as usize;
        let written = part.text.get(range.clone()).ok_or(EditError::Unsure)?;
        if !matches!(node.value, Tree::Scalar) || !written.bytes().all(|b| b.is_ascii_digit()) {
            return Err(EditError::NotPlain(line));
        }
        edits.push((part.offset + range.start..part.offset + range.end, weight.to_string()));
    }
    let mut new = text.to_owned();
    edits.sort_by_key(|(range, _)| range.start);
    for (range, weight) in edits.into_iter().rev() {
        new.replace_range(range, &weight);
    }
    // The proof: read again, everything means what it meant, but for the weights that were to change.
    let mut wanted = before.clone();
    if let Some(Ok(document::Meaning::Split(split))) = wanted.get_mut(index).map(|d| d.meaning.as_mut()) {
        *split = with_weights(split, weights);
    }
    if means_the_same(&document::read(&new), &wanted) { Ok(new) } else { Err(EditError::Unsure) }
}

/// The split with these weights; subsets that are not named keep theirs.
pub fn with_weights(split: &SplitSpec, weights: &Weights) -> SplitSpec {
    let mut new = split.clone();
    for subset in &mut new.subsets {
        if let Some(weight) = weights.get(&subset.name) {
            subset.weight = *weight;
        }
    }
    new
}

/// Places may move: numbers have other lengths now.
fn means_the_same(a: &[document::Document], b: &[document::Document]) -> bool {
    let meaning = |d: &document::Document| (d.name.clone(), d.kind.clone(), d.meaning.clone().ok());
    a.iter().map(meaning).eq(b.iter().map(meaning))
}
