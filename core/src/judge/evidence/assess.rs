//! From evidence to a verdict and its reasons.

use super::{Evidence, LimitTrack, Totals, Track};
use crate::judge::{
    Verdict,
    bounds::{self, log10},
    power::{Pair, Step},
    report::{Assessment, Compared, CouldSee, Level, Limited, Side, amount, name, percent},
    rules::{Limit, PassWhen, Rules, Weighted},
    wealth::Wealth,
};

/// How much is worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// All that the verdict needs. Of the harm that could be seen only the largest, of rates not refuted only what has to
    /// be proven.
    Verdict,
    /// All.
    Everything,
}

pub(super) fn assess(evidence: &Evidence, depth: Depth) -> Assessment {
    let (rules, spec) = (&evidence.rules, evidence.rules.spec());
    let weighted = spec.criteria.iter().zip(rules.weights());
    let harm = evidence.harm();
    let mut it = Assessment {
        verdict: Verdict::Inconclusive,
        reasons: Vec::new(),
        harm: Level { value: harm, log10: log10(harm), peak: evidence.peak.get(), decides_at: rules.fail_at() },
        pass_when: spec.pass_when,
        warning: spec.warning,
        min_requests: spec.min_requests,
        windows: evidence.windows,
        cap: rules.cap(rules.fail_at()),
        missing: evidence.missing,
        criteria: evidence
            .criteria
            .iter()
            .zip(weighted)
            .map(|(t, (w, part))| t.compared(evidence, *w, part, depth))
            .collect(),
        limits: evidence
            .limits
            .iter()
            .zip(&spec.limits)
            .map(|(track, limit)| track.limited(rules, *limit, depth))
            .collect(),
    };
    (it.verdict, it.reasons) = decide(&it, rules);
    it
}

/// A verdict and why.
fn decide(it: &Assessment, rules: &Rules) -> (Verdict, Vec<String>) {
    let harm = harms(it);
    if !harm.is_empty() {
        return (Verdict::Fail, harm);
    }
    let mut doubts = doubts(it, rules);
    if rules.spec().pass_when == PassWhen::ProvenHarmless {
        doubts.extend(unproven(it, rules));
    }
    if !doubts.is_empty() {
        return (Verdict::Inconclusive, doubts);
    }
    let mut reasons: Vec<String> = it.criteria.iter().map(sight).collect();
    reasons.extend(it.limits.iter().map(|limit| {
        let (name, rate) = (name(limit.criterion), percent(limit.canary.rate.unwrap_or(0.0)));
        format!("{name}: {rate} of the canary's requests, and {} are allowed", percent(limit.max))
    }));
    (Verdict::Pass, reasons)
}

/// What fails the step.
fn harms(it: &Assessment) -> Vec<String> {
    let mut reasons = Vec::new();
    if it.harm.peak >= it.harm.decides_at {
        let against =
            format!("evidence of harm reached {}, and {} is enough", amount(it.harm.peak), amount(it.harm.decides_at));
        reasons.push(against);
        let worst = it.criteria.iter().max_by(|a, b| (a.harm.peak * a.weight).total_cmp(&(b.harm.peak * b.weight)));
        reasons.extend(worst.map(|worst| {
            let rate = |side: &Side| side.rollout.rate().map_or_else(|| "no requests".to_owned(), percent);
            format!(
                "{}: {} on the canary, {} beside it",
                name(worst.criterion),
                rate(&worst.canary),
                rate(&worst.baseline)
            )
        }));
    }
    for limit in it.limits.iter().filter(|limit| limit.harm.peak >= limit.harm.decides_at) {
        let rate = percent(limit.canary.rollout.rate().unwrap_or(0.0));
        reasons.push(format!(
            "{}: {rate} on the canary, and {} are allowed",
            name(limit.criterion),
            percent(limit.max)
        ));
    }
    reasons
}

/// What keeps the step from passing.
fn doubts(it: &Assessment, rules: &Rules) -> Vec<String> {
    let spec = rules.spec();
    let mut reasons = Vec::new();
    if it.missing > 0 {
        reasons.push(format!("reports of {} proxies are missing: `sluicegate get proxies` says whose", it.missing));
    }
    let compared =
        it.criteria.iter().flat_map(|c| [(c.criterion, "canary", &c.canary), (c.criterion, "baseline", &c.baseline)]);
    let sides = compared.chain(it.limits.iter().map(|l| (l.criterion, "canary", &l.canary)));
    for (criterion, side, counts) in sides {
        let seen = counts.step.requests;
        if seen < spec.min_requests.max(1) {
            let name = name(criterion);
            reasons
                .push(format!("{name}: {seen} requests observed on the {side}, {} needed", spec.min_requests.max(1)));
        }
    }
    for it in &it.criteria {
        if it.could_see.is_none() && it.canary.step.requests.min(it.baseline.step.requests) >= spec.min_requests {
            reasons.push(format!("{}: so few requests or windows cannot show any harm", name(it.criterion)));
        }
        if it.harm.value >= spec.warning {
            let (name, value) = (name(it.criterion), amount(it.harm.value));
            reasons.push(format!("{name}: evidence of harm is {value}, a step passes below {}", amount(spec.warning)));
        }
    }
    for it in it.limits.iter().filter(|it| it.harm.value >= spec.warning) {
        let (name, value) = (name(it.criterion), amount(it.harm.value));
        reasons.push(format!(
            "{name}: evidence against the limit is {value}, a step passes below {}",
            amount(spec.warning)
        ));
    }
    reasons
}

