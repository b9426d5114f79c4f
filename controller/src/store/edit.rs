//! New numbers and names into the user's YAML, nothing else touched: comments, order and style stay as they are.

use super::{TestEdit, Weights};
use crate::api::{
    document::{self, Document, Meaning, Part, parts},
    tree::{self, Step, Tree},
};
use serde_saphyr::Spanned;
use sluicegate_core::{rollout::plan::percent, spec::SplitSpec};
use std::ops::Range;
use thiserror::Error;

/// Words that YAML reads as something else than text, in lower case.
const NO_TEXT: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// Why a text does not let itself be edited.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// What is to be edited is not there: kind and name.
    #[error("it has no readable {0}")]
    Missing(String),
    /// The value is somewhere else.
    #[error("line {0}: the {1} comes from an anchor or a merge, so changing it could change something else")]
    Anchored(u64, &'static str),
    /// The value is not written in a way that can be replaced in place.
    #[error("line {0}: the {1} is not written as {2}")]
    NotPlain(u64, &'static str, &'static str),
    /// The test names no version.
    #[error("it tries what images or a patch say, and has no `version:`")]
    Unnamed,
    /// The document may not say that.
    #[error("{0}")]
    Refused(String),
    /// The text would mean something else than what was wanted.
    #[error("changing it in place would not give what is wanted")]
    Unsure,
}

/// One document of a text, to be edited.
struct Target<'a> {
    text: &'a str,
    part: Part<'a>,
    root: Spanned<Tree>,
    edits: Vec<(Range<usize>, String)>,
}

impl<'a> Target<'a> {
    fn new(text: &'a str, index: usize) -> Option<Self> {
        let part = *parts(text).get(index)?;
        Some(Self { text, part, root: tree::read(part.text)?, edits: Vec::new() })
    }

    /// `write` makes the new value of the old one as it is written, unless it is not written as such a `kind`.
    fn replace(
        &mut self,
        path: &[Step],
        (what, kind): (&'static str, &'static str),
        write: impl FnOnce(&str) -> Option<String>,
    ) -> Result<(), EditError> {
        let node = tree::find(&self.root, path).ok_or(EditError::Unsure)?;
        let line = self.part.lines + node.referenced.line();
        if node.referenced != node.defined {
            return Err(EditError::Anchored(line, what));
        }
        let span = node.referenced.span();
        let (Some(start), Some(len)) = (span.byte_offset(), span.byte_len()) else { return Err(EditError::Unsure) };
        let range = start as usize..(start + len) as usize;
        let written = self.part.text.get(range.clone()).ok_or(EditError::Unsure)?;
        let scalar = matches!(node.value, Tree::Scalar).then_some(written);
        let new = scalar.and_then(write).ok_or(EditError::NotPlain(line, what, kind))?;
        self.edits.push((self.part.offset + range.start..self.part.offset + range.end, new));
        Ok(())
    }

    fn edited(mut self) -> String {
        let mut new = self.text.to_owned();
        self.edits.sort_by_key(|(range, _)| range.start);
        for (range, value) in self.edits.into_iter().rev() {
            new.replace_range(range, &value);
        }
        new
    }
}

/// The text with these weights of this split (`namespace/name`).
pub fn edit(text: &str, name: &str, weights: &Weights) -> Result<String, EditError> {
    let missing = || EditError::Missing(format!("split {name}"));
    let before = document::read(text);
    let index = before.iter().position(|d| d.is_split() && d.name.as_deref() == Some(name)).ok_or_else(missing)?;
    let old = before.get(index).and_then(Document::split).ok_or_else(missing)?;
    let mut target = Target::new(text, index).ok_or_else(missing)?;
    for (i, subset) in old.subsets.iter().enumerate() {
        let Some(weight) = weights.get(&subset.name).filter(|w| **w != subset.weight) else { continue };
        let path = ["spec".into(), "subsets".into(), i.into(), "weight".into()];
        let write = |old: &str| old.bytes().all(|b| b.is_ascii_digit()).then(|| weight.to_string());
        target.replace(&path, ("weight", "a plain number"), write)?;
    }
    let wanted = Meaning::Split(with_weights(old, weights));
    proven(target.edited(), before, index, wanted)
}

/// The text with this weight of this CanaryTest (`namespace/name`), and this version where one is given.
pub fn edit_test(text: &str, name: &str, edit: &TestEdit) -> Result<String, EditError> {
    let missing = || EditError::Missing(format!("CanaryTest {name}"));
    let before = document::read(text);
    let is = |d: &Document| d.name.as_deref() == Some(name) && matches!(d.meaning, Ok(Meaning::Test(_)));
    let index = before.iter().position(is).ok_or_else(missing)?;
    let Some(Ok(Meaning::Test(old))) = before.get(index).map(|d| &d.meaning) else { return Err(missing()) };
    let mut wanted = old.clone();
    let mut target = Target::new(text, index).ok_or_else(missing)?;
    if edit.weight != old.weight {
        let weight = percent(edit.weight);
        target.replace(&["spec".into(), "weight".into()], ("weight", "a plain number"), |old| number(old, &weight))?;
        wanted.weight = edit.weight;
    }
    if let Some(version) = edit.version.as_ref().filter(|version| **version != old.version) {
        let path = ["spec".into(), "version".into()];
        if tree::find(&target.root, &path).is_none() {
            return Err(EditError::Unnamed);
        }
        target.replace(&path, ("version", "plain text"), |written| words(written, &old.version, version))?;
        wanted.version.clone_from(version);
    }
    proven(target.edited(), before, index, Meaning::Test(wanted))
}

/// A number of percent in the style of the one before: `5` or `5%`.
fn number(old: &str, new: &str) -> Option<String> {
    let (digits, sign) = old.strip_suffix('%').map_or((old, ""), |digits| (digits, "%"));
    let plain =
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| format!("{new}{sign}"))
}

/// Text in the quotes of the one before, if it had any or needs some. `old`: what was `written`.
fn words(written: &str, old: &str, new: &str) -> Option<String> {
    let quote = ['\'', '"'].into_iter().find(|q| written.len() > 1 && written.starts_with(*q) && written.ends_with(*q));
    let safe = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let plain = new.starts_with(|c: char| c.is_ascii_alphabetic())
        && new.chars().all(safe)
        && !NO_TEXT.contains(&new.to_ascii_lowercase().as_str());
    match quote {
        Some('\'') if !new.chars().any(char::is_control) => Some(format!("'{}'", new.replace('\'', "''"))),
        None if written != old => None,
        None if plain => Some(new.to_owned()),
        // What JSON quotes, YAML reads alike.
        _ => serde_json::to_string(new).ok(),
    }
}

/// The proof: read again, everything means what it meant, but for what was to change.
fn proven(new: String, mut wanted: Vec<Document>, index: usize, meaning: Meaning) -> Result<String, EditError> {
    let read = document::read(&new);
    if let Some(problem) = read.get(index).and_then(Document::problem) {
        return Err(EditError::Refused(problem.message.clone()));
    }
    if let Some(document) = wanted.get_mut(index) {
        document.meaning = Ok(meaning);
    }
    if means_the_same(&read, &wanted) { Ok(new) } else { Err(EditError::Unsure) }
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

/// Places may move: values have other lengths now.
fn means_the_same(a: &[Document], b: &[Document]) -> bool {
    let meaning = |d: &Document| (d.name.clone(), d.kind.clone(), d.meaning.clone().ok());
    a.iter().map(meaning).eq(b.iter().map(meaning))
}
