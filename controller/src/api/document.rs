//! A file of many documents, each read for itself, so that one mistake does not take the others down.

use super::{
    API_VERSION,
    accept::{self, Refusal},
    accept_rollout::{self, Deploy, Judgment, Test},
    nearest::{hint, nearest},
    tree::{self, Place},
};
use serde::{Deserialize, de::DeserializeOwned};
use sluicegate_core::spec::SplitSpec;

const KINDS: [&str; 4] = ["TrafficSplit", "CanaryDeploy", "CanaryTest", "Judgment"];

/// The reason of documents that are meant for somebody else.
pub const FOREIGN: &str = "Foreign";

fn is_foreign(api_version: &str) -> bool {
    api_version.split('/').next() != API_VERSION.split('/').next()
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// One word for machines.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// One document of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Where it begins.
    pub place: Place,
    /// `namespace/name`, when that much could be read and the kind is one of ours.
    pub name: Option<String>,
    /// Its kind, when that much could be read.
    pub kind: Option<String>,
    /// What it means, or why it means nothing.
    pub meaning: Result<Meaning, Problem>,
}

/// What a document means.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// `kind: TrafficSplit`.
    Split(SplitSpec),
    /// `kind: CanaryDeploy`.
    Deploy(Box<Deploy>),
    /// `kind: CanaryTest`.
    Test(Box<Test>),
    /// `kind: Judgment`.
    Judgment(Box<Judgment>),
}

impl Document {
    /// Means a split, or would but for a mistake in it.
    pub fn is_split(&self) -> bool {
        self.kind.as_deref() == Some("TrafficSplit")
    }

    /// Says that it is of another kind of ours; what is wrong with it cannot concern a split.
    pub fn is_of_other_kind(&self) -> bool {
        !self.is_split() && self.kind.as_deref().is_some_and(|kind| KINDS.contains(&kind))
    }

    /// The split it means.
    pub fn split(&self) -> Option<&SplitSpec> {
        match &self.meaning {
            Ok(Meaning::Split(split)) => Some(split),
            _ => None,
        }
    }

    /// What is wrong with it.
    pub fn problem(&self) -> Option<&Problem> {
        self.meaning.as_ref().err()
    }
}

/// A part of a file that holds one document.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Lines before it.
    pub lines: u64,
    /// Bytes before it.
    pub offset: usize,
    /// Its text.
    pub text: &'a str,
}

/// Cuts a file at its `---` and `...` lines. YAML allows these at the beginning of a line for nothing else (YAML 1.2.2,
/// §9.1.2), not even inside quotes.
pub fn parts(file: &str) -> Vec<Part<'_>> {
    let marker = |line: &str, what: &str| {
        line.strip_prefix(what).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
    };
    let mut parts = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 0, 0);
    for (number, line) in file.split_inclusive('\n').enumerate() {
        let only_comments = || is_blank(&file[start..offset]);
        if marker(line, "---") && !only_comments() {
            parts.push(Part { lines: start_line, offset: start, text: &file[start..offset] });
            (start, start_line) = (offset, number as u64);
        }
        offset += line.len();
        if marker(line, "...") {
            parts.push(Part { lines: start_line, offset: start, text: &file[start..offset] });
            (start, start_line) = (offset, number as u64 + 1);
        }
    }
    parts.push(Part { lines: start_line, offset: start, text: &file[start..] });
    parts.retain(|p| !is_blank(p.text));
    parts
}

