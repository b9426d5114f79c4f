//! Changes of weights under load, one after the other.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use sluicegate_tests::gateways::{Gateways, PATIENCE};
use sluicegate_tests::poll;
use sluicegate_tests::steady::{Seeing, Seen, Steady};

use super::Way;

/// Requests per second.
const RATE: f64 = 500.0;
/// So many answers tell by which weights requests are decided now.
const RECENT: usize = 200;

/// One change.
pub(super) struct Change {
    /// The weights of the canary.
    pub(super) from: u32,
    pub(super) to: u32,
    /// When it was sent to the API server, and when that had taken it.
    pub(super) began: Instant,
    pub(super) taken: Instant,
    /// When all proxies had acked it, as the controller knew, and as the object said.
    pub(super) acked: Option<[Instant; 2]>,
}

/// Of the pods of the canary.
pub(super) fn by_canary(answer: &Seeing) -> bool {
    answer.pod.contains("-canary-")
}

/// Gives the canary these weights, each when the one before is in force, beginning at 0.
pub(super) fn block(gateways: &Gateways, way: &mut Way, weights: &[u32]) -> Result<(Vec<Change>, Seen)> {
    let load = way.site.load(RATE)?;
    await_share(&load, 0)?;
    let mut changes = Vec::with_capacity(weights.len());
    let mut from = 0;
    for &to in weights {
        // Not in step with anything.
        thread::sleep(Duration::from_micros(fastrand::u64(..100_000)));
        let next = way.acks.as_mut().map(|acks| acks.generation()).transpose()?.map(|generation| generation + 1);
        let began = Instant::now();
        gateways.cluster.api().patch(&way.object, &(way.patch)(to))?;
        let taken = Instant::now();
        let mut acked = None;
        if let (Some(acks), Some(generation)) = (&mut way.acks, next) {
            acked = Some(acks.wait(gateways, generation)?);
        }
        await_share(&load, to)?;
        changes.push(Change { from, to, began, taken, acked });
        from = to;
    }
    Ok((changes, load.stop()?))
}

/// Waits until the canary gets about so many of a hundred of the last requests, and exactly so when that is none or all.
fn await_share(load: &Steady, wanted: u32) -> Result<()> {
    let slack = f64::from(wanted.min(100 - wanted)) / 2.0;
    poll::until(&format!("{wanted} % to go to the canary"), PATIENCE, || {
        let recent = load.last(RECENT);
        let seen = recent.iter().filter(|answer| by_canary(answer)).count() as f64 * 100.0 / RECENT as f64;
        let settled = recent.len() == RECENT && (seen - f64::from(wanted)).abs() <= slack;
        if settled { Ok(()) } else { Err(format!("{seen} % of {} answers", recent.len())) }
    })
}
