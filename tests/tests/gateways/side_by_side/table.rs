//! What was measured, as Markdown.

use std::time::{Duration, Instant};

use sluicegate_tests::load::Latencies;
use sluicegate_tests::steady::{Seeing, Seen};

use super::change::{Change, by_canary};

/// The name of our way.
pub(crate) const OURS: &str = "**TrafficSplit**";

/// The rows so far, in the order in which they were begun.
pub(crate) struct Table {
    pub(super) rounds: usize,
    rows: Vec<Row>,
}

/// What came of one kind of changes by one way in one setting.
#[derive(Default)]
pub(super) struct Row {
    setting: &'static str,
    way: &'static str,
    kind: &'static str,
    changes: usize,
    /// How long the API server took for it.
    write: Latencies,
    /// These from the moment the API server had taken it.
    first_new: Latencies,
    last_old: Latencies,
    acked: Latencies,
    told: Latencies,
    /// Answers by old weights to requests that were sent after the ack; and any that came after the object said so.
    late: u64,
    after_told: u64,
    requests: u64,
    failures: u64,
    /// Changes during which a request failed.
    hit: usize,
}

impl Table {
    pub(crate) const fn new(rounds: usize) -> Self {
        Self { rounds, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, setting: &'static str, way: &'static str, kind: &'static str) -> &mut Row {
        let same = |row: &Row| (row.setting, row.way, row.kind) == (setting, way, kind);
        let at = self.rows.iter().position(same).unwrap_or_else(|| {
            self.rows.push(Row { setting, way, kind, ..Row::default() });
            self.rows.len() - 1
        });
        &mut self.rows[at]
    }

    /// The table, and the goals.
    pub(crate) fn print(&mut self) {
        println!(
            "| setting | weights of | changes | taken by the API after | first new answer | last old answer | acked | status \
             says so | old answers to requests sent after the ack; after the status | requests | not 200 | changes with such |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|"
        );
        let mut settings: Vec<&str> = self.rows.iter().map(|row| row.setting).collect();
        settings.dedup();
        let place = |row: &Row| settings.iter().position(|setting| *setting == row.setting);
        self.rows.sort_by_key(|row| (place(row), row.way == OURS, row.way, row.kind));
        for row in &self.rows {
            let (acked, late) = match row.way {
                OURS => {
                    (format!("{} | {}", told(&row.acked), told(&row.told)), format!("{}; {}", row.late, row.after_told))
                }
                _ => ("|".to_owned(), String::new()),
            };
            println!(
                "| {} | {} | {} {} | {} | {} | {} | {acked} | {late} | {} | {} | {} |",
                row.setting,
                row.way,
                row.changes,
                row.kind,
                told(&row.write),
                told(&row.first_new),
                told(&row.last_old),
                row.requests,
                row.failures,
                row.hit,
            );
        }
        println!("\nMilliseconds: median / 95 % / largest.\n");
        self.goals();
    }

    /// Of our rows, flips and steps together.
    fn goals(&self) {
        println!(
            "| setting, goals for ours | last old answer: median ≤ 15 ms | 95 % ≤ 40 ms | median ≤ 1.2 × that of the first \
             setting | no answer but 200 | no old answer to who asks after the ack | none after the status says so \
             |\n|---|---|---|---|---|---|---|"
        );
        let mut first = None;
        for ours in
            self.rows.iter().filter(|row| row.way == OURS).collect::<Vec<_>>().chunk_by(|a, b| a.setting == b.setting)
        {
            let mut last_old = Latencies::default();
            ours.iter().for_each(|row| last_old.merge(&row.last_old));
            let [median, most] = [0.5, 0.95].map(|q| ms(last_old.quantile(q)));
            let ratio = median / *first.get_or_insert(median);
            let sum = |of: fn(&Row) -> u64| ours.iter().map(|row| of(row)).sum::<u64>() as f64;
            let goals = [
                (median, 15.0, 1),
                (most, 40.0, 1),
                (ratio, 1.2, 2),
                (sum(|row| row.failures), 0.0, 0),
                (sum(|row| row.late), 0.0, 0),
                (sum(|row| row.after_told), 0.0, 0),
            ];
            let verdicts = goals
                .map(|(is, limit, digits)| format!("{is:.digits$} {}", if is <= limit { "met" } else { "**missed**" }));
            println!("| {} | {} |", ours[0].setting, verdicts.join(" | "));
        }
        println!();
    }
}

impl Row {
    /// Adds changes, and the answers to all requests sent meanwhile.
    pub(super) fn add(&mut self, changes: &[Change], seen: &Seen) {
        self.changes += changes.len();
        self.requests += seen.tally.answers() + seen.tally.broken;
        self.failures += seen.tally.failures();
        for (number, change) in changes.iter().enumerate() {
            let next = changes.get(number + 1).map(|next| next.began);
            let until = |answer: &&Seeing| next.is_none_or(|next| answer.answered < next);
            let during: Vec<&Seeing> =
                seen.all().iter().filter(|answer| answer.answered >= change.began).filter(until).collect();
            self.hit += usize::from(during.iter().any(|answer| answer.status != 200));
            self.write.push(change.taken - change.began);
            let ours = during.iter().filter(|answer| answer.status == 200);
            let of = |canary: bool| ours.clone().filter(move |answer| by_canary(answer) == canary);
            // Only who begins to get requests, or gets none any more, can be told by one answer.
            if matches!(change.from, 0 | 100) {
                let first = of(change.from == 0).map(|answer| answer.answered).min();
                self.first_new.push(after(change, first));
            }
            if matches!(change.to, 0 | 100) {
                let old = || of(change.to == 0);
                self.last_old.push(after(change, old().map(|answer| answer.answered).max()));
                if let Some([acked, told]) = change.acked {
                    self.late += old().filter(|answer| answer.sent > acked).count() as u64;
                    self.after_told += old().filter(|answer| answer.answered > told).count() as u64;
                }
            }
            if let Some([acked, told]) = change.acked {
                self.acked.push(after(change, Some(acked)));
                self.told.push(after(change, Some(told)));
            }
        }
    }
}

/// From the moment the API server had taken the change; none when it was before, or never.
fn after(change: &Change, moment: Option<Instant>) -> Duration {
    moment.map(|moment| moment.saturating_duration_since(change.taken)).unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn told(times: &Latencies) -> String {
    [0.5, 0.95, 1.0].map(|q| format!("{:.0}", ms(times.quantile(q)))).join(" / ")
}
