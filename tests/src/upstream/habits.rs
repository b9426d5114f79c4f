//! How a pod answers by itself, whatever it is asked: some of its answers fail, some are slow.

use std::time::Duration;

use super::Behaviour;

/// What is wrong with a version. The default: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Habits {
    /// Share of answers with status 500, from 0 to 1.
    pub errors: f64,
    /// Share of answers that are slow, from 0 to 1.
    pub slow: f64,
    /// How much later those come.
    pub delay: Duration,
}

impl Habits {
    /// Makes one answer what this pod makes of it.
    pub(super) fn spoil(&self, behaviour: &mut Behaviour) {
        if self.errors > 0.0 && fastrand::f64() < self.errors {
            behaviour.status = 500;
        }
        if self.slow > 0.0 && fastrand::f64() < self.slow {
            behaviour.delay += self.delay;
        }
    }
}
