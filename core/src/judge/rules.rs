//! What the user asks of the judge: raw as written down, and checked.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What counts as a bad event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Criterion {
    /// An answer, or the lack of one, of these classes.
    Errors(Classes),
    /// An answer that took longer than so many microseconds, one of [`crate::latency::EDGES`].
    SlowerThan(u64),
    /// An answer that was slow, by a threshold that only whoever counted knows: for tallies that are given as they are.
    /// Our own counts do not have it, so nothing judged by them passes on it.
    Slow,
}

/// Which outcomes are errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Classes {
    /// 5xx of the upstream.
    pub server: bool,
    /// No answer: refused, reset, timeout.
    pub local: bool,
    /// 4xx.
    pub client: bool,
}

impl Default for Classes {
    fn default() -> Self {
        Self { server: true, local: true, client: false }
    }
}

/// A criterion and how much of the evidence it may use.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Weighted {
    /// What is compared.
    pub criterion: Criterion,
    /// Above 0, relative to the sum of all.
    pub weight: f64,
}

/// A limit on the canary alone.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limit {
    /// What is limited.
    pub criterion: Criterion,
    /// The largest share of requests that may be bad, between 0 and 1 exclusive: 0.01 for a p99.
    pub max: f64,
}

/// When a step passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PassWhen {
    /// Enough requests, and nothing that looks like harm.
    #[default]
    NoHarmSeen,
    /// Only when unacceptable harm is refuted.
    ProvenHarmless,
}

/// Rules as written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RulesSpec {
    /// What canary and baseline are compared in; at most 16.
    pub criteria: Vec<Weighted>,
    /// What the canary must keep by itself; at most 16.
    pub limits: Vec<Limit>,
    /// The chance that a release that is not worse is ever rolled back by the comparison; the limits together have
    /// as much again.
    pub alpha: f64,
    /// The chance that unacceptable harm is ever taken for refuted.
    pub beta: f64,
    /// By how much larger the canary's odds of a bad request may be and still count as "not worse": 0.1 for a tenth. 0,
    /// because a tenth more is out of sight for most rollouts, and every tolerance delays what can be seen.
    pub tolerance: f64,
    /// By how much larger they may not be: 1 for twice the odds.
    pub unacceptable: f64,
    /// Harm must show in at least this many windows; 1: in one. It bounds what a single window counts, since requests
    /// of one moment are not independent of each other.
    pub windows: u32,
    /// Requests observed on each side in the step before it can pass.
    pub min_requests: u64,
    /// Evidence of harm from which a step no longer passes by itself.
    pub warning: f64,
    /// A canary whose own rate is surely below this is harmless, whatever the baseline's is.
    pub floor: f64,
    /// When a step passes.
    pub pass_when: PassWhen,
}

impl Default for RulesSpec {
    fn default() -> Self {
        Self {
            criteria: vec![Weighted { criterion: Criterion::Errors(Classes::default()), weight: 1.0 }],
            limits: Vec::new(),
            alpha: 0.01,
            beta: 0.05,
            tolerance: 0.0,
            unacceptable: 1.0,
            windows: 3,
            min_requests: 200,
            warning: 10.0,
            floor: 0.001,
            pass_when: PassWhen::NoHarmSeen,
        }
    }
}

/// Why rules are not accepted.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum BadRules {
    /// A number outside its range.
    #[error("{field} is {value}: it must be {range}")]
    Range {
        /// Its name.
        field: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// Nothing to judge.
    #[error("no criterion and no limit: name at least one, like errors")]
    Nothing,
    /// More than 16 criteria or limits.
    #[error("more than 16 criteria or limits: evidence spread so thin sees nothing")]
    TooMany,
}

/// Rules that cannot be wrong.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RulesSpec", into = "RulesSpec")]
pub struct Rules(RulesSpec);

impl From<Rules> for RulesSpec {
    fn from(rules: Rules) -> Self {
        rules.0
    }
}

impl TryFrom<RulesSpec> for Rules {
    type Error = BadRules;

    fn try_from(spec: RulesSpec) -> Result<Self, BadRules> {
        const SHARE: &str = "between 0 and 1, exclusive";
        let within = |field, value: f64, ok: bool, range| {
            if ok { Ok(()) } else { Err(BadRules::Range { field, value, range }) }
        };
        let share = |field, value: f64| within(field, value, value > 0.0 && value < 1.0, SHARE);
        if spec.criteria.is_empty() && spec.limits.is_empty() {
            return Err(BadRules::Nothing);
        }
        if spec.criteria.len() > 16 || spec.limits.len() > 16 {
            return Err(BadRules::TooMany);
        }
        share("alpha", spec.alpha)?;
        share("beta", spec.beta)?;
        share("floor", spec.floor)?;
        // Thresholds far above any cap or wealth are typing errors.
        within("alpha", spec.alpha, spec.alpha >= 1e-12, "at least 1e-12")?;
        within("beta", spec.beta, spec.beta >= 1e-12, "at least 1e-12")?;
        within("tolerance", spec.tolerance, (0.0..=100.0).contains(&spec.tolerance), "between 0 and 100")?;
        let unacceptable = spec.unacceptable > spec.tolerance && spec.unacceptable <= 1000.0;
        within("unacceptable", spec.unacceptable, unacceptable, "above tolerance and at most 1000")?;
        within("windows", f64::from(spec.windows), (1..=100).contains(&spec.windows), "between 1 and 100")?;
        within("warning", spec.warning, spec.warning >= 1.0 && spec.warning.is_finite(), "at least 1")?;
        for weighted in &spec.criteria {
            within("weight", weighted.weight, weighted.weight > 0.0 && weighted.weight <= 1e6, "between 0 and 1e6")?;
        }
        spec.limits.iter().try_for_each(|limit| share("max", limit.max))?;
        Ok(Self(spec))
    }
}

impl Rules {
    /// As written down.
    pub fn spec(&self) -> &RulesSpec {
        &self.0
    }

    /// Everything a window must have counted, in order: criteria, then limits.
    pub fn measured(&self) -> impl Iterator<Item = Criterion> {
        let limits = self.0.limits.iter().map(|limit| limit.criterion);
        self.0.criteria.iter().map(|weighted| weighted.criterion).chain(limits)
    }

    /// The weights of the criteria, with sum 1.
    pub fn weights(&self) -> impl Iterator<Item = f64> {
        let sum: f64 = self.0.criteria.iter().map(|weighted| weighted.weight).sum();
        self.0.criteria.iter().map(move |weighted| weighted.weight / sum)
    }

    /// Evidence of harm that fails a step.
    pub fn fail_at(&self) -> f64 {
        1.0 / self.0.alpha
    }

    /// Evidence against one limit that fails a step: the limits share `alpha`.
    pub fn limit_at(&self) -> f64 {
        self.0.limits.len() as f64 / self.0.alpha
    }

    /// Evidence that refutes unacceptable harm.
    pub fn pass_at(&self) -> f64 {
        1.0 / self.0.beta
    }

    /// The largest odds ratio that is no harm, and the smallest that is unacceptable.
    pub fn odds_ratios(&self) -> (f64, f64) {
        (1.0 + self.0.tolerance, 1.0 + self.0.unacceptable)
    }

    /// The most a window counts towards a threshold: one window fewer than `windows` at the cap stays below it, as
    /// many pass it, with something over for several criteria. No bound for 1.
    pub fn cap(&self, threshold: f64) -> f64 {
        match self.0.windows {
            0 | 1 => f64::MAX,
            windows => libm::pow(threshold, 1.0 / (f64::from(windows) - 0.5)),
        }
    }
}
