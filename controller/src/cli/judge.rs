//! `sluicegate judge`: the two judges on a recording. It needs no controller, and a recording judged twice says the same.
//!
//! In: JSON ([`recording`]), windows of counts or series of metrics. Out: a verdict with the numbers behind it, from
//! [`counts`] or [`metrics`]; for people as [`table`].
//!
//! Exit codes: 0 it was judged, whatever the verdict; 1 it could not be; 2 the command line was wrong.

mod counts;
mod metrics;
mod recording;
mod table;

use super::{Output, print_as, text};
use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use recording::Recording;
use serde::Serialize;
use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Options of `judge`.
#[derive(Debug, Args)]
pub(super) struct Judge {
    /// The recording, as JSON; - reads standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// What the judge says of a recording.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Judged {
    Counts(Box<counts::Judged>),
    Metrics(Box<metrics::Judged>),
}

pub(super) fn run(judge: &Judge) -> Result<()> {
    let judged = read(&judge.file).and_then(|text| judged(&text)).with_context(|| name(&judge.file))?;
    print_as(judge.output, &judged).unwrap_or_else(|| text::print(&table::table(&judged, text::colour())))
}

/// From text to verdict.
fn judged(text: &str) -> Result<Judged> {
    Ok(match recording::read(text)? {
        Recording::Counts(recording) => Judged::Counts(Box::new(counts::judge(&recording)?)),
        Recording::Metrics(recording) => Judged::Metrics(Box::new(metrics::judge(&recording)?)),
    })
}

fn name(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

fn read(file: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut bytes).context("cannot be read")?;
    } else {
        bytes = fs::read(file).context("cannot be read; give a file of JSON, or - for standard input")?;
    }
    String::from_utf8(bytes).map_err(|why| {
        let at = why.utf8_error().valid_up_to();
        anyhow!("byte {at} is not UTF-8; JSON is, so save the file as UTF-8")
    })
}
