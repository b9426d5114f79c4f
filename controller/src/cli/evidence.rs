//! Evidence for people: what is held against a canary and what speaks for it, each beside its threshold.

use super::text::{self, Cell, Table, Tone};
use serde_json::Value;
use sluicegate_core::judge::{
    metrics::{Class, Judgment},
    report::amount,
};
use std::fmt::Write as _;

/// Of counts, as the admin port gives it.
pub(super) fn render(evidence: &Value, colour: bool) -> String {
    let number = |at: &str| evidence.pointer(at).and_then(Value::as_f64).unwrap_or(0.0);
    let (value, limit) = (number("/harm/value"), number("/harm/decidesAt"));
    let tone = if value >= limit { Tone::Bad } else { Tone::Plain };
    let shown = text::paint(&amount(value), tone, colour);
    let bar = scale(value, limit);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "  {:<9} {bar}  {shown} of harm: 1 says nothing, {limit:.0} rolls back", "Evidence");
    let mut table = Table::new(&["", "CANARY", "BASELINE", "HARM", "OF", "HARMLESS", "OF", "COULD SEE"]);
    for criterion in evidence.get("criteria").and_then(Value::as_array).into_iter().flatten() {
        table.row(row(criterion));
    }
    out.push_str(&table.render("            ", colour));
    for reason in evidence.get("reasons").and_then(Value::as_array).into_iter().flatten() {
        let _ = writeln!(out, "            {}", reason.as_str().unwrap_or_default());
    }
    out
}

fn row(criterion: &Value) -> Vec<Cell> {
    let number = |at: &str| criterion.pointer(at).and_then(Value::as_f64);
    let side = |side: &str| {
        let count = |what: &str| criterion.pointer(&format!("/{side}/step/{what}")).and_then(Value::as_u64);
        match (count("bad"), count("requests")) {
            (Some(bad), Some(requests)) => format!("{bad} of {requests}"),
            _ => "-".to_owned(),
        }
    };
    let slower = number("/criterion/slowerThan");
    let level = |at: &str| number(at).map_or("-".to_owned(), amount);
    let cells = [
        slower.map_or("errors".to_owned(), |micros| format!("slower than {} ms", micros / 1e3)),
        side("canary"),
        side("baseline"),
        level("/harm/value"),
        level("/harm/decidesAt"),
        level("/harmless/value"),
        level("/harmless/decidesAt"),
        number("/couldSee/rate").map_or("nothing yet".to_owned(), text::percent),
    ];
    cells.into_iter().map(Cell::from).collect()
}

/// Of metrics.
pub(super) fn metrics(judgment: &Judgment, colour: bool) -> String {
    let score = judgment.score.map_or("-".to_owned(), |score| format!("{score:.0} of 100"));
    let mut out = format!("  {:<9} {score}\n", "Metrics");
    let mut table = Table::default();
    for metric in &judgment.metrics {
        let (class, tone) = match metric.class {
            Some(Class::Pass) => ("pass", Tone::Good),
            Some(Class::High) => ("high", Tone::Bad),
            Some(Class::Low) => ("low", Tone::Bad),
            Some(Class::Nodata) => ("nodata", Tone::Wait),
            None => ("error", Tone::Wait),
        };
        table.row(vec![metric.name.as_str().into(), Cell(class.to_owned(), tone), metric.reason.as_str().into()]);
    }
    out.push_str(&table.render("            ", colour));
    out
}

/// Twenty characters from 1 to the threshold, on a log scale.
fn scale(value: f64, limit: f64) -> String {
    let share = if limit > 1.0 { value.max(1.0).ln() / limit.ln() } else { 0.0 };
    let filled = ((share * 20.0).floor() as usize).min(20);
    format!("{}{}", "█".repeat(filled), "░".repeat(20 - filled))
}
