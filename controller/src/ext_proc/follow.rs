//! A proxy towards the controller, as a filter is one: polls, acks what the gate runs, reports what it counted.
//!
//! The order is the filter's: merge, load the gate, then ack with the next poll.

use super::{gate::Gate, link::Link};
use crate::clock::Clock;
use anyhow::{Context as _, Result};
use sluicegate_core::{
    ledger::Told,
    snapshot::Snapshot,
    sorted::Sorted,
    wire::{
        Abilities, Ack, PROTOCOL, ProxyId, REPORT_ANSWER, REPORT_PATH, Report, SYNC_PATH, Subscription, SyncAnswer,
        SyncRequest,
    },
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::sleep;
use tracing::{error, info, warn};

/// How long the controller may hold a poll.
const HOLD: Duration = Duration::from_secs(25);
/// How long after that a poll has failed.
const LATE: Duration = Duration::from_secs(10);
/// After a failed poll the next follows after this long, plus up to twice as much at random.
const RETRY: Duration = Duration::from_millis(400);
/// An answer that brings nothing sooner than this is not followed at once.
const BUSY: Duration = Duration::from_millis(100);
/// How often silence of the controller is looked at.
const TICK: Duration = Duration::from_millis(500);
/// When a report has failed.
const REPORT_PATIENCE: Duration = Duration::from_secs(5);
/// Between two reports until the controller says how many.
const UNTOLD: Duration = Duration::from_secs(2);

/// Who asks, and for what.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This process.
    pub proxy: ProxyId,
    /// Which splits.
    pub subscription: Subscription,
    /// Counts and cookies.
    pub observe: bool,
    /// The controller is lost after this long without an answer; `None`: never.
    pub lost_after: Option<Duration>,
}

/// Keeps a gate up to date.
#[derive(Debug)]
pub struct Follower {
    identity: Identity,
    gate: Arc<Gate>,
    link: Link,
    clock: Clock,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    snapshot: Snapshot,
    /// When the controller last answered.
    contact: Duration,
    /// It has answered at least once.
    answered: bool,
    report_every: Option<Duration>,
    told: Told,
}

impl Follower {
    /// Knows nothing yet.
    pub fn new(identity: Identity, gate: Arc<Gate>, link: Link, clock: Clock) -> Self {
        let known = Known { contact: clock.now().at, ..Known::default() };
        Self { identity, gate, link, clock, known: Mutex::new(known) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to decide by: the controller has answered, or there is a fallback.
    pub fn can_decide(&self) -> bool {
        self.gate.has_fallback() || self.known().answered
    }

    /// Since the controller's last answer.
    pub fn silence(&self) -> Duration {
        self.clock.now().at.saturating_sub(self.known().contact)
    }

    /// Polls, reports and watches for silence, for as long as it is let.
    pub async fn run(self: Arc<Self>) {
        tokio::join!(self.sync(), self.reports(), self.watch());
    }

    async fn sync(&self) {
        let (mut full, mut failing, mut acks) = (true, false, Sorted::default());
        // A held poll is no sign of life, so there must be an answer well before the controller counts as lost.
        let hold = self.identity.lost_after.map_or(HOLD, |after| HOLD.min(after / 2));
        loop {
            let begun = self.clock.now().at;
            match self.poll(hold, full, std::mem::take(&mut acks)).await {
                Ok((touched, news)) => {
                    (full, acks) = (false, touched);
                    if std::mem::take(&mut failing) {
                        info!("the controller answers again");
                    }
                    if !news && self.clock.now().at < begun + BUSY {
                        sleep(BUSY).await;
                    }
                }
                Err(why) => {
                    full = true;
                    if !std::mem::replace(&mut failing, true) {
                        warn!("no weights from the controller: {why:#}; the last ones stay in force");
                    }
                    sleep(RETRY.mul_f64(rand::random_range(1.0..3.0))).await;
                }
            }
        }
    }

    /// One poll. Returns what is to be acked next, and whether it brought anything.
    async fn poll(&self, hold: Duration, full: bool, acks: Sorted<String, Ack>) -> Result<(Sorted<String, Ack>, bool)> {
        let request = {
            let known = self.known();
            SyncRequest {
                sluicegate: PROTOCOL,
                proxy: self.identity.proxy.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                abilities: Abilities { counts: self.identity.observe, cookies: self.identity.observe },
                subscription: self.identity.subscription.clone(),
                cursor: known.snapshot.cursor,
                hold: hold.as_millis() as u32,
                full,
                acks: if full { known.snapshot.acks(known.snapshot.entries.keys()) } else { acks },
            }
        };
        let answer = self.link.post(SYNC_PATH, request.encode(), hold + LATE).await?;
        let answer = SyncAnswer::decode(&answer).context("its answer is not a controller's")?;
        Ok(self.publish(answer))
    }

    fn publish(&self, mut answer: SyncAnswer) -> (Sorted<String, Ack>, bool) {
        for refused in answer.refuse() {
            error!("{refused}");
        }
        let touched = answer.names();
        let mut known = self.known();
        known.contact = self.clock.now().at;
        known.report_every = Some(Duration::from_millis(answer.report.into()));
        known.told.talks_to(answer.cursor.instance);
        let mut news = !std::mem::replace(&mut known.answered, true);
        news |= known.snapshot.merge(answer);
        news |= std::mem::take(&mut known.snapshot.lost);
        if news {
            self.load(&known.snapshot);
        }
        (known.snapshot.acks(touched.iter()), news)
    }

    fn load(&self, snapshot: &Snapshot) {
        for refused in self.gate.load(Some(snapshot.clone())) {
            error!("{refused}");
        }
    }

    async fn watch(&self) {
        loop {
            sleep(TICK).await;
            let mut known = self.known();
            let silent = self.clock.now().at.saturating_sub(known.contact);
            let lost = self.identity.lost_after.is_some_and(|after| silent > after);
            if lost && !known.snapshot.entries.is_empty() && !std::mem::replace(&mut known.snapshot.lost, true) {
                warn!("no controller for too long; requests go where --on-loss says");
                self.load(&known.snapshot);
            }
        }
    }

    async fn reports(&self) {
        loop {
            let every = self.known().report_every;
            sleep(every.filter(|every| !every.is_zero()).unwrap_or(UNTOLD)).await;
            if every != Some(Duration::ZERO) {
                // What could not be told is told with the next report: counts are cumulative.
                let _ = self.report().await;
            }
        }
    }

    /// Tells what was counted since the last report, and now and then that nothing was.
    pub async fn report(&self) -> Result<()> {
        let now = self.clock.now().at.as_millis() as u64;
        let news = {
            let known = self.known();
            known.answered.then(|| known.told.news(self.gate.totals(), now)).flatten()
        };
        let Some(news) = news else { return Ok(()) };
        let report = Report { sluicegate: PROTOCOL, proxy: self.identity.proxy.clone(), series: news.series() };
        let instance = self.known().snapshot.cursor.map(|cursor| cursor.instance);
        let answer = self.link.post(REPORT_PATH, report.encode(), REPORT_PATIENCE).await?;
        let mut known = self.known();
        if answer.starts_with(REPORT_ANSWER) && known.snapshot.cursor.map(|cursor| cursor.instance) == instance {
            known.told.confirm(news, now);
        }
        Ok(())
    }
}
