//! The steps of a rollout as they are made: a line for each when it is over, and on a terminal what is going on meanwhile.

use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::Instant;

use serde_json::Value;

use crate::print::{bad, faint, good};
use crate::theatre::number;

const ROLES: [&str; 3] = ["canary", "main", "baseline"];

/// See the module.
pub(crate) struct Steps {
    began: Instant,
    held: Option<Held>,
    over: usize,
}

/// A step that is judged.
struct Held {
    /// Requests of canary and baseline in the evidence when it began.
    requests: [f64; 2],
    /// As last seen.
    rollout: Value,
}

fn requests(rollout: &Value) -> [f64; 2] {
    ["canary", "baseline"].map(|role| number(rollout, &format!("/criteria/0/{role}/rollout/requests")).unwrap_or(0.0))
}

impl Steps {
    /// With the heading of the lines.
    pub(crate) fn begin(began: Instant) -> Self {
        let title = line(["step", "weights", "pods", "acked", "requests", "evidence", "after", ""].map(str::to_owned));
        let more = ["", "canary:main:baseline", "likewise", "", "judged", "of harm", "", ""].map(str::to_owned);
        println!("\n{title}\n{}", faint(&line(more)));
        Self { began, held: None, over: 0 }
    }

    /// Looks at the rollout.
    pub(crate) fn show(&mut self, rollout: &Value) {
        let holds = rollout["phase"] == "Hold";
        let moved = |held: &mut Held| !holds || held.rollout["step"] != rollout["step"];
        if let Some(held) = self.held.take_if(moved) {
            // What decided came with the look that ended it.
            self.print(&held, rollout);
        }
        if holds {
            let requests = self.held.as_ref().map_or_else(|| requests(rollout), |held| held.requests);
            self.held = Some(Held { requests, rollout: rollout.clone() });
        }
        if stdout().is_terminal() {
            let waits: String = rollout["waits"].as_str().unwrap_or_default().chars().take(90).collect();
            print!("\r\x1b[K  {}", faint(&format!("{}: {waits}", rollout["phase"].as_str().unwrap_or_default())));
            stdout().flush().ok();
        }
    }

    /// No more of it; the number of steps shown.
    pub(crate) fn end(mut self) -> usize {
        if let Some(held) = self.held.take() {
            self.print(&held, &held.rollout);
        }
        clear();
        self.over
    }

    fn print(&mut self, held: &Held, decided: &Value) {
        clear();
        self.over += 1;
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let three = |of: &dyn Fn(&str) -> String| ROLES.map(of).join(":");
        let ([canary, baseline], [canary_then, baseline_then]) = (requests(decided), held.requests);
        let held = &held.rollout;
        let step = held["step"].as_u64().unwrap_or(1) as usize;
        let harm = |what: &str| number(decided, &format!("/harm/{what}")).unwrap_or(0.0);
        let found = if decided["why"].is_null() { good("passed") } else { bad("failed") };
        println!(
            "{}",
            line([
                format!("{} %", text(&held["steps"][step - 1])),
                three(&|role| text(&held["weights"][role])),
                three(&|role| held["pods"][role]["ready"].as_u64().unwrap_or(0).to_string()),
                format!("{}/{}", held["acked"], held["live"]),
                format!("{} + {}", canary - canary_then, baseline - baseline_then),
                format!("{:.1} of {:.0}", harm("peak"), harm("decidesAt")),
                format!("{:.1} s", self.began.elapsed().as_secs_f64()),
                found,
            ])
        );
    }
}

fn clear() {
    if stdout().is_terminal() {
        print!("\r\x1b[K");
    }
}

fn line(cells: [String; 8]) -> String {
    let [step, weights, pods, acked, judged, evidence, after, found] = cells;
    let line =
        format!("  {step:<5} {weights:>20} {pods:>8} {acked:>6} {judged:>13} {evidence:>16} {after:>8}  {found}");
    line.trim_end().to_owned()
}
