//! Windows of evidence: what canary and baseline were counted to do since the last one.

use super::sight;
use crate::context::Context;
use sluicegate_core::{
    counts::Counts,
    judge::{rules::Rules, window::Window},
    rollout::Role,
};
use std::time::Duration;

/// Length of a window: the proxies report about once a second.
const LENGTH: Duration = Duration::from_secs(1);

/// The window under way.
#[derive(Debug, Default)]
pub struct Windows(Option<Open>);

#[derive(Debug)]
struct Open {
    since: Duration,
    canary: Counts,
    baseline: Counts,
}

impl Windows {
    /// Nothing is compared now.
    pub fn stop(&mut self) {
        self.0 = None;
    }

    /// The window that is full now, if one is; the next one begins with it.
    pub fn take(&mut self, context: &Context, splits: &[String], rules: Option<&Rules>) -> Option<Window> {
        let now = context.clock.now().at;
        if self.0.as_ref().is_some_and(|open| now.saturating_sub(open.since) < LENGTH) {
            return None;
        }
        let (canary, baseline, missing) = {
            let inner = context.lock();
            let names = || splits.iter().map(String::as_str);
            let counts = |role| sight::counts(&inner, names(), role);
            (counts(Role::Canary), counts(Role::Baseline), sight::missing(&inner, splits, now))
        };
        let before = self.0.replace(Open { since: now, canary: canary.clone(), baseline: baseline.clone() })?;
        // Counts that went backwards begin a new series here.
        let (canary, baseline) = (canary.since(&before.canary)?, baseline.since(&before.baseline)?);
        Some(Window::of(rules?, &canary, &baseline, missing))
    }
}
