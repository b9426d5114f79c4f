//! A person changes weights; requests obey.

use anyhow::{Result, ensure};
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::lab::Lab;

#[test]
fn requests_obey_the_weights_and_the_ack_comes_after_them() -> Result<()> {
    let brain = Brain::start()?;
    let lab = Lab::start(brain.door.addr())?;
    for (generation, weights) in [(1, [90, 10]), (2, [50, 50]), (3, [0, 100]), (4, [100, 0])] {
        brain.publish_and_wait(split("backend", generation, &[("v1", weights[0]), ("v2", weights[1])]))?;
        let tally = lab.load(1000, 4, "")?;
        ensure!(tally.answers() == 1000 && tally.failures() == 0, "{tally:?}");
        let v2 = tally.pods.get("v2").copied().unwrap_or(0);
        let share = u64::from(weights[1]) * 10;
        // Two workers, two subsets each.
        ensure!(v2.abs_diff(share) <= 4, "generation {generation}: {:?}", tally.pods);
    }
    Ok(())
}
