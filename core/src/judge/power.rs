//! What so many requests can show: how far apart two rates are in one request, and the smallest harm a step would have
//! caught.
//!
//! In: requests of both sides, the rate seen, the thresholds. Out: an odds ratio, or nothing.

use libm::{exp, log, log1p, sqrt};

/// Nats the grid of alternatives, the waiting part and the last step over the threshold cost, about; measured by
/// `make bench-judge`.
const COST: f64 = 1.5;
/// The normal quantile of 80 %.
const QUANTILE_80: f64 = 0.841_621;
/// Odds ratios above this say nothing new.
const MOST: f64 = 1e6;

/// Two rates, and the share of requests that goes to the canary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Share of bad requests on the canary.
    pub canary: f64,
    /// Share of bad requests on the baseline.
    pub baseline: f64,
    /// The canary's share of all requests of both.
    pub share: f64,
}

/// The smallest harm that would have been caught.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Visible {
    /// Of the odds of a bad request on the canary to those on the baseline.
    pub odds_ratio: f64,
    /// The canary's rate at that odds ratio.
    pub rate: f64,
}

/// What a step had to work with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// Requests of the canary.
    pub canary: u64,
    /// Requests of the baseline.
    pub baseline: u64,
    /// Windows.
    pub windows: u32,
    /// Share of bad requests to expect on the baseline.
    pub rate: f64,
    /// Evidence at which the step fails: `1/α`, divided by the criterion's weight.
    pub threshold: f64,
    /// The most a window counts.
    pub cap: f64,
    /// Odds ratio that is still no harm.
    pub harmless: f64,
}

/// `p ln(p/q) + (1-p) ln((1-p)/(1-q))`, in nats.
fn divergence(p: f64, q: f64) -> f64 {
    let part = |p: f64, q: f64| if p > 0.0 { p * log(p / q) } else { 0.0 };
    part(p, q) + part(1.0 - p, 1.0 - q)
}

/// The rate with odds `ratio` times those of `rate`.
pub fn times_odds(rate: f64, ratio: f64) -> f64 {
    rate * ratio / (1.0 + rate * (ratio - 1.0))
}

impl Pair {
    /// The closest pair without harm: the same bad requests in all, odds ratio `harmless`. No test that is right for
    /// every common rate can tell the two apart faster than these differ.
    pub fn closest_harmless(&self, harmless: f64) -> Self {
        let mean = |baseline: f64| self.share * times_odds(baseline, harmless) + (1.0 - self.share) * baseline;
        let bad = mean_of(self);
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..100 {
            let middle = (low + high) / 2.0;
            if mean(middle) < bad { low = middle } else { high = middle }
        }
        let baseline = (low + high) / 2.0;
        Self { canary: times_odds(baseline, harmless), baseline, share: self.share }
    }

    /// Nats a request (of either side) tells between this and the closest pair without harm.
    pub fn nats(&self, harmless: f64) -> f64 {
        let null = self.closest_harmless(harmless);
        let of_canary = self.share * divergence(self.canary, null.canary);
        (of_canary + (1.0 - self.share) * divergence(self.baseline, null.baseline)).max(0.0)
    }

    /// Requests of both sides together, about, after which evidence against the odds ratio `edge` has grown from `value`
    /// to `threshold`, if they go on like this pair. `None`: they tell nothing.
    pub fn requests_until(&self, edge: f64, value: f64, threshold: f64) -> Option<u64> {
        let (missing, nats) = (log(threshold) - log(value.max(f64::MIN_POSITIVE)), self.nats(edge));
        (missing > 0.0 && nats > 1e-12).then(|| libm::ceil(missing / nats) as u64)
    }

    /// Odds of a bad request on the canary to those on the baseline; both rates between 0 and 1, exclusive.
    pub fn odds_ratio(&self) -> f64 {
        (self.canary / (1.0 - self.canary)) / (self.baseline / (1.0 - self.baseline))
    }

    /// Variance of what a request tells, nats².
    fn variance(&self, harmless: f64) -> f64 {
        let null = self.closest_harmless(harmless);
        let of = |p: f64, q: f64| {
            let slope = log(p) - log1p(-p) - log(q) + log1p(-q);
            p * (1.0 - p) * slope * slope
        };
        self.share * of(self.canary, null.canary) + (1.0 - self.share) * of(self.baseline, null.baseline)
    }

    /// Wald's bound (1945): requests of both sides together that *any* test needs on average, if it is right at every
    /// look with error `alpha` whatever the common rate is: `ln(1/α)` over [`Self::nats`].
    pub fn wald(&self, alpha: f64) -> f64 {
        -log(alpha) / self.nats(1.0)
    }
}

fn mean_of(pair: &Pair) -> f64 {
    pair.share * pair.canary + (1.0 - pair.share) * pair.baseline
}

impl Step {
    /// The smallest odds ratio it would have caught in four of five cases; `None` when it would have missed even a
    /// canary that does nothing right.
    ///
    /// An approximation (the normal one, and every window alike), good to about a tenth in the requests needed.
    pub fn smallest_visible(&self) -> Option<Visible> {
        let Visible { odds_ratio: most, .. } = self.largest_visible()?;
        let (mut missed, mut caught) = (log(self.harmless), log(most));
        for _ in 0..60 {
            let middle = (missed + caught) / 2.0;
            if self.catches(exp(middle)) { caught = middle } else { missed = middle }
        }
        Some(self.visible(exp(caught)))
    }

    /// The largest, a canary that does nothing right; `None` when it would have missed even that. Who only asks whether
    /// the step could see anything has the answer sixty times sooner than from [`Self::smallest_visible`].
    pub fn largest_visible(&self) -> Option<Visible> {
        self.catches(MOST).then(|| self.visible(MOST))
    }

    fn visible(&self, odds_ratio: f64) -> Visible {
        Visible { odds_ratio, rate: times_odds(self.rate, odds_ratio) }
    }

    fn catches(&self, odds_ratio: f64) -> bool {
        let requests = self.canary as f64 + self.baseline as f64;
        if self.canary == 0 || self.baseline == 0 || self.windows == 0 || self.rate <= 0.0 || self.rate >= 1.0 {
            return false;
        }
        let canary = times_odds(self.rate, odds_ratio).min(1.0 - 1e-9);
        let pair = Pair { canary, baseline: self.rate, share: self.canary as f64 / requests };
        let told = requests * pair.nats(self.harmless);
        let luck = QUANTILE_80 * sqrt(requests * pair.variance(self.harmless));
        // A window counts at most its cap, however much it tells.
        let capped = (told - luck).min(f64::from(self.windows) * log(self.cap));
        // At the cap all alternatives agree, so the grid costs nothing there.
        let needed = log(self.threshold);
        capped >= needed && told - luck >= needed + COST
    }
}
