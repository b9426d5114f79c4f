//! The table, as Markdown: a row as soon as it is known.

use std::time::Duration;

pub(crate) const HEAD: &str = "| part | what | measured | goal |\n|---|---|---|---|";

pub(crate) fn row(part: &str, what: &str, measured: &str) {
    println!("| {part} | {what} | {measured} | |");
}

/// A row that has a goal: at most so much.
pub(crate) fn goal(part: &str, what: &str, measured: &str, value: f64, limit: f64, unit: &str) {
    let verdict = if value <= limit { "met" } else { "**missed**" };
    println!("| {part} | {what} | {measured} | at most {limit} {unit}: {verdict} |");
}

/// The middle, the 99th of a hundred, the last, in ms.
pub(crate) fn spread(times: &[Duration]) -> String {
    format!("p50 {}, p99 {}, max {}", ms(quantile(times, 0.5)), ms(quantile(times, 0.99)), ms(quantile(times, 1.0)))
}

pub(crate) fn quantile(times: &[Duration], q: f64) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = ((sorted.len() as f64 * q).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).copied().unwrap_or_default()
}

pub(crate) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
