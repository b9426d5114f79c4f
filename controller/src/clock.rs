//! Moments, as everything below `app` gets them. Only `app` makes a clock that reads the real one.

use jiff::Timestamp;
use std::{fmt, sync::Arc, time::Duration};

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the process began, never backwards: for durations.
    pub at: Duration,
    /// The calendar: for people.
    pub wall: Timestamp,
}

/// Tells the moment.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Now + Send + Sync>);

impl Clock {
    /// A clock that asks this function.
    pub fn new(read: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// Reads it.
    pub fn now(&self) -> Now {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
