//! The judge that needs nothing but our own counts: evidence for and against harm, right at every look.
//!
//! In: windows. Out: an [`Assessment`], any time. The state is small, goes into JSON and comes back with the same bits.
//!
//! * *Harm* runs over the whole rollout. Per criterion, bets that the canary's odds of a bad request are larger than
//!   those of the baseline (see [`super::hypergeometric`] and [`super::wealth`]); the criteria are averaged by their
//!   weights, which is a bet again. A canary that is not worse is ever failed with probability at most `alpha`.
//!   This holds for every odds ratio up to the tolerated one, not only at it: a window's factor grows with the canary's
//!   bad events, and a smaller odds ratio makes these stochastically fewer. Capping a factor only lowers its mean. Rates
//!   may change from window to window, and weights may depend on everything that came before.
//! * *Harmless* runs over a step: bets that they are not as large as is unacceptable. All criteria have to show it.
//! * *Limits* look at the canary alone and share another `alpha`.
//!
//! What it assumes: within a window, a bad event falls on any request of a side alike. One bad pod or one heavy user
//! breaks that; the cap on a window's factor limits what it does (docs/JUDGING.md has measurements).
//!
//! Sources: Wald 1945; Ville 1939; Robbins 1970; Howard et al. 2021; Ramdas, Grünwald, Vovk, Shafer 2023; Fisher 1935.

mod assess;

use assess::Depth;

use super::{
    Verdict,
    exact::Exact,
    hypergeometric::{Margins, binomial_ln_ratio, ln_ratio},
    report::Assessment,
    rules::{Limit, Rules},
    wealth::{HARM, HARMLESS, Wealth},
    window::{Refused, Tally, Window},
};
use serde::{Deserialize, Serialize};

/// The version of the stored form.
pub const VERSION: u32 = 1;

/// All that is known of a rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Stored")]
pub struct Evidence {
    version: u32,
    rules: Rules,
    criteria: Vec<Track>,
    limits: Vec<LimitTrack>,
    /// The most the average of the criteria ever was.
    peak: Exact,
    /// Windows in this step.
    windows: u32,
    /// Proxies whose reports were missing in the last window.
    missing: u32,
}

