//! A person gives a CanaryTest another weight: written into the user's file, and who and why into the history.
//!
//! Who asks is written down before the file is, so that a crash between the two loses nobody's name.

use super::{
    Engine,
    orders::{OrderError, Weigh},
};
use crate::{
    rollouts::{
        Wanted,
        machine::Machine,
        record::{Asked, Record},
        words,
    },
    store::{SetError, TestEdit},
};
use sluicegate_core::rollout::{command::Refused, plan::percent};
use std::time::Duration;
use tracing::info;

/// So long after it was asked for, a file that does not say so never will.
const STALE: Duration = Duration::from_secs(10);
/// What the store wants is here within milliseconds.
const HEARD: Duration = Duration::from_secs(2);

impl Engine {
    pub(super) async fn weigh(&mut self, weigh: &Weigh) -> Result<(), OrderError> {
        let done = self.try_weigh(weigh).await;
        let Weigh { edit: TestEdit { weight, version }, by, reason } = weigh;
        let (rollout, weight) = (&self.name, percent(*weight));
        match &done {
            Ok(()) => info!(rollout, weight, version, by, reason, "a person set the weight"),
            Err(why) => info!(rollout, weight, version, by, %why, "a person was refused a weight"),
        }
        done
    }

    async fn try_weigh(&mut self, weigh: &Weigh) -> Result<(), OrderError> {
        self.settle().await.map_err(OrderError::Disk)?;
        let none = || OrderError::Refused { rollout: self.name.clone(), why: Refused::Idle };
        let record = self.record.clone().ok_or_else(none)?;
        let edit = &weigh.edit;
        let (weight, version) = match &record.machine {
            Machine::CanaryDeploy { .. } => return Err(SetError::NotByHand(record.machine.title()).into()),
            Machine::CanaryTest { .. } if self.tools.keeper.is_cluster() => {
                return Err(SetError::Object(record.machine.title()).into());
            }
            Machine::CanaryTest { spec, state } => {
                let version = &state.canary.version;
                let runs = record.machine.is_under_way() && !record.machine.is_back() && edit.weight > 0;
                if let Some(wanted) = edit.version.as_ref().filter(|wanted| runs && *wanted != version) {
                    let (version, wanted, test) = (version.clone(), wanted.clone(), self.name.clone());
                    return Err(SetError::Trying { test, version, wanted }.into());
                }
                (spec.weight, spec.version.clone())
            }
        };
        let at = self.tools.context.clock.now().wall;
        let (by, reason) = (weigh.by.clone(), weigh.reason.clone());
        let mut asked = Asked { at, by, reason, weight, version, edit: edit.clone() };
        let intent = asked.clone();
        self.keep(|record| record.asked = Some(intent)).await.map_err(|why| self.unkept(why))?;
        match self.tools.store.edit_test(self.name.clone(), edit.clone()).await {
            Ok(before) => (asked.weight, asked.version) = (before.weight, before.version),
            Err(why) => {
                // Should this fail too, it is forgotten once it is stale.
                let _ = self.keep(|record| record.asked = None).await;
                return Err(why.into());
            }
        }
        self.keep(|record| done(record, &asked)).await.map_err(OrderError::Unnoted)?;
        // The answer is to show what has come of it.
        let wanted = self.spec.wait_for(|found| found.as_ref().is_some_and(|found| says(&found.wanted, edit)));
        let _ = tokio::time::timeout(HEARD, wanted).await;
        self.turn().await;
        Ok(())
    }

    /// Notes what was asked for and written when nobody was left to note it.
    pub(super) async fn own_up(&mut self) -> Result<(), String> {
        let Some(asked) = self.record.as_ref().and_then(|record| record.asked.clone()) else { return Ok(()) };
        let written = self.spec.borrow().as_ref().is_some_and(|found| says(&found.wanted, &asked.edit));
        let age = self.tools.context.clock.now().wall.duration_since(asked.at).unsigned_abs();
        match written {
            true => self.keep(|record| done(record, &asked)).await,
            false if age > STALE => self.keep(|record| record.asked = None).await,
            false => Ok(()),
        }
    }
}

/// What is wanted is what was asked for.
fn says(wanted: &Wanted, edit: &TestEdit) -> bool {
    let Wanted::Test(test) = wanted else { return false };
    test.weight == edit.weight && edit.version.as_ref().is_none_or(|version| *version == test.version)
}

fn done(record: &mut Record, asked: &Asked) {
    record.asked = None;
    let again = asked.edit.weight > 0 && record.machine.begin_again();
    if let Some(message) = words::asked(asked, again) {
        record.history.add(asked.at, words::phase(&record.machine), message);
    }
}
