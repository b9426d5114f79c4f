//! The tables, as Markdown.

use std::fmt::Write as _;

use crate::hotpath::Measured;
use crate::samples::{Samples, Spread};
use crate::variants::{
    COUNTS, DEFAULT, DEFAULT_200, FLAT, NATIVE, NOBODYS, NONE, NONE_200, RAW, SDK, SPLIT, STICKY_SPLIT,
};

pub(crate) fn render(measured: &Measured) -> String {
    let mut out = String::new();
    let starts = measured.samples.values().next().map_or(0, |samples| samples.0.len());
    writeln!(
        out,
        "### Cost per request, {} worker(s): Envoy CPU µs, {} requests, {starts} Envoy processes\n\n\
         | variant | CPU | added to none | spread | × SDK no-op | × raw no-op | whole proxy × native |\n|---|---|---|---|---|---|---|",
        measured.workers, measured.requests
    )
    .ok();
    for &(name, none) in &measured.rows {
        let (Some(own), Some(none)) = (measured.samples.get(name), measured.samples.get(none)) else { continue };
        let added = own.minus(none);
        let rival = |rival: &str| match (measured.samples.get(rival), measured.samples.get(NONE)) {
            (Some(rival), Some(base)) if !std::ptr::eq(own, none) => two(own.added_over(none, (rival, base))),
            _ => String::new(),
        };
        let native = measured.samples.get(NATIVE).filter(|_| std::ptr::eq(none, &measured.samples[NONE]));
        writeln!(
            out,
            "| {name} | {:.1} | {:+.2} | {:+.2} … {:+.2} | {} | {} | {} |",
            own.quiet().median,
            added.median,
            added.low,
            added.high,
            rival(SDK),
            rival(RAW),
            native.map(|native| format!("{:.3}", own.over(native).median)).unwrap_or_default(),
        )
        .ok();
    }
    writeln!(
        out,
        "\nLoad generator {:.1} µs, upstreams {:.1} µs of CPU per request (not in the table). Other processes disturbed {} of \
         {} rounds.\n",
        measured.load_cpu, measured.upstream_cpu, measured.disturbed, measured.rounds
    )
    .ok();
    out.push_str(&goals(measured));
    out
}

/// Each goal with what was measured; only those whose variants are in this run.
fn goals(measured: &Measured) -> String {
    let get = |name: &str| measured.samples.get(name);
    let mut out = String::new();
    let mut goal = |text: &str, spread: Option<Spread>, limit: f64| {
        let Some(spread) = spread else { return };
        let verdict = if spread.median <= limit { "met" } else { "**missed**" };
        writeln!(out, "| {text} | {limit} | {} | {verdict} |", two(spread)).ok();
    };
    let added = |own: &str, rival: &str| Some(get(own)?.added_over(get(NONE)?, (get(rival)?, get(NONE)?)));
    let whole = |own: &str, other: &str| Some(get(own)?.over(get(other)?));
    goal("split only, added × SDK no-op", added(SPLIT, SDK), 0.65);
    goal("split only, added × raw no-op", added(SPLIT, RAW), 1.3);
    goal("counting, added × SDK no-op", added(COUNTS, SDK), 0.95);
    goal("sticky, split only, added × SDK no-op", added(STICKY_SPLIT, SDK), 1.1);
    goal("a host of no split, added × SDK no-op", added(NOBODYS, SDK), 1.0);
    goal("split only, whole proxy × native", whole(SPLIT, NATIVE), 1.06);
    goal("counting, whole proxy × native", whole(COUNTS, NATIVE), 1.09);
    let more_routes = || {
        let with = Samples::difference(get(DEFAULT_200)?, get(NONE_200)?);
        Some(with.minus(&Samples::difference(get(DEFAULT)?, get(NONE)?)))
    };
    goal("200 more routes, µs added to default traffic by the filter", more_routes(), 0.5);
    for name in &FLAT[1..] {
        goal(&format!("{name}, whole proxy × 1 split"), whole(name, FLAT[0]), 1.05);
    }
    if out.is_empty() { out } else { format!("| goal | at most | measured (spread) | |\n|---|---|---|---|\n{out}") }
}

fn two(spread: Spread) -> String {
    format!("{:.2} ({:.2} … {:.2})", spread.median, spread.low, spread.high)
}