/// One side's counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Totals {
    step: Tally,
    rollout: Tally,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Track {
    canary: Totals,
    baseline: Totals,
    harm: Wealth,
    harmless: Wealth,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LimitTrack {
    canary: Totals,
    harm: Wealth,
}

impl Evidence {
    /// Of a rollout that begins.
    pub fn new(rules: Rules) -> Self {
        let track = Track {
            canary: Totals::default(),
            baseline: Totals::default(),
            harm: Wealth::new(HARM.len()),
            harmless: Wealth::new(HARMLESS.len()),
        };
        let limit = LimitTrack { canary: Totals::default(), harm: Wealth::new(HARM.len()) };
        Self {
            version: VERSION,
            criteria: vec![track; rules.spec().criteria.len()],
            limits: vec![limit; rules.spec().limits.len()],
            rules,
            peak: Exact::new(1.0),
            windows: 0,
            missing: 0,
        }
    }

    /// The rules it was begun with. Others need evidence that begins anew.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A step begins: what is to pass it must come from it. Evidence of harm stays.
    pub fn begin_step(&mut self) {
        self.windows = 0;
        for track in &mut self.criteria {
            track.canary.step = Tally::default();
            track.baseline.step = Tally::default();
            track.harmless = Wealth::new(HARMLESS.len());
        }
        self.limits.iter_mut().for_each(|track| track.canary.step = Tally::default());
    }

    /// Takes a window, once. A window that is refused changes nothing.
    pub fn observe(&mut self, window: &Window) -> Result<(), Refused> {
        window.check(self.criteria.len() + self.limits.len())?;
        self.missing = window.missing;
        self.windows = self.windows.saturating_add(1);
        let sides = || window.canary.iter().zip(&window.baseline);
        for (track, (canary, baseline)) in self.criteria.iter_mut().zip(sides()) {
            track.take(&self.rules, *canary, *baseline);
        }
        let limits = self.rules.spec().limits.iter().zip(window.canary.iter().skip(self.criteria.len()));
        for (track, (limit, canary)) in self.limits.iter_mut().zip(limits) {
            track.take(&self.rules, *limit, *canary);
        }
        self.peak = Exact::new(self.peak.get().max(self.harm()));
        Ok(())
    }

    /// Evidence of harm: the average over the criteria.
    pub fn harm(&self) -> f64 {
        if self.criteria.is_empty() {
            return 1.0;
        }
        self.rules.weights().zip(&self.criteria).map(|(weight, track)| weight * track.harm.value()).sum()
    }

    /// Whether harm has been shown, in comparison or against a limit.
    pub fn failed(&self) -> bool {
        let limit = self.rules.limit_at();
        self.peak.get() >= self.rules.fail_at() || self.limits.iter().any(|track| track.harm.peak() >= limit)
    }

    /// The verdict now, with everything behind it.
    pub fn assess(&self) -> Assessment {
        assess::assess(self, Depth::Everything)
    }

    /// The verdict of [`Self::assess`] alone, without the numbers that cost most: for looks at many windows in a row.
    pub fn verdict(&self) -> Verdict {
        assess::assess(self, Depth::Verdict).verdict
    }
}

impl Totals {
    fn add(&mut self, tally: Tally) {
        self.step.add(tally);
        self.rollout.add(tally);
    }
}

impl Track {
    fn take(&mut self, rules: &Rules, canary: Tally, baseline: Tally) {
        self.canary.add(canary);
        self.baseline.add(baseline);
        let bad = canary.bad.saturating_add(baseline.bad);
        let margins = Margins { canary: canary.requests, baseline: baseline.requests, bad };
        let (lowest, highest) = margins.support();
        if lowest >= highest {
            // All or nothing was bad, or a side had no request: there is no choice, so nothing is said.
            return;
        }
        let (edge, unacceptable) = rules.odds_ratios();
        let ratios = |from: f64| {
            move |(ratio, weight): &(f64, f64)| (*weight, ln_ratio(margins, canary.bad, from, from * ratio))
        };
        self.harm.bet(rules.cap(rules.fail_at()), HARM.iter().map(ratios(edge)));
        self.harmless.bet(rules.cap(rules.pass_at()), HARMLESS.iter().map(ratios(unacceptable)));
    }
}

impl LimitTrack {
    fn take(&mut self, rules: &Rules, limit: Limit, canary: Tally) {
        self.canary.add(canary);
        if canary.requests == 0 {
            return;
        }
        let ln =
            |(ratio, weight): &(f64, f64)| (*weight, binomial_ln_ratio(canary.bad, canary.requests, limit.max, *ratio));
        self.harm.bet(rules.cap(rules.limit_at()), HARM.iter().map(ln));
    }
}

/// As it is written down, not yet checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    version: u32,
    rules: Rules,
    criteria: Vec<Track>,
    limits: Vec<LimitTrack>,
    peak: Exact,
    windows: u32,
    missing: u32,
}

impl TryFrom<Stored> for Evidence {
    type Error = String;

    fn try_from(it: Stored) -> Result<Self, String> {
        if it.version != VERSION {
            return Err(format!(
                "evidence of version {}, this program knows {VERSION}: judge the rollout anew",
                it.version
            ));
        }
        let harms = it.criteria.iter().map(|track| &track.harm).chain(it.limits.iter().map(|track| &track.harm));
        let whole = it.criteria.len() == it.rules.spec().criteria.len()
            && it.limits.len() == it.rules.spec().limits.len()
            && harms.map(Wealth::alternatives).all(|count| count == HARM.len())
            && it.criteria.iter().all(|track| track.harmless.alternatives() == HARMLESS.len());
        if !whole {
            return Err("evidence that does not fit its own rules: judge the rollout anew".to_owned());
        }
        let Stored { version, rules, criteria, limits, peak, windows, missing } = it;
        Ok(Self { version, rules, criteria, limits, peak, windows, missing })
    }
}
