//! Whether the proxies reach pods that had no traffic before: what they counted since a probe began.
//!
//! In: what each proxy reported. Out: whether each has had an answer, and how many requests found no upstream.

use super::{machine::Machine, sight};
use crate::context::Context;
use sluicegate_core::{
    counts::{Counts, Outcome},
    rollout::{Role, probe::Reach},
};
use std::collections::HashMap;

/// The probe under way. It is not written down: after a restart it begins with what is counted then.
#[derive(Debug, Default)]
pub struct Probing {
    /// When the probe began, Unix ms, and what had been counted then.
    began: Option<(u64, Counted)>,
}

/// By the epoch of a proxy, and by role.
type Counted = HashMap<(u64, Role), Counts>;

impl Probing {
    /// What the proxies say now; `None`: nothing is probed, or no proxy counts.
    pub fn look(&mut self, context: &Context, machine: &Machine) -> Option<Reach> {
        let Some((entered, roles)) = machine.probes() else {
            self.began = None;
            return None;
        };
        let began = self.began.take().filter(|(known, _)| *known == entered).map_or_else(Counted::new, |(_, b)| b);
        let (_, began) = self.began.insert((entered, began));
        let splits = machine.splits();
        let inner = context.lock();
        let mut reach = None;
        for proxy in sight::counting(&inner, &splits) {
            let reach = reach.get_or_insert(Reach { proved: true, unreached: 0 });
            for role in roles {
                let told = inner.tally.told(proxy.id.epoch, &splits, role.name());
                // What it counted before it is first heard of says nothing about this probe.
                let since = told.and_then(|told| {
                    let before = began.entry((proxy.id.epoch, *role)).or_insert_with(|| told.clone());
                    told.since(before)
                });
                let Some(since) = since else {
                    reach.proved = false;
                    continue;
                };
                let unreached = since.outcome(Outcome::Unreached);
                let answered = since.observed().saturating_sub(unreached + since.outcome(Outcome::Abandoned));
                reach.proved &= answered > 0;
                reach.unreached = reach.unreached.saturating_add(unreached);
            }
        }
        reach
    }
}
