//! The command line.

use anyhow::{Context as _, Result, bail};

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What loading a filter takes.
    Loading,
    /// Cost per request of every variant, one worker.
    Hotpath,
    /// The same on two workers.
    Workers,
    /// Cost per request by number of splits.
    Flat,
    /// What a weight change takes.
    Propagation,
    /// The doors side by side, latency too; only when named.
    ExtProc,
}

const ALL: [(&str, Part); 6] = [
    ("loading", Part::Loading),
    ("hotpath", Part::Hotpath),
    ("workers", Part::Workers),
    ("flat", Part::Flat),
    ("propagation", Part::Propagation),
    ("extproc", Part::ExtProc),
];

const USAGE: &str = "usage: bench [loading] [hotpath] [workers] [flat] [propagation] [extproc] [--starts 8] [--rounds 30] [--slice 500] [--only NAME]... [--also FILE.wasm]... [--changes 200]";

#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) parts: Vec<Part>,
    /// Envoy processes per part: code and heap lie elsewhere in each.
    pub(crate) starts: usize,
    /// Rounds per process; each measures every variant once, in random order.
    pub(crate) rounds: usize,
    /// Requests per variant and round.
    pub(crate) slice: u64,
    /// Only variants whose name contains one of these (and what they are compared with); all when there is none.
    pub(crate) only: Vec<String>,
    /// Modules measured beside the variants, such as another build of the filter.
    pub(crate) also: Vec<std::path::PathBuf>,
    /// Weight changes of the propagation part.
    pub(crate) changes: usize,
}

impl Args {
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut args = Self {
            parts: Vec::new(),
            starts: 5,
            rounds: 60,
            slice: 500,
            only: Vec::new(),
            also: Vec::new(),
            changes: 200,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--starts" => args.starts = value()?.parse().context("--starts is a number")?,
                "--rounds" => args.rounds = value()?.parse().context("--rounds is a number")?,
                "--slice" => args.slice = value()?.parse().context("--slice is a number")?,
                "--changes" => args.changes = value()?.parse().context("--changes is a number")?,
                "--also" => args.also.push(value()?.into()),
                "--only" => args.only.push(value()?),
                name => match ALL.iter().find(|(known, _)| *known == name) {
                    Some((_, part)) => args.parts.push(*part),
                    None => bail!("{USAGE}"),
                },
            }
        }
        if args.parts.is_empty() {
            args.parts = ALL.iter().map(|(_, part)| *part).filter(|part| *part != Part::ExtProc).collect();
        }
        Ok(args)
    }
}
