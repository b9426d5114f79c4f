//! `make soak`: an Envoy with two workers under load while weights change every second; the controller is killed, Envoy gets other
//! configurations, VMs trap.
//!
//! In: `--minutes N` (10 unless given). Out: a Markdown table on standard output, progress on standard error; exit code 1 when a
//! promise was broken. How to read it: docs/BENCHMARKS.md.
#![allow(clippy::disallowed_methods, reason = "a soak measures real time")]

mod memory;
mod part;
mod stage;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use memory::Trend;
use part::{Kind, Part};
use stage::Stage;

/// The load runs so long at a time; in between what was counted is compared.
const SLICE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    let minutes = minutes(std::env::args().skip(1))?;
    let slices = ((minutes * 60.0 / SLICE.as_secs_f64()).round() as usize).max(5);
    let mut stage = Stage::start()?;
    let mut parts = Vec::new();
    // Two fifths, two fifths, and the rest.
    for (kind, upto) in [(Kind::Disturbed, slices * 2 / 5), (Kind::Calm, slices * 4 / 5), (Kind::Trapped, slices)] {
        let mut part = Part::new(kind);
        let from = parts.iter().map(Part::slices).sum::<usize>();
        for slice in from..upto {
            eprintln!("{} of {slices}: {kind}", slice + 1);
            part.run(&mut stage, SLICE).with_context(|| format!("{kind}, slice {}", slice + 1))?;
        }
        parts.push(part);
    }
    println!("{}", report(&parts));
    let broken: Vec<String> = parts.iter().flat_map(Part::broken).collect();
    ensure!(broken.is_empty(), "{}", broken.join("; "));
    stage.all_acked()
}

fn report(parts: &[Part]) -> String {
    let mut out = format!("{}\n", Part::HEAD);
    for part in parts {
        out += &format!("{}\n", part.row());
    }
    for part in parts.iter().filter(|part| part.kind == Kind::Calm) {
        out += "\nResident memory in the calm part, least squares over the second half of it, a sample per second:\n\n";
        for (what, trend) in [("Envoy", &part.envoy), ("controller", &part.controller)] {
            out += &format!("* {what}: {}\n", trend.slope());
        }
    }
    out
}

fn minutes(mut words: impl Iterator<Item = String>) -> Result<f64> {
    match (words.next().as_deref(), words.next(), words.next()) {
        (None, ..) => Ok(10.0),
        (Some("--minutes"), Some(number), None) => number.parse().context("--minutes is a number"),
        _ => bail!("usage: soak [--minutes 10]"),
    }
}

/// A trend that is not flat: more than this share of the memory in ten minutes.
const STEEP: f64 = 0.02;

impl Trend {
    fn is_flat(&self) -> bool {
        self.per_minute().is_none_or(|(slope, error)| slope - 2.0 * error <= self.last() * STEEP / 10.0)
    }
}
