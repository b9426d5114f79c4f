//! `sluicegate describe`.

use super::{
    Common,
    door::Door,
    get::{acked, or_dash, tell},
    object_name, print_as, rollout,
    text::{self, Cell, Table, Tone},
};
use crate::admin::model::{Counted, Split};
use anyhow::Result;
use clap::Args;
use std::fmt::Write as _;

/// Options of `describe`.
#[derive(Debug, Args)]
pub(super) struct Describe {
    /// The rollout or split: NAME, or NAMESPACE/NAME.
    #[arg(value_parser = object_name)]
    name: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(describe: &Describe) -> Result<()> {
    let door = Door::open(&describe.common)?;
    let name = door.full(&describe.name)?;
    // A rollout often has the name of its split; its description says more.
    if let Some(view) = door.rollout(&name)? {
        let text = || text::print(&rollout::describe(&view, text::colour()));
        return print_as(describe.common.output, &view).unwrap_or_else(text);
    }
    let split = door.split(&name)?;
    print_as(describe.common.output, &split).unwrap_or_else(|| text::print(&render(&split, text::colour())))
}

/// Everything about a split, for people.
pub(super) fn render(split: &Split, colour: bool) -> String {
    let mut out = String::new();
    let mut head = |what: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{what:<12}{value}");
    };
    head("Name:", &split.name);
    if let (Some(generation), Some(since)) = (split.generation, split.since) {
        head("Generation:", &format!("{generation}, for {}", text::age(since, text::now())));
        head("Assignment:", &split.assignment);
        head("Default:", split.default.as_deref().unwrap_or("-"));
        if !split.hosts.is_empty() {
            head("Hosts:", &split.hosts.join(", "));
        }
        let Cell(share, tone) = acked(split);
        let took = split.propagated_ms.map(|ms| format!(", all of them within {}", text::ms(ms))).unwrap_or_default();
        head("Acked:", &format!("{} live proxies{took}", text::paint(&share, tone, colour)));
    }
    if !split.subsets.is_empty() {
        out.push('\n');
        out.push_str(&subsets(split, colour));
    }
    out.push_str("\nConditions:\n");
    let mut table = Table::default();
    for c in &split.conditions {
        let tone = match c.status.as_str() {
            "True" => Tone::Good,
            "False" => Tone::Bad,
            _ => Tone::Wait,
        };
        let cells = [Cell(c.status.clone(), tone), c.reason.as_str().into(), c.message.as_str().into()];
        table.row([c.kind.as_str().into()].into_iter().chain(cells).collect());
    }
    out.push_str(&table.render("  ", colour));
    if !split.problems.is_empty() {
        out.push_str("\nProblems:\n");
        for problem in &split.problems {
            let _ = writeln!(out, "  {}", tell(problem));
        }
    }
    if !split.proxies.is_empty() {
        out.push('\n');
        out.push_str(&proxies(split, colour));
    }
    out
}

fn subsets(split: &Split, colour: bool) -> String {
    let mut table = Table::new(&["SUBSET", "WEIGHT", "SHARE", "REQUESTS", "RATE/S", "ERRORS", "P50", "P95", "P99"]);
    let optional = |number: Option<f64>, show: fn(f64) -> String| number.map_or("-".into(), |n| show(n).into());
    let mut window = None;
    for s in &split.subsets {
        let mut row: Vec<Cell> =
            vec![s.name.as_str().into(), s.weight.to_string().into(), text::percent(s.share).into()];
        if let Some(Counted { requests, rate, errors, p50_ms, p95_ms, p99_ms, window_seconds, .. }) = &s.counts {
            window = Some(*window_seconds);
            row.push(requests.to_string().into());
            row.push(format!("{rate:.1}").into());
            row.push(optional(*errors, text::percent));
            row.extend([p50_ms, p95_ms, p99_ms].map(|q| optional(*q, text::ms)));
        }
        table.row(row);
    }
    let mut out = table.render("", colour);
    if let Some(seconds) = window {
        let _ =
            writeln!(out, "(requests since the proxies started; rates, errors, latencies of the last {seconds:.0} s)");
    }
    out
}

fn proxies(split: &Split, colour: bool) -> String {
    let mut table = Table::new(&["PROXY", "PLUGIN", "EPOCH", "FILTER", "STATE", "GENERATION", "STANDING", "LAG"]);
    for p in &split.proxies {
        let standing = match p.standing.as_str() {
            "acked" => Tone::Good,
            "behind" => Tone::Wait,
            _ => Tone::Bad,
        };
        table.row(vec![
            or_dash(&p.node),
            or_dash(&p.plugin),
            p.epoch.as_str().into(),
            or_dash(&p.version),
            Cell(p.state.clone(), if p.state == "live" { Tone::Good } else { Tone::Bad }),
            p.generation.map_or("-".into(), |g| g.to_string().into()),
            Cell(p.standing.clone(), standing),
            p.lag_ms.map_or("-".into(), |lag| text::ms(lag).into()),
        ]);
    }
    table.render("", colour)
}