/// Nothing but comments, markers and white space.
fn is_blank(text: &str) -> bool {
    text.lines().map(str::trim).all(|l| l.is_empty() || l.starts_with('#') || l == "---" || l == "...")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: Option<String>,
    kind: Option<String>,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Whole<S> {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    spec: S,
    #[serde(rename = "status", default)]
    _status: serde::de::IgnoredAny,
}

/// Reads every document of a file.
pub fn read(file: &str) -> Vec<Document> {
    parts(file).into_iter().map(document).collect()
}

/// Reads one document.
fn document(part: Part<'_>) -> Document {
    let first = part.text.lines().take_while(|l| is_blank(l)).count() as u64;
    let place = Place { line: part.lines + first + 1, column: 1 };
    let unnamed = |problem| Document { place, name: None, kind: None, meaning: Err(problem) };
    let head: Head = match serde_saphyr::from_str(part.text) {
        Ok(head) => head,
        Err(why) => return unnamed(syntax(&why, part)),
    };
    let at = |path: &[tree::Step]| {
        tree::read(part.text).map_or(place, |root| Place::of(tree::deepest(&root, path).referenced, part.lines))
    };
    let problem = |path: &[tree::Step], reason, message: String| Problem { place: at(path), reason, message };
    let Some(kind) = head.kind else {
        let message = format!("kind is missing; write apiVersion: {API_VERSION} and kind: TrafficSplit");
        return unnamed(problem(&[], "Invalid", message));
    };
    let metadata = head.metadata.unwrap_or(Metadata { name: None, namespace: None });
    let name = metadata.name.map(|name| format!("{}/{name}", metadata.namespace.as_deref().unwrap_or("default")));
    let meaning = if !KINDS.contains(&kind.as_str()) && head.api_version.as_deref().is_none_or(is_foreign) {
        // A folder may hold what else kubectl is given.
        Err(problem(&["kind".into()], FOREIGN, format!("kind {kind} is not ours")))
    } else if head.api_version.as_deref() != Some(API_VERSION) {
        let given = head.api_version.as_deref().unwrap_or("missing");
        let message = format!("apiVersion is {given}; this controller reads apiVersion: {API_VERSION}");
        Err(problem(&["apiVersion".into()], "Invalid", message))
    } else if !KINDS.contains(&kind.as_str()) {
        let message = format!("kind {kind:?} is unknown; kinds are {}{}", KINDS.join(", "), hint(&kind, KINDS));
        Err(problem(&["kind".into()], "Invalid", message))
    } else if let Some(name) = &name {
        let name = name.clone();
        match kind.as_str() {
            "CanaryDeploy" => accepted(part, place, |spec| accept_rollout::deploy::deploy(name, spec))
                .map(Box::new)
                .map(Meaning::Deploy),
            "CanaryTest" => {
                accepted(part, place, |spec| accept_rollout::test::test(name, spec)).map(Box::new).map(Meaning::Test)
            }
            "Judgment" => accepted(part, place, |spec| accept_rollout::judgment::judgment(name, spec))
                .map(Box::new)
                .map(Meaning::Judgment),
            _ => accepted(part, place, |spec| accept::split(name, spec)).map(Meaning::Split),
        }
    } else {
        Err(problem(&["metadata".into()], "Invalid", format!("metadata.name is missing; give the {kind} a name")))
    };
    Document { place, name: name.filter(|_| KINDS.contains(&kind.as_str())), kind: Some(kind), meaning }
}

/// Reads a whole document, and then what it means.
fn accepted<S: DeserializeOwned, T>(
    part: Part<'_>,
    place: Place,
    accept: impl FnOnce(&S) -> Result<T, Refusal>,
) -> Result<T, Problem> {
    let whole: Whole<S> = serde_saphyr::from_str(part.text).map_err(|why| syntax(&why, part))?;
    accept(&whole.spec).map_err(|refusal| {
        let root = tree::read(part.text);
        let place = root.map_or(place, |root| Place::of(tree::deepest(&root, &refusal.path).referenced, part.lines));
        Problem { place, reason: "Invalid", message: refusal.message }
    })
}

/// What the YAML reader complains about, in our words where we know better.
fn syntax(why: &serde_saphyr::Error, part: Part<'_>) -> Problem {
    use serde_saphyr::{Error, MessageFormatter, UserMessageFormatter};
    let plain = why.without_snippet();
    let last = Place { line: part.lines + part.text.lines().count().max(1) as u64, column: 1 };
    let place = plain.location().map_or(last, |l| Place::of(l, part.lines));
    let message = match plain {
        Error::SerdeUnknownField { field, expected, .. } => match nearest(field, expected.iter().copied()) {
            Some(meant) => format!("unknown field {field:?}, did you mean {meant:?}?"),
            None => format!("unknown field {field:?}; fields here are {}", expected.join(", ")),
        },
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("{variant:?} is not one of {}{}", expected.join(", "), hint(variant, expected.iter().copied()))
        }
        other => UserMessageFormatter.format_message(other).into_owned(),
    };
    Problem { place, reason: "Invalid", message }
}
