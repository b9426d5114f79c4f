//! What users deleted under a rollout, and what nobody can wait for on its way back.

use super::Engine;
use crate::rollouts::record::Record;
use sluicegate_core::{
    rollout::{Observation, SplitSeen, Workload, desired::Desired},
    snapshot::Entry,
};

impl Engine {
    /// The copies go with the object of the rollout before it does: nothing can be left to them.
    pub(super) fn is_doomed(&self) -> bool {
        self.tools.records.is_doomed(&self.name)
    }

    /// Takes out of what is seen what would be waited for in vain.
    pub(super) fn write_off(&self, record: &Record, seen: &mut Observation) {
        if let Some(baseline) = seen.baseline.as_mut().filter(|_| self.is_doomed()) {
            baseline.ready = 0;
        }
        if !record.machine.is_back() {
            return;
        }
        let Ok(Desired { weights, main, .. }) = record.machine.desired() else { return };
        // A split that is deleted sends nothing anywhere.
        let inner = self.tools.context.lock();
        let splits = record.machine.splits().into_iter().zip(&mut seen.splits).zip(weights);
        for ((name, split), wanted) in splits {
            let is_there = inner.hub.record(&name).is_some_and(|record| matches!(record.entry, Entry::Live(_)));
            if !is_there {
                *split = SplitSeen { weights: Some(wanted), acked: true };
            }
        }
        // Main that is deleted together with the rollout does not come back.
        let deleted = self.spec.borrow().is_none();
        let gone = seen.main.as_ref().is_some_and(|main| main.version.is_empty());
        if let Some(main) = main.filter(|_| deleted && gone) {
            let (version, replicas) = (main.version, main.replicas);
            seen.main =
                Some(Workload { version, replicas, ready: replicas, settled: true, trouble: None, floor: None });
        }
    }
}
