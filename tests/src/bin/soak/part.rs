//! A part of the soak: slices of load, in which something is done each second.

use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use sluicegate_tests::load::Latencies;
use sluicegate_tests::steady::{Seeing, Seen, Steady};

use crate::memory::Trend;
use crate::stage::{Changed, Stage};

/// Requests per second.
const RATE: f64 = 500.0;
const TICK: Duration = Duration::from_secs(1);
/// An answer that was under way so long after a trap may have been lost with the VM.
const AFTERMATH: Duration = Duration::from_millis(100);
/// What a trapped VM takes with it: the counts of the second since its last flush, and a tick's lateness.
const UNFLUSHED: Duration = Duration::from_millis(1_600);

/// What happens besides a change of weights each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The controller is killed and started, and Envoy gets another configuration.
    Disturbed,
    /// Nothing.
    Calm,
    /// The worker that polls traps.
    Trapped,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disturbed => "controller killed, Envoy reconfigured",
            Self::Calm => "only weights change",
            Self::Trapped => "the VM that polls traps",
        })
    }
}

pub(crate) struct Part {
    pub(crate) kind: Kind,
    pub(crate) envoy: Trend,
    pub(crate) controller: Trend,
    slices: usize,
    took: Duration,
    changes: u64,
    acks: Latencies,
    answers: u64,
    /// Not 200, or never there.
    failed: u64,
    /// Of those that failed: under way while a VM was made to trap.
    trapped: u64,
    /// By older weights than were acked before they were sent.
    late: u64,
    /// Answered and not counted.
    missing: i64,
    disturbances: u64,
}

impl Part {
    pub(crate) const HEAD: &'static str = "| | time | changes | sent to acked: p50, p99, max | kills, updates, traps | requests | not answered with 200 | \
                                           of these, lost with a trapped VM | by older weights, sent after an ack | answered, not counted | Envoy MiB | \
                                           controller MiB |\n|---|---|---|---|---|---|---|---|---|---|---|---|";

    pub(crate) fn new(kind: Kind) -> Self {
        Self {
            kind,
            envoy: Trend::default(),
            controller: Trend::default(),
            slices: 0,
            took: Duration::ZERO,
            changes: 0,
            acks: Latencies::default(),
            answers: 0,
            failed: 0,
            trapped: 0,
            late: 0,
            missing: 0,
            disturbances: 0,
        }
    }

    pub(crate) const fn slices(&self) -> usize {
        self.slices
    }

    /// One slice of load, and a look at what was counted.
    pub(crate) fn run(&mut self, stage: &mut Stage, length: Duration) -> Result<()> {
        let begun = Instant::now();
        let before = stage.counted()?;
        let own = stage.answered;
        let load = Steady::start(stage.web()?, RATE)?;
        let (mut changed, mut traps) = (Vec::new(), Vec::new());
        let ticks = length.as_secs() as u32;
        for tick in 1..ticks {
            let second = Instant::now();
            self.disturb(stage, tick, &mut traps)?;
            changed.push(stage.change()?);
            self.envoy.sample(stage.envoy.process().resident()?);
            self.controller.sample(stage.controller.process().resident()?);
            thread::sleep(TICK.saturating_sub(second.elapsed()));
        }
        let seen = load.stop()?;
        self.took += begun.elapsed();
        self.slices += 1;
        let answered = seen.tally.answers() - not_counted(&seen) + (stage.answered - own);
        let counted = stage.settled(before + answered)? - before;
        self.missing += answered as i64 - counted as i64;
        self.judge(&changed, &traps, &seen);
        Ok(())
    }

    fn disturb(&mut self, stage: &mut Stage, tick: u32, traps: &mut Vec<Instant>) -> Result<()> {
        match (self.kind, tick % 10) {
            (Kind::Disturbed, 3) => stage.restart_controller()?,
            (Kind::Disturbed, 7) => stage.update_envoy()?,
            (Kind::Trapped, 2) => return stage.seize(),
            (Kind::Trapped, 5) => {
                traps.push(Instant::now());
                stage.trap()?;
            }
            _ => return Ok(()),
        }
        self.disturbances += 1;
        Ok(())
    }

    fn judge(&mut self, changed: &[Changed], traps: &[Instant], seen: &Seen) {
        let bad = |seeing: &&Seeing| seeing.status != 200;
        let lost = |seeing: &Seeing| {
            let over = |trap: &Instant| seeing.sent <= *trap + AFTERMATH && seeing.answered >= *trap;
            traps.iter().any(over)
        };
        self.answers += seen.tally.answers() + seen.tally.broken;
        self.failed += seen.tally.failures();
        self.trapped += seen.all().iter().filter(bad).filter(|seeing| lost(seeing)).count() as u64;
        self.changes += changed.len() as u64;
        for (at, change) in changed.iter().enumerate() {
            self.acks.push(change.acked - change.began);
            // Until the next change is sent, whatever was sent after the ack is answered by these weights.
            let until = changed.get(at + 1).map(|next| next.began);
            let sent = seen.since(change.acked).take_while(|seeing| until.is_none_or(|until| seeing.answered < until));
            self.late += sent.filter(|seeing| seeing.status == 200 && seeing.pod != change.pod).count() as u64;
        }
    }

    pub(crate) fn row(&self) -> String {
        let mib = |trend: &Trend| {
            format!("{:.1} → {:.1}", trend.first() / f64::from(1 << 20), trend.last() / f64::from(1 << 20))
        };
        format!(
            "| {} | {:.0} s | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.kind,
            self.took.as_secs_f64(),
            self.changes,
            self.acks,
            self.disturbances,
            self.answers,
            self.failed,
            self.trapped,
            self.late,
            self.missing,
            mib(&self.envoy),
            mib(&self.controller)
        )
    }

    /// What must not be.
    pub(crate) fn broken(&self) -> Vec<String> {
        let unflushed = UNFLUSHED.as_secs_f64() * RATE * self.disturbances as f64;
        let missing = if self.kind == Kind::Trapped { unflushed as i64 } else { 0 };
        let calm = self.kind == Kind::Calm;
        let found = [
            (self.failed > self.trapped, format!("{} requests failed", self.failed - self.trapped)),
            (self.late > 0, format!("{} requests by older weights than were acked", self.late)),
            (self.missing < 0, format!("{} requests counted twice", -self.missing)),
            (self.missing > missing, format!("{} requests not counted", self.missing)),
            (calm && !self.envoy.is_flat(), format!("Envoy's memory grows: {}", self.envoy.slope())),
            (calm && !self.controller.is_flat(), format!("the controller's memory grows: {}", self.controller.slope())),
        ];
        let broken = found.into_iter().filter(|(broken, _)| *broken);
        broken.map(|(_, what)| format!("{}: {what}", self.kind)).collect()
    }
}

/// Answers that Envoy gave where no filter could count: those that are not 200.
fn not_counted(seen: &Seen) -> u64 {
    seen.all().iter().filter(|seeing| seeing.status != 200).count() as u64
}
