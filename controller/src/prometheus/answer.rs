//! Reads what Prometheus answers: one series on the grid of the window, or what is wrong with it.

use super::Window;
use serde::Deserialize;
use std::collections::BTreeMap;
use thiserror::Error;

/// Why an answer is not one series.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// It refuses, in its own words.
    #[error("refuses the query ({status} {kind}): {error}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its kind of error.
        kind: String,
        /// Its text.
        error: String,
    },
    /// Something else answers.
    #[error("answers {status} and not like Prometheus{hint}; it says: {text}")]
    Status {
        /// HTTP status.
        status: u16,
        /// What that usually means.
        hint: &'static str,
        /// How the body begins.
        text: String,
    },
    /// No JSON, half of it, or another.
    #[error("the answer is not Prometheus's JSON ({why}); is that the address of a Prometheus? it begins: {text}")]
    Garbage {
        /// Why not.
        why: String,
        /// How the body begins.
        text: String,
    },
    /// Something may be missing.
    #[error("answers with warnings, so points may be missing or wrong: {0}")]
    Warnings(String),
    /// No range of points.
    #[error("the query gives a {0}, not a matrix of points over time")]
    Type(String),
    /// More than one.
    #[error(
        "the query must give one series; got {count}: aggregate with sum() (the first two are {first} and {second})"
    )]
    Several {
        /// How many.
        count: usize,
        /// One of them.
        first: String,
        /// Another.
        second: String,
    },
    /// Native histograms.
    #[error("the query gives native histograms; make numbers of them, for example with histogram_quantile(0.99, …)")]
    Histograms,
    /// A time that was not asked for.
    #[error("there is a point at {0} s, which was not asked for")]
    Time(String),
    /// A value that is no number.
    #[error("there is a point with the value \"{0}\", which is no number")]
    Value(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: String,
    data: Option<Data>,
    #[serde(default)]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    /// Of a shape that depends on the type.
    #[serde(default)]
    result: serde_json::Value,
}

#[derive(Deserialize)]
struct Series {
    #[serde(default)]
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
    #[serde(default)]
    histograms: Vec<serde_json::Value>,
}

/// The points of an answer with status 200, one per step of the window; all `None` when there is no series.
pub(super) fn points(body: &[u8], window: Window) -> Result<Vec<Option<f64>>, AnswerError> {
    let garbage = |why: serde_json::Error| AnswerError::Garbage { why: why.to_string(), text: beginning(body) };
    let answer: Answer = serde_json::from_slice(body).map_err(garbage)?;
    if answer.status != "success" {
        return Err(AnswerError::Refused { status: 200, kind: answer.error_type, error: answer.error });
    }
    // Hints about the query's style came as warnings before they had a place of their own.
    let warnings: Vec<String> = answer.warnings.into_iter().filter(|w| !w.starts_with("PromQL info")).collect();
    if !warnings.is_empty() {
        return Err(AnswerError::Warnings(short(&warnings.join("; "))));
    }
    let missing = || AnswerError::Garbage { why: "it has no data".to_owned(), text: beginning(body) };
    let data = answer.data.ok_or_else(missing)?;
    if data.result_type != "matrix" {
        return Err(AnswerError::Type(short(&data.result_type)));
    }
    let all: Vec<Series> = serde_json::from_value(data.result).map_err(garbage)?;
    if let [first, second, ..] = &all[..] {
        return Err(AnswerError::Several { count: all.len(), first: first.name(), second: second.name() });
    }
    let mut points = vec![None; window.points()];
    for series in all {
        if !series.histograms.is_empty() {
            return Err(AnswerError::Histograms);
        }
        for (time, value) in series.values {
            let index = window.index(time).ok_or_else(|| AnswerError::Time(time.to_string()))?;
            let number: f64 = value.parse().map_err(|_| AnswerError::Value(short(&value)))?;
            points[index] = Some(number).filter(|x| !x.is_nan());
        }
    }
    Ok(points)
}

/// What an answer with another status says.
pub(super) fn refusal(status: u16, body: &[u8]) -> AnswerError {
    if let Ok(Answer { status: word, error_type, error, .. }) = serde_json::from_slice(body)
        && word == "error"
    {
        return AnswerError::Refused { status, kind: error_type, error: short(&error) };
    }
    let hint = match status {
        300..=399 => " (a redirect: give the address it leads to)",
        401 | 403 => " (is the bearer token right, and is one needed?)",
        404 | 405 => " (is the url that of a Prometheus, without /api/v1?)",
        502..=504 => " (a proxy before it says it is not there)",
        _ => "",
    };
    AnswerError::Status { status, hint, text: beginning(body) }
}

impl Series {
    fn name(&self) -> String {
        let labels: Vec<String> = self.metric.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        short(&format!("{{{}}}", labels.join(", ")))
    }
}

fn beginning(body: &[u8]) -> String {
    short(&String::from_utf8_lossy(&body[..body.len().min(1_000)]))
}

/// The first words of it, on one line.
fn short(text: &str) -> String {
    let mut line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if line.chars().count() > 300 {
        line = line.chars().take(300).chain(['…']).collect();
    }
    line
}
