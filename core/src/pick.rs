//! From a point, or from an even sequence, to a subset.
//!
//! The interval of a subset is `[before/total, upto/total)` of `[0, 2^64)`, exact for every total.

use crate::split::{MAX_SUBSETS, Split};

/// 2^64 divided by the golden ratio: multiples of it are spread as evenly as any sequence can be (Weyl 1916; Knuth,
/// TAOCP 3, §6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Split {
    /// The subset whose interval holds this point.
    pub fn at(&self, point: u64) -> usize {
        let place = ((u128::from(point) * u128::from(self.total)) >> 64) as u64;
        // `place < total = upto of the last`, so the search always finds one.
        self.subsets.iter().position(|s| place < s.upto).unwrap_or(self.default)
    }

    /// A point inside this subset's interval: `fraction` of the way from its start. `None` when its weight is 0.
    pub fn point_in(&self, subset: usize, fraction: u64) -> Option<u64> {
        let s = self.subsets.get(subset).filter(|s| s.weight > 0)?;
        let total = u128::from(self.total);
        let edge = |upto: u64| (u128::from(upto) << 64).div_ceil(total);
        let (start, end) = (edge(s.upto - u64::from(s.weight)), edge(s.upto));
        // end - start <= 2^64 and fraction < 2^64, so the product stays below 2^128 and the sum below `end`.
        Some((start + (((end - start) * u128::from(fraction)) >> 64)) as u64)
    }
}

/// The even sequence of one worker for one split.
///
/// Proposes by a Weyl sequence, which has no period a client's own rhythm could lock to, and corrects a proposal that
/// would take any subset a whole request away from its share. The correction is needed: the Weyl sequence alone
/// drifts by up to 4.5 requests at 50/50 within 10^7 requests (measured), the corrected one stays within 1.1.
#[derive(Debug, Clone)]
pub struct Even {
    state: u64,
    /// Per subset: `requests · weight − total · picked`, so 0 is exactly its share.
    credit: [i64; MAX_SUBSETS],
}

/// What the even sequence chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Index of the subset.
    pub subset: usize,
    /// A point inside that subset's interval.
    pub point: u64,
}

impl Even {
    /// Begins at a random place.
    pub fn new(start: u64) -> Self {
        Self { state: start, credit: [0; MAX_SUBSETS] }
    }

    /// Forgets the balance, keeps the sequence: for weights that just changed.
    pub fn rebase(&mut self) {
        self.credit = [0; MAX_SUBSETS];
    }

    /// The next subset.
    pub fn next(&mut self, split: &Split) -> usize {
        self.choose(split).0
    }

    /// The next subset with a point that stands for it.
    pub fn next_choice(&mut self, split: &Split) -> Choice {
        let (subset, proposed) = self.choose(split);
        let point = match proposed == subset {
            true => self.state,
            false => split.point_in(subset, self.state).unwrap_or(self.state),
        };
        Choice { subset, point }
    }

    fn choose(&mut self, split: &Split) -> (usize, usize) {
        self.state = self.state.wrapping_add(GOLDEN);
        let proposed = split.at(self.state);
        let total = split.total as i64;
        let (mut most, mut most_owed) = (proposed, i64::MIN);
        let mut balance = 0;
        for (i, (credit, subset)) in self.credit.iter_mut().zip(&split.subsets).enumerate() {
            *credit += i64::from(subset.weight);
            // Weight 0 is never owed anything, even should weights have changed without a rebase.
            if *credit > most_owed && subset.weight > 0 {
                (most, most_owed) = (i, *credit);
            }
            if i == proposed {
                balance = *credit;
            }
        }
        let chosen = if most_owed > total || balance < 0 { most } else { proposed };
        if let Some(credit) = self.credit.get_mut(chosen) {
            *credit -= total;
        }
        (chosen, proposed)
    }
}
