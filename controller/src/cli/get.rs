//! `sluicegate get`.

use super::{
    Common, Output,
    door::Door,
    print_as, rollout,
    text::{self, Cell, Table, Tone},
};
use crate::admin::model::{Condition, Problem, Proxies, Split, Splits};
use anyhow::Result;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;

/// Options of `get`.
#[derive(Debug, Args)]
pub(super) struct Get {
    /// What to list.
    #[arg(value_enum, default_value_t = Kind::Splits)]
    kind: Kind,
    /// Of all namespaces of a cluster.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    #[value(aliases = ["split", "trafficsplit", "trafficsplits"])]
    Splits,
    #[value(alias = "proxy")]
    Proxies,
    #[value(aliases = ["rollout", "canarydeploy", "canarydeploys", "canarytest", "canarytests"])]
    Rollouts,
}

pub(super) fn run(get: &Get) -> Result<()> {
    let door = Door::open(&get.common)?;
    match get.kind {
        Kind::Splits => {
            let splits = door.splits(get.all_namespaces)?;
            print_as(get.common.output, &splits).unwrap_or_else(|| text::print(&table(&splits, text::colour())))
        }
        Kind::Rollouts => {
            let views = door.rollouts(get.all_namespaces)?;
            let table = || rollout::table(&views.rollouts, text::colour());
            print_as(get.common.output, &views).unwrap_or_else(|| text::print(&table()))
        }
        Kind::Proxies => {
            let proxies = door.proxies()?;
            match get.common.output {
                Output::Table => text::print(&proxy_table(&proxies, text::colour())),
                other => print_as(other, &proxies).unwrap_or(Ok(())),
            }
        }
    }
}

fn table(splits: &Splits, colour: bool) -> String {
    if splits.splits.is_empty() && splits.problems.is_empty() {
        return "no splits; put a TrafficSplit into the controller's folder (examples/traffic-split.yaml)\n".to_owned();
    }
    let mut table = Table::new(&["NAME", "WEIGHTS", "GENERATION", "ACKED", "ACCEPTED", "AGE"]);
    let now = text::now();
    for split in &splits.splits {
        let accepted = condition(split, "Accepted").map_or("Unknown", |c| c.status.as_str());
        table.row(vec![
            short(&split.name).into(),
            if split.subsets.is_empty() { "-".into() } else { text::weights(&split.subsets).into() },
            split.generation.map_or("-".into(), |g| g.to_string().into()),
            acked(split),
            Cell(accepted.to_owned(), if accepted == "True" { Tone::Good } else { Tone::Bad }),
            split.since.map_or("-".into(), |since| text::age(since, now).into()),
        ]);
    }
    let mut out = if splits.splits.is_empty() { String::new() } else { table.render("", colour) };
    for problem in &splits.problems {
        let _ = writeln!(out, "{} {}", text::paint("!", Tone::Bad, colour), tell(problem));
    }
    for missing in &splits.missing {
        let _ = writeln!(
            out,
            "{} split {} does not exist, but {} live proxies ask for it",
            text::paint("!", Tone::Wait, colour),
            missing.name,
            missing.proxies
        );
    }
    out
}

fn proxy_table(proxies: &Proxies, colour: bool) -> String {
    if proxies.proxies.is_empty() {
        return "no proxies; none has called the controller's proxy port yet\n".to_owned();
    }
    let mut table =
        Table::new(&["NODE", "PLUGIN", "EPOCH", "VERSION", "SERVES", "STATE", "SPLITS", "POLLS", "REPORTED"]);
    for p in &proxies.proxies {
        let tone = if p.state == "live" { Tone::Good } else { Tone::Bad };
        table.row(vec![
            or_dash(&p.node),
            or_dash(&p.plugin),
            p.epoch.as_str().into(),
            or_dash(&p.version),
            p.subscription.as_str().into(),
            Cell(p.state.clone(), tone),
            p.runs.len().to_string().into(),
            p.polls.to_string().into(),
            match p.reported_ms {
                _ if !p.counts => or_dash(""),
                None => Cell("never".to_owned(), Tone::Bad),
                Some(ms) => format!("{} s ago", ms / 1000).into(),
            },
        ]);
    }
    table.render("", colour)
}

/// A condition by its type.
pub(super) fn condition<'a>(split: &'a Split, kind: &str) -> Option<&'a Condition> {
    split.conditions.iter().find(|c| c.kind == kind)
}

/// `3/4`, coloured by whether that is all.
pub(super) fn acked(split: &Split) -> Cell {
    let tone = match (split.acked, split.live) {
        (_, 0) => Tone::Plain,
        (acked, live) if acked == live => Tone::Good,
        _ => Tone::Wait,
    };
    Cell(format!("{}/{}", split.acked, split.live), tone)
}

/// `file:line:column: message`.
pub(super) fn tell(problem: &Problem) -> String {
    match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}: {}", problem.file, problem.message),
        _ => format!("{}: {}", problem.file, problem.message),
    }
}

/// The namespace `default` goes without saying.
pub(super) fn short(name: &str) -> &str {
    name.strip_prefix("default/").unwrap_or(name)
}

/// Text that may be empty.
pub(super) fn or_dash(text: &str) -> Cell {
    if text.is_empty() { "-".into() } else { text.into() }
}