/// What is not proven harmless.
fn unproven(it: &Assessment, rules: &Rules) -> Vec<String> {
    let spec = rules.spec();
    let open = it.criteria.iter().filter(|c| c.harmless.value < c.harmless.decides_at && c.canary.highest > spec.floor);
    let mut reasons: Vec<String> = open
        .map(|c| {
            let (name, value, enough) = (name(c.criterion), amount(c.harmless.value), amount(c.harmless.decides_at));
            let (highest, floor) = (percent(c.canary.highest), percent(spec.floor));
            format!("{name}: evidence of no harm is {value} of {enough}, and the rate may be {highest}, above {floor}")
        })
        .collect();
    reasons.extend(it.limits.iter().filter(|limit| limit.canary.highest > limit.max).map(|limit| {
        let (name, highest, max) = (name(limit.criterion), percent(limit.canary.highest), percent(limit.max));
        format!("{name}: the canary's rate may be {highest}, and {max} are allowed")
    }));
    reasons
}

/// What was seen, and what could have been.
fn sight(it: &Compared) -> String {
    let rate = |side: &Side| percent(side.rate.unwrap_or(0.0));
    let seen = format!("{}: {} on the canary, {} beside it", name(it.criterion), rate(&it.canary), rate(&it.baseline));
    match it.could_see {
        Some(least) => format!("{seen}; from {} on it would have been caught, four times in five", percent(least.rate)),
        None => format!("{seen}; no harm could have been seen"),
    }
}

fn level(wealth: &Wealth, decides_at: f64) -> Level {
    Level { value: wealth.value(), log10: log10(wealth.value()), peak: wealth.peak(), decides_at }
}

fn side(totals: &Totals, rules: &Rules, depth: Depth) -> Side {
    let (lowest, highest) = match (depth, rules.spec().pass_when) {
        (Depth::Verdict, PassWhen::NoHarmSeen) => (0.0, 1.0),
        _ => bounds::rate(totals.step.bad, totals.step.requests, rules.spec().beta),
    };
    Side { step: totals.step, rollout: totals.rollout, rate: totals.step.rate(), lowest, highest }
}

impl Track {
    fn compared(&self, evidence: &Evidence, weighted: Weighted, weight: f64, depth: Depth) -> Compared {
        let rules = &evidence.rules;
        let (canary, baseline) = (side(&self.canary, rules, depth), side(&self.baseline, rules, depth));
        let threshold = rules.fail_at() / weight;
        // Half an event more, so that none is not taken for never.
        let beside = (baseline.step.bad as f64 + 0.5) / (baseline.step.requests as f64 + 1.0);
        let step = Step {
            canary: canary.step.requests,
            baseline: baseline.step.requests,
            windows: evidence.windows,
            rate: beside,
            threshold,
            cap: rules.cap(rules.fail_at()),
            harmless: rules.odds_ratios().0,
        };
        let visible = match depth {
            Depth::Verdict => step.largest_visible(),
            Depth::Everything => step.smallest_visible(),
        };
        let (harm, harmless) = (level(&self.harm, threshold), level(&self.harmless, rules.pass_at()));
        let (edge, unacceptable) = rules.odds_ratios();
        let pair = pair(&canary, &baseline).filter(|_| depth == Depth::Everything);
        let until = |edge: f64, it: Level| pair?.requests_until(edge, it.value, it.decides_at);
        let is_worse = |edge: f64| pair.is_some_and(|pair| pair.odds_ratio() > edge);
        Compared {
            criterion: weighted.criterion,
            weight,
            canary,
            baseline,
            odds_ratio: odds_ratio(&canary, &baseline),
            harm,
            harmless,
            could_see: visible.map(|it| CouldSee { odds_ratio: it.odds_ratio, rate: it.rate, beside }),
            // Where nothing was bad, a difference is only one of how many requests there were.
            fails_after: until(edge, harm).filter(|_| is_worse(edge) && canary.step.bad > 0),
            proven_after: until(unacceptable, harmless).filter(|_| !is_worse(unacceptable)),
        }
    }
}

impl LimitTrack {
    fn limited(&self, rules: &Rules, limit: Limit, depth: Depth) -> Limited {
        let canary = side(&self.canary, rules, depth);
        Limited { criterion: limit.criterion, max: limit.max, canary, harm: level(&self.harm, rules.limit_at()) }
    }
}

/// Both sides as they are in this step, with half an event more on each, so that none is not taken for never.
fn pair(canary: &Side, baseline: &Side) -> Option<Pair> {
    let rate = |side: &Side| (side.step.bad as f64 + 0.5) / (side.step.requests as f64 + 1.0);
    let (of_canary, of_baseline) = (canary.step.requests, baseline.step.requests);
    let share = of_canary as f64 / (of_canary as f64 + of_baseline as f64);
    let both = of_canary > 0 && of_baseline > 0;
    both.then(|| Pair { canary: rate(canary), baseline: rate(baseline), share })
}

fn odds_ratio(canary: &Side, baseline: &Side) -> Option<f64> {
    let odds = |side: &Side| side.rate.filter(|rate| *rate > 0.0 && *rate < 1.0).map(|rate| rate / (1.0 - rate));
    Some(odds(canary)? / odds(baseline)?)
}
