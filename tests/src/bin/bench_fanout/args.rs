//! The command line.

use anyhow::{Context as _, Result, bail, ensure};

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All proxies come at once, then nothing happens.
    Connect,
    /// One split changes, and all proxies want it.
    Change,
    /// One of many splits changes.
    Splits,
    /// The controller dies and comes again.
    Storm,
    /// Some proxies never read.
    Slow,
}

const ALL: [(&str, Part); 5] = [
    ("connect", Part::Connect),
    ("change", Part::Change),
    ("splits", Part::Splits),
    ("storm", Part::Storm),
    ("slow", Part::Slow),
];

const USAGE: &str = "usage: bench_fanout [connect] [change] [splits] [storm] [slow] [--proxies 10000] [--changes 20] \
                     [--splits 1000] [--slow 1000]";

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) parts: Vec<Part>,
    pub(crate) proxies: usize,
    /// Weight changes of a part.
    pub(crate) changes: usize,
    /// Of the part `splits`.
    pub(crate) splits: usize,
    /// Proxies that are slow in the part `slow`; a quarter of them in each way.
    pub(crate) slow: usize,
}

impl Args {
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self { parts: Vec::new(), proxies: 10_000, changes: 20, splits: 1000, slow: 0 };
        while let Some(word) = words.next() {
            let mut value = || -> Result<usize> {
                let value = words.next().with_context(|| format!("{word} needs a value"))?;
                value.parse().with_context(|| format!("{word} is a number"))
            };
            match word.as_str() {
                "--proxies" => args.proxies = value()?,
                "--changes" => args.changes = value()?,
                "--splits" => args.splits = value()?,
                "--slow" => args.slow = value()?,
                name => match ALL.iter().find(|(known, _)| *known == name) {
                    Some((_, part)) => args.parts.push(*part),
                    None => bail!("{USAGE}"),
                },
            }
        }
        if args.parts.is_empty() {
            args.parts = ALL.iter().map(|(_, part)| *part).collect();
        }
        if args.slow == 0 {
            args.slow = args.proxies / 10;
        }
        ensure!(args.slow < args.proxies && args.changes > 0, "some proxies must behave, and something must change");
        Ok(args)
    }
}
