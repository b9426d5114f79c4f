//! Rollouts for people: a table, a line, a live view.

use super::{
    evidence,
    get::short,
    text::{self, Cell, Table, Tone},
};
use crate::rollouts::view::View;
use std::fmt::Write as _;

/// `get rollouts`.
pub(super) fn table(views: &[View], colour: bool) -> String {
    if views.is_empty() {
        return "no rollouts; put a CanaryDeploy or a CanaryTest into the controller's folder (examples/canary-deploy.yaml)\n"
            .to_owned();
    }
    let mut table = Table::new(&["NAME", "PHASE", "STEP", "MAIN", "BASELINE", "CANARY", "VERDICT", "ACKED", "AGE"]);
    let now = text::now();
    for view in views {
        table.row(vec![
            short(&view.name).into(),
            Cell(phase(view).to_owned(), tone(view)),
            step(view).into(),
            share(view, "main").into(),
            share(view, "baseline").into(),
            share(view, "canary").into(),
            verdict(view),
            acked(view),
            view.since.map_or("-".into(), |since| text::age(since, now).into()),
        ]);
    }
    let mut out = table.render("", colour);
    for view in views {
        if let Some(trouble) = &view.trouble {
            let _ = writeln!(out, "{} {}: {trouble}", text::paint("!", Tone::Bad, colour), short(&view.name));
        }
    }
    out
}

/// One line, for logs and pipes.
pub(super) fn line(view: &View) -> String {
    let mut line = format!(
        "{} {} step={} main={} baseline={} canary={} verdict={} acked={}/{}",
        view.name,
        phase(view),
        step(view),
        share(view, "main").replace(' ', ","),
        share(view, "baseline").replace(' ', ","),
        share(view, "canary").replace(' ', ","),
        view.verdict.as_deref().unwrap_or("-"),
        view.acked,
        view.live,
    );
    if let Some(why) = &view.why {
        let _ = write!(line, " why={why:?}");
    }
    if let Some(trouble) = &view.trouble {
        let _ = write!(line, " trouble={trouble:?}");
    }
    line + "\n"
}

/// Everything about a rollout.
pub(super) fn describe(view: &View, colour: bool) -> String {
    let mut out = render(view, colour);
    let now = text::now();
    out.push_str("\nConditions:\n");
    let mut table = Table::default();
    for c in &view.conditions {
        let since = text::age(c.last_transition_time, now);
        let cells = [&c.kind, &c.status, &c.reason, &since, &c.message];
        table.row(cells.into_iter().map(|cell| cell.as_str().into()).collect());
    }
    out.push_str(&table.render("  ", colour));
    if !view.judgments.is_empty() {
        out.push_str("\nJudgments:\n");
        for (name, outcome) in &view.judgments {
            let _ = writeln!(out, "  {}  {outcome}", short(name));
        }
    }
    if !view.history.is_empty() {
        out.push_str("\nEvents:\n");
        let mut table = Table::default();
        for entry in &view.history {
            let cells = [&text::age(entry.at, now), &entry.phase, &entry.message];
            table.row(cells.into_iter().map(|cell| cell.as_str().into()).collect());
        }
        out.push_str(&table.render("  ", colour));
    }
    out
}

