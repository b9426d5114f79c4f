//! A judged recording for people.

use super::{Judged, counts, metrics};
use crate::cli::text::{Cell, Table, Tone, paint};
use sluicegate_core::judge::{
    Verdict,
    metrics::number,
    report::{amount, percent},
};
use std::fmt::Write as _;

/// The verdict, the numbers and the reasons.
pub(super) fn table(judged: &Judged, colour: bool) -> String {
    match judged {
        Judged::Counts(it) => of_counts(it, colour),
        Judged::Metrics(it) => of_metrics(it, colour),
    }
}

fn of_counts(it: &counts::Judged, colour: bool) -> String {
    let stood = match &it.decided_at {
        Some(t) => format!("from t {t} on, {} windows", it.windows),
        None => format!("after {} windows", it.windows),
    };
    let mut out = head(it.verdict, &stood, colour);
    let mut levels = Table::new(&["EVIDENCE", "IS", "ENOUGH"]);
    let mut level = |what: &str, is: f64, enough: f64, tone| {
        let is = Cell(amount(is), if is >= enough { tone } else { Tone::Plain });
        levels.row(vec![what.into(), is, amount(enough).into()]);
    };
    level("of harm", it.evidence.fail, it.evidence.fail_at, Tone::Bad);
    level("of no harm", it.evidence.pass, it.evidence.pass_at, Tone::Good);
    out += &levels.render("  ", colour);
    out.push('\n');
    let mut criteria =
        Table::new(&["CRITERION", "CANARY", "BASELINE", "ODDS RATIO", "OF HARM", "OF NO HARM", "COULD SEE"]);
    for c in &it.criteria {
        let share = |s: &counts::Share| match s.rate {
            Some(rate) => format!("{}/{}, {}", s.bad, s.n, percent(rate)),
            None => "no requests".to_owned(),
        };
        criteria.row(vec![
            c.name.clone().into(),
            share(&c.canary).into(),
            share(&c.baseline).into(),
            c.odds_ratio.map_or("-".to_owned(), number).into(),
            format!("{} of {}", amount(c.fail), amount(c.fail_at)).into(),
            format!("{} of {}", amount(c.pass), amount(c.pass_at)).into(),
            c.could_see.map_or("nothing".to_owned(), |least| percent(least.rate)).into(),
        ]);
    }
    out + &criteria.render("  ", colour) + &reasons(&it.reasons)
}

fn of_metrics(it: &metrics::Judged, colour: bool) -> String {
    let marks = format!("score {} ({} passes, below {} fails)", number(it.score), it.pass, it.marginal);
    let mut out = head(it.verdict, &marks, colour);
    let mut table = Table::new(&["METRIC", "GROUP", "CLASS", "INTERVAL", "ESTIMATE", "BOUND", "EFFECT", "POINTS"]);
    for m in &it.metrics {
        let tone = match m.class {
            "pass" if !m.too_few => Tone::Good,
            "pass" | "nodata" => Tone::Wait,
            _ => Tone::Bad,
        };
        let critical = if m.critical { ", critical" } else { "" };
        let or_dash = |x: Option<f64>| Cell::from(x.map_or("-".to_owned(), number));
        table.row(vec![
            plain(&m.name).into(),
            plain(&m.group).into(),
            Cell(format!("{}{critical}", m.class), tone),
            m.interval.map_or("-".to_owned(), |[low, high]| format!("{} to {}", number(low), number(high))).into(),
            or_dash(m.estimate),
            or_dash(m.bound),
            or_dash(m.effect),
            format!("{} beside {}", m.n.canary, m.n.baseline).into(),
        ]);
    }
    out += &table.render("  ", colour);
    out.push('\n');
    let mut groups = Table::new(&["GROUP", "WEIGHT", "SCORE", "PASSED", "FAILED", "UNCOUNTED"]);
    for g in &it.groups {
        groups.row(vec![
            plain(&g.name).into(),
            number(g.weight).into(),
            g.score.map_or("-".to_owned(), number).into(),
            g.passed.to_string().into(),
            g.failed.to_string().into(),
            g.uncounted.to_string().into(),
        ]);
    }
    out + &groups.render("  ", colour) + &reasons(&it.reasons)
}

fn head(verdict: Verdict, what: &str, colour: bool) -> String {
    let (verdict, tone) = match verdict {
        Verdict::Pass => ("pass", Tone::Good),
        Verdict::Fail => ("fail", Tone::Bad),
        Verdict::Inconclusive => ("inconclusive", Tone::Wait),
    };
    format!("{}  {what}\n\n", paint(verdict, tone, colour))
}

fn reasons(reasons: &[String]) -> String {
    let mut out = "\n".to_owned();
    for reason in reasons {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {}", plain(reason));
    }
    out
}

/// Names come from a file, and must not move the cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
