//! Says what is wrong once, however often it is tried again. Pure.
//!
//! In: what failed, turn by turn. Out: whether that is new, and whether all is well again.

use std::{collections::BTreeSet, mem};

/// What fails, and failed in the turn before.
#[derive(Debug, Default)]
pub struct Outage {
    before: BTreeSet<String>,
    now: BTreeSet<String>,
}

impl Outage {
    /// Something failed; true: nobody has heard of it yet.
    pub fn is_new(&mut self, why: &str) -> bool {
        self.now.insert(why.to_owned()) && !self.before.contains(why)
    }

    /// A turn is over; true: what was wrong in the turn before is not wrong any more, and nothing else is.
    pub fn is_over(&mut self) -> bool {
        let before = mem::replace(&mut self.before, mem::take(&mut self.now));
        !before.is_empty() && self.before.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_failing_is_told_once_and_so_is_its_end() {
        let mut outage = Outage::default();
        let mut turn = |failed: &[&str]| {
            let new: Vec<bool> = failed.iter().map(|why| outage.is_new(why)).collect();
            (new, outage.is_over())
        };
        assert_eq!(turn(&[]), (vec![], false));
        assert_eq!(turn(&["gone", "gone"]), (vec![true, false], false));
        assert_eq!(turn(&["gone", "forbidden"]), (vec![false, true], false));
        assert_eq!(turn(&["forbidden"]), (vec![false], false));
        assert_eq!(turn(&[]), (vec![], true));
        assert_eq!(turn(&["gone"]), (vec![true], false));
    }
}