/// The live view.
pub(super) fn render(view: &View, colour: bool) -> String {
    let mut out = String::new();
    let versions = match (&view.version, view.stable.is_empty()) {
        (Some(version), false) => format!("{} -> {version}", view.stable),
        (Some(version), true) => version.clone(),
        (None, _) => view.stable.clone(),
    };
    let _ = writeln!(out, "{} {}   {versions}\n", view.kind, short(&view.name));
    let _ = writeln!(out, "  {:<9} {}", "Phase", text::paint(phase(view), tone(view), colour));
    if !view.steps.is_empty() {
        let _ = writeln!(out, "  {:<9} {}", "Steps", track(view, colour));
    }
    for role in ["canary", "main", "baseline"] {
        let weight = view.weights.get(role).map_or("0", String::as_str);
        let pods = view.pods.get(role).map_or_else(String::new, |p| {
            let trouble = p.trouble.as_ref().map_or_else(String::new, |why| format!("  {why}"));
            format!("{}/{} ready  {}{trouble}", p.ready, p.replicas, p.version)
        });
        let _ = writeln!(out, "  {role:<9} {:>7} %  {}  {pods}", weight, bar(weight));
    }
    let _ = writeln!(out, "  {:<9} {}/{} proxies", "Acked", view.acked, view.live);
    if let Some(verdict) = &view.verdict {
        let _ = writeln!(out, "  {:<9} {}", "Verdict", text::paint(verdict, verdict_tone(verdict), colour));
    }
    out.push_str(&view.evidence.as_ref().map(|e| evidence::render(e, colour)).unwrap_or_default());
    out.push_str(
        &view.metrics.as_ref().map(|reading| evidence::metrics(&reading.judgment, colour)).unwrap_or_default(),
    );
    if let Some(not_yet) = &view.not_yet {
        let _ = writeln!(out, "  {:<9} {}", "Probe", text::paint(not_yet, Tone::Wait, colour));
    }
    if let Some(why) = &view.why {
        let _ = writeln!(out, "  {:<9} {why}", "Back");
    }
    if let Some(ends) = view.test.as_ref().and_then(|test| test.ends) {
        let _ = writeln!(out, "  {:<9} by itself at {ends}", "Ends");
    }
    if !view.waits.is_empty() {
        let _ = writeln!(out, "  {:<9} {}", "Waits for", view.waits);
    }
    if let Some(trouble) = &view.trouble {
        let _ = writeln!(out, "  {:<9} {}", "Trouble", text::paint(trouble, Tone::Bad, colour));
    }
    out
}

fn phase(view: &View) -> &str {
    match view.phase.as_str() {
        "" => "Unknown",
        _ if view.paused => "Paused",
        phase => phase,
    }
}

fn tone(view: &View) -> Tone {
    match phase(view) {
        "Promoted" | "Idle" | "On" | "Off" => Tone::Good,
        // The way a CanaryTest ends.
        "Clear" if view.kind == "CanaryTest" => Tone::Wait,
        "Shed" | "Restore" | "Return" | "Clear" | "RolledBack" | "Unknown" => Tone::Bad,
        _ => Tone::Wait,
    }
}

fn step(view: &View) -> String {
    view.step.map_or("-".to_owned(), |step| format!("{step}/{}", view.steps.len()))
}

fn share(view: &View, role: &str) -> String {
    let weight = view.weights.get(role).map_or("0", String::as_str);
    match view.pods.get(role) {
        Some(pods) => format!("{weight}% {}/{}", pods.ready, pods.replicas),
        None => format!("{weight}%"),
    }
}

fn verdict(view: &View) -> Cell {
    let verdict = view.verdict.as_deref().unwrap_or("-");
    Cell(verdict.to_owned(), verdict_tone(verdict))
}

fn verdict_tone(verdict: &str) -> Tone {
    match verdict {
        "pass" => Tone::Good,
        "fail" => Tone::Bad,
        "inconclusive" => Tone::Wait,
        _ => Tone::Plain,
    }
}

fn acked(view: &View) -> Cell {
    let tone = if view.live > 0 && view.acked == view.live { Tone::Good } else { Tone::Wait };
    Cell(format!("{}/{}", view.acked, view.live), tone)
}

/// `1 ─ 10 ─ [25] ─ 50`.
fn track(view: &View, colour: bool) -> String {
    let one = |(index, weight): (usize, &String)| {
        if view.step == Some(index + 1) {
            text::paint(&format!("[{weight}]"), tone(view), colour)
        } else {
            weight.clone()
        }
    };
    view.steps.iter().enumerate().map(one).collect::<Vec<_>>().join(" ─ ")
}

/// Twenty characters for 100 %.
fn bar(weight: &str) -> String {
    let percent: f64 = weight.parse().unwrap_or(0.0);
    let filled = ((percent / 5.0).round() as usize).clamp(usize::from(percent > 0.0), 20);
    format!("{}{}", "█".repeat(filled), "░".repeat(20 - filled))
}
