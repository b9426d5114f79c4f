//! Simulated rollouts, judged window by window. In: rates, windows, what disturbs them, a seed. Out: after how many
//! requests each was rolled back, if it was. The same seed gives the same rollouts on every machine.

use sluicegate_core::judge::{
    evidence::Evidence,
    hypergeometric::{Margins, ln_ratio},
    power::Pair,
    rules::{Rules, RulesSpec},
    window::{Tally, Window},
};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Its sequences are pieces of one; a mixed start keeps the pieces of neighbouring seeds apart.
        Self(Self(seed).next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn chance(&mut self, p: f64) -> bool {
        ((self.next() >> 11) as f64) < p * 9_007_199_254_740_992.0
    }

    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 { 0 } else { (0..n).map(|_| u64::from(self.chance(p))).sum() }
    }
}

/// What makes requests of one moment alike.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Disturbance {
    /// Nothing.
    None,
    /// With this chance a window begins an incident on one side: for so many windows a fifth of its requests are bad.
    Burst(f64, u32),
    /// In each window each side's rate is by chance half or twice the usual one.
    Overdispersed,
    /// One of ten pods of either side, each time another, has five times the rate, all the time.
    BadPod,
}

/// A kind of rollout.
#[derive(Clone)]
pub(crate) struct Scenario {
    /// Share of bad requests on canary and baseline.
    pub(crate) rates: (f64, f64),
    /// Requests of a window on canary and baseline.
    pub(crate) window: (u64, u64),
    /// Windows at most.
    pub(crate) windows: u64,
    /// Windows without a difference before the canary's rate applies.
    pub(crate) calm: u64,
    pub(crate) disturbance: Disturbance,
    /// In how many windows harm must show; 1: no cap.
    pub(crate) cap: u32,
}

impl Scenario {
    pub(crate) fn new(rates: (f64, f64), window: (u64, u64), requests: u64) -> Self {
        let windows = requests / (window.0 + window.1);
        Self { rates, window, windows, calm: 0, disturbance: Disturbance::None, cap: 3 }
    }

    /// Requests of both sides in a window.
    pub(crate) fn size(&self) -> u64 {
        self.window.0 + self.window.1
    }

    /// What its windows hold, of canary and baseline.
    pub(crate) fn tallies(&self, seed: u64) -> impl Iterator<Item = (Tally, Tally)> {
        let mut random = Random::new(seed);
        let mut burst = (false, 0);
        let bad_pod_on_canary = random.chance(0.5);
        (0..self.windows).map(move |at| {
            let mut rates = self.rates;
            if at < self.calm {
                rates.0 = rates.1;
            }
            match self.disturbance {
                Disturbance::None => {}
                Disturbance::Burst(chance, length) => {
                    if burst.1 == 0 && random.chance(chance) {
                        let share = self.window.0 as f64 / self.size() as f64;
                        burst = (random.chance(share), length);
                    }
                    if burst.1 > 0 {
                        burst.1 -= 1;
                        *(if burst.0 { &mut rates.0 } else { &mut rates.1 }) = 0.2;
                    }
                }
                Disturbance::Overdispersed => {
                    rates.0 *= if random.chance(1.0 / 3.0) { 2.0 } else { 0.5 };
                    rates.1 *= if random.chance(1.0 / 3.0) { 2.0 } else { 0.5 };
                }
                Disturbance::BadPod => *(if bad_pod_on_canary { &mut rates.0 } else { &mut rates.1 }) *= 1.4,
            }
            let mut side = |requests, rate| Tally { requests, bad: random.binomial(requests, rate) };
            (side(self.window.0, rates.0), side(self.window.1, rates.1))
        })
    }

    /// Requests until it was rolled back, without those before the harm.
    pub(crate) fn run(&self, seed: u64) -> Option<u64> {
        let spec = RulesSpec { windows: self.cap, ..RulesSpec::default() };
        let mut evidence = Evidence::new(Rules::try_from(spec).expect("rules"));
        for (at, (canary, baseline)) in (0..).zip(self.tallies(seed)) {
            let window = Window { canary: vec![canary], baseline: vec![baseline], missing: 0 };
            evidence.observe(&window).expect("a window that fits");
            if evidence.failed() {
                return Some((at + 1_u64).saturating_sub(self.calm) * self.size());
            }
        }
        None
    }

    /// Many of them: requests until each was rolled back.
    pub(crate) fn run_many(&self, rollouts: u64, seed: u64) -> Vec<Option<u64>> {
        many(rollouts, seed, |seed| self.run(seed))
    }

    /// Wald's bound: requests of both sides that any test valid at every look needs on average.
    pub(crate) fn wald(&self) -> f64 {
        let share = self.window.0 as f64 / self.size() as f64;
        Pair { canary: self.rates.0, baseline: self.rates.1, share }.wald(0.01)
    }

    /// The same for any test that is given, per window, only the margins and how the bad ones fell: what the best
    /// conditional test knows, which is told the true odds ratio.
    pub(crate) fn conditional_wald(&self) -> f64 {
        let (p, q) = self.rates;
        let odds_ratio = p / (1.0 - p) * (1.0 - q) / q;
        let (of_canary, of_baseline) = (binomials(self.window.0, p), binomials(self.window.1, q));
        let mut nats = 0.0;
        for (x, p) in of_canary.iter().enumerate() {
            for (y, q) in of_baseline.iter().enumerate().filter(|(_, q)| *p * **q > 1e-12) {
                let margins = Margins { canary: self.window.0, baseline: self.window.1, bad: (x + y) as u64 };
                nats += p * q * ln_ratio(margins, x as u64, 1.0, odds_ratio);
            }
        }
        100_f64.ln() / nats * self.size() as f64
    }
}

/// One after the other on two threads, each with a seed of its own.
pub(crate) fn many<T: Send>(rollouts: u64, seed: u64, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let half = |from: u64| {
        let seeds = (from..rollouts).step_by(2).map(|i| seed.wrapping_mul(1_000_003).wrapping_add(i));
        seeds.map(&one).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut all = half(0);
        all.extend(other.join().expect("the other half"));
        all
    })
}

/// The probabilities of 0, 1, … n bad ones.
fn binomials(n: u64, p: f64) -> Vec<f64> {
    let mut probability = (1.0 - p).powi(n as i32);
    (0..=n)
        .map(|x| {
            let this = probability;
            probability *= (n - x) as f64 / (x + 1) as f64 * p / (1.0 - p);
            this
        })
        .collect()
}

/// Mean over those that were rolled back, and how many were not.
pub(crate) fn mean(outcomes: &[Option<u64>]) -> (f64, usize) {
    let found: Vec<u64> = outcomes.iter().flatten().copied().collect();
    (found.iter().sum::<u64>() as f64 / found.len().max(1) as f64, outcomes.len() - found.len())
}
