//! Windows of counts, judged as one step by [`sluicegate_core::judge::evidence`].
//!
//! In: a recording. Out: a verdict, the window at which it stood, and the evidence. The work grows with the windows, and
//! with the bad requests in each.

use super::recording::{Count, Counts, Side, Window};
use crate::api::{accept_rollout::judging, judge::PassWhenKind};
use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Number;
use sluicegate_core::judge::{
    Verdict,
    evidence::Evidence,
    report::{self, Compared, CouldSee},
    rules::{Classes, Criterion, PassWhen, Rules, RulesSpec, Weighted},
    window::{self, Tally},
};

/// What the windows say together.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Judged {
    /// The verdict at the end of the recording.
    pub(super) verdict: Verdict,
    /// `t` of the window from which on it was this verdict; `None` when inconclusive.
    pub(super) decided_at: Option<Number>,
    pub(super) evidence: Levels,
    pub(super) reasons: Vec<String>,
    pub(super) pass_when: PassWhen,
    /// Windows judged.
    pub(super) windows: usize,
    pub(super) criteria: Vec<Compare>,
}

/// Evidence of all criteria together, and what it takes. All finite: evidence is not kept beyond some 1e300.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Levels {
    /// Evidence of harm, the most it ever was: the verdict is `fail` from `fail_at` on.
    pub(super) fail: f64,
    /// Evidence that harm is not unacceptable, now, of the criterion that has least of it.
    pub(super) pass: f64,
    pub(super) fail_at: f64,
    /// What `provenHarmless` asks of `pass`.
    pub(super) pass_at: f64,
}

/// One criterion.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Compare {
    pub(super) name: String,
    pub(super) canary: Share,
    pub(super) baseline: Share,
    pub(super) odds_ratio: Option<f64>,
    /// Evidence of harm, the most it ever was; alone it would need `fail_at`.
    pub(super) fail: f64,
    pub(super) pass: f64,
    pub(super) fail_at: f64,
    pub(super) pass_at: f64,
    /// The smallest harm that would have been caught, four times in five.
    pub(super) could_see: Option<CouldSee>,
}

/// One side's requests on a criterion.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) n: u64,
    pub(super) bad: u64,
    pub(super) rate: Option<f64>,
}

/// Judges.
pub(super) fn judge(recording: &Counts) -> Result<Judged> {
    let slow = recording.windows.iter().any(|window| window.canary.slow.is_some() || window.baseline.slow.is_some());
    let mut evidence = Evidence::new(rules(recording, slow)?);
    let mut stood: Option<(Verdict, &Number)> = None;
    for (i, recorded) in recording.windows.iter().enumerate() {
        evidence.observe(&window(recorded, slow)).with_context(|| format!("counts[{i}] (t {})", recorded.t))?;
        stood = match (evidence.verdict(), stood) {
            (Verdict::Inconclusive, _) => None,
            (verdict, Some((before, t))) if verdict == before => Some((before, t)),
            (verdict, _) => Some((verdict, &recorded.t)),
        };
    }
    let it = evidence.assess();
    Ok(Judged {
        verdict: it.verdict,
        decided_at: stood.map(|(_, t)| t.clone()),
        evidence: Levels {
            fail: it.harm.peak,
            pass: it.criteria.iter().map(|c| c.harmless.value).fold(f64::MAX, f64::min),
            fail_at: it.harm.decides_at,
            pass_at: evidence.rules().pass_at(),
        },
        reasons: it.reasons,
        pass_when: it.pass_when,
        windows: recording.windows.len(),
        criteria: it.criteria.iter().map(compare).collect(),
    })
}

fn rules(recording: &Counts, slow: bool) -> Result<Rules> {
    let unless_given = RulesSpec::default();
    let criteria = [Some(Criterion::Errors(Classes::default())), slow.then_some(Criterion::Slow)];
    let tolerance = recording.tolerance.unwrap_or(unless_given.tolerance);
    let min_requests = recording.min_requests.unwrap_or(judging::MIN_REQUESTS);
    ensure!(min_requests > 0, "minRequests is 0: it must be at least 1, nothing is never enough to pass");
    let spec = RulesSpec {
        criteria: criteria.into_iter().flatten().map(|criterion| Weighted { criterion, weight: 1.0 }).collect(),
        alpha: recording.alpha.unwrap_or(judging::ALPHA),
        tolerance,
        // What is tolerated is not unacceptable.
        unacceptable: unless_given.unacceptable.max(2.0 * tolerance),
        min_requests,
        pass_when: match recording.pass_when.unwrap_or_default() {
            PassWhenKind::NoHarmSeen => PassWhen::NoHarmSeen,
            PassWhenKind::ProvenHarmless => PassWhen::ProvenHarmless,
        },
        ..unless_given
    };
    Ok(Rules::try_from(spec)?)
}

/// Tallies in the order of the criteria. Slowness is compared where both sides have it.
fn window(recorded: &Window, slow: bool) -> window::Window {
    let both = recorded.canary.slow.is_some() && recorded.baseline.slow.is_some();
    let side = |side: &Side| {
        let of = |bad: Count| Tally { requests: side.n.0, bad: bad.0 };
        let slowness = side.slow.filter(|_| both).map_or_else(Tally::default, of);
        [Some(of(side.errors)), slow.then_some(slowness)].into_iter().flatten().collect()
    };
    window::Window { canary: side(&recorded.canary), baseline: side(&recorded.baseline), missing: 0 }
}

fn compare(it: &Compared) -> Compare {
    let share = |side: &report::Side| Share { n: side.step.requests, bad: side.step.bad, rate: side.rate };
    Compare {
        name: report::name(it.criterion),
        canary: share(&it.canary),
        baseline: share(&it.baseline),
        odds_ratio: it.odds_ratio,
        fail: it.harm.peak,
        pass: it.harmless.value,
        fail_at: it.harm.decides_at,
        pass_at: it.harmless.decides_at,
        could_see: it.could_see,
    }
}
