//! An object of the Kubernetes API, read by the same rules as a document of a file.
//!
//! In: an object as JSON, with its kind and name. Out: what it means, or what is wrong and at which field.

use super::{
    accept::{self, Refusal},
    accept_rollout,
    document::{Document, Meaning, Problem},
    tree::{Place, Step},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An object has no lines.
const NOWHERE: Place = Place { line: 1, column: 1 };

/// Reads one. `name` is `namespace/name`; `object` holds `spec` beside what else the API keeps.
pub fn read(kind: &str, name: &str, object: &Value) -> Document {
    let full = || name.to_owned();
    let meaning = match kind {
        "TrafficSplit" => accepted(object, |spec| accept::split(full(), spec)).map(Meaning::Split),
        "CanaryDeploy" => accepted(object, |spec| accept_rollout::deploy::deploy(full(), spec))
            .map(|deploy| Meaning::Deploy(Box::new(deploy))),
        "CanaryTest" => {
            accepted(object, |spec| accept_rollout::test::test(full(), spec)).map(|test| Meaning::Test(Box::new(test)))
        }
        "Judgment" => accepted(object, |spec| accept_rollout::judgment::judgment(full(), spec))
            .map(|judgment| Meaning::Judgment(Box::new(judgment))),
        other => Err(problem(format!("kind {other} is not ours"))),
    };
    Document { place: NOWHERE, name: Some(full()), kind: Some(kind.to_owned()), meaning }
}

fn accepted<S: DeserializeOwned, T>(
    object: &Value,
    accept: impl FnOnce(&S) -> Result<T, Refusal>,
) -> Result<T, Problem> {
    let spec = object.get("spec").cloned().unwrap_or(Value::Null);
    // The API server has checked the shape by the CRD; what fails here was written under another one.
    let spec: S = serde_json::from_value(spec).map_err(|why| problem(format!("spec: {why}")))?;
    accept(&spec).map_err(|Refusal { path, message }| problem(format!("{}: {message}", shown(&path))))
}

fn problem(message: String) -> Problem {
    Problem { place: NOWHERE, reason: "Invalid", message }
}

/// Such as `spec.steps[1].weight`.
fn shown(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}
