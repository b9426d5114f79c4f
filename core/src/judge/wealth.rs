//! Bets against a hypothesis: many small accounts, each betting on one alternative from one window on, multiplied by
//! a factor per window whose mean is at most 1 while the hypothesis holds.
//!
//! In: per window the logarithm of each alternative's factor. Out: the sum of all accounts, which starts at 1. Its mean
//! never rises while the hypothesis holds, so it ever reaches `1/α` with probability at most `α` (Ville 1939), however
//! often one looks and whenever one stops (Ramdas, Grünwald, Vovk, Shafer 2023).
//!
//! Most of the money bets from the first window; [`LATE`] of it waits, and a part of that starts with each window. A
//! harm that begins late is then not held up by all that was lost while there was none.

use super::exact::Exact;
use serde::{Deserialize, Serialize};

/// Alternatives and what is bet on each: factor on the odds of the hypothesis' edge, and weight; the weights sum to 1.
///
/// What it takes to see a harm falls with the square of the log odds ratio, so the grid is finer near 1. Far out the
/// alternatives look alike and one serves for all; it has the most, because there every single request counts: with less
/// on it, a canary whose every second request fails takes more than 1.4 times the requests of Wald's bound.
pub const HARM: [(f64, f64); 7] =
    [(1.25, 0.03), (1.45, 0.05), (1.75, 0.07), (2.2, 0.08), (3.2, 0.07), (5.5, 0.08), (500.0, 0.62)];

/// The same for betting on "clearly better than that", factors below 1.
pub const HARMLESS: [(f64, f64); 4] = [(0.75, 0.2), (0.5, 0.4), (0.25, 0.25), (0.03, 0.15)];

/// The part of the money that waits for harm that begins later.
pub const LATE: f64 = 0.05;

/// More than this is not kept; far above any threshold.
const MOST: f64 = 1e300;

/// The accounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wealth {
    /// Per alternative, all starts together.
    accounts: Vec<Exact>,
    /// Windows that said anything.
    windows: u32,
    /// The most the sum ever was.
    peak: Exact,
}

impl Wealth {
    /// Nothing bet yet, on this many alternatives.
    pub fn new(alternatives: usize) -> Self {
        Self { accounts: vec![Exact::default(); alternatives], windows: 0, peak: Exact::new(1.0) }
    }

    /// Everything there is, what waits included: 1 at the beginning.
    pub fn value(&self) -> f64 {
        self.accounts.iter().fold(waiting(self.windows), |sum, account| sum + account.get())
    }

    /// The most [`Self::value`] ever was.
    pub fn peak(&self) -> f64 {
        self.peak.get()
    }

    /// How many windows said anything.
    pub fn windows(&self) -> u32 {
        self.windows
    }

    /// How many alternatives it bets on.
    pub fn alternatives(&self) -> usize {
        self.accounts.len()
    }

    /// One window: each alternative's weight and the logarithm of its factor; factors above `cap` count as `cap`.
    pub fn bet(&mut self, cap: f64, factors: impl Iterator<Item = (f64, f64)>) {
        let before = waiting(self.windows);
        self.windows = self.windows.saturating_add(1);
        let starts = before - waiting(self.windows);
        for (account, (weight, ln_factor)) in self.accounts.iter_mut().zip(factors) {
            let factor = libm::exp(ln_factor).min(cap);
            *account = Exact::new(((account.get() + starts * weight) * factor).min(MOST));
        }
        self.peak = Exact::new(self.peak.get().max(self.value()));
    }
}

/// The part that still waits after so many windows.
fn waiting(windows: u32) -> f64 {
    if windows == 0 { 1.0 } else { LATE / libm::sqrt(f64::from(windows)) }
}
