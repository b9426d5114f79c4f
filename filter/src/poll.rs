//! The poller: takes the lease, keeps one long poll open, publishes what it brings.
//!
//! Publishing is: merge into the snapshot by compare-and-set, then move the version, then ack with the next poll. The
//! bytes of that poll leave Envoy only after this callback returns, so an ack never overtakes its weights.

use crate::{
    host::{self, Buffer, Level, Map, Refused},
    lease::Lease,
    root::Root,
    vm::Common,
};
use sluicegate_core::{
    message::MEDIA_TYPE,
    snapshot::Snapshot,
    sorted::Sorted,
    wire::{Abilities, Ack, MAX_ANSWER, PROTOCOL, SYNC_PATH, SyncAnswer, SyncRequest},
};

/// How long the controller may hold a poll, in milliseconds.
const HOLD_MS: u32 = 25_000;
/// How long after that Envoy gives up on a poll, in milliseconds.
const LATE_MS: u32 = 10_000;
/// After a failed poll the next follows after this long, plus up to twice as much at random, in milliseconds.
const RETRY_MS: u64 = 400;
/// An answer that brings nothing sooner than this is not followed at once, in milliseconds.
const BUSY_MS: u64 = 100;

/// State of polling in one root.
#[derive(Debug, Default)]
pub(crate) struct Poll {
    holding: bool,
    /// Token and time of the poll under way.
    under_way: Option<(u32, u64)>,
    not_before: u64,
    /// Everything is acked next, not just what the last answer touched.
    full: bool,
    /// The write of the snapshot after which this root has moved the version for a full ack.
    announced: Option<u32>,
    acks: Sorted<String, Ack>,
    /// When the controller last answered this root, monotonic ms.
    contact: u64,
    /// The last failure was logged; the next of its kind is not.
    failing: bool,
    /// Milliseconds between reports, as the controller wishes; `None`: it has not told this root yet.
    pub(crate) report_every: Option<u64>,
}

impl Poll {
    /// Whether this token is the poll under way.
    pub(crate) fn is_mine(&self, token: u32) -> bool {
        self.under_way.is_some_and(|(mine, _)| mine == token)
    }
}

pub(crate) fn tick(root: &mut Root, common: &Common, now: u64) {
    let (current, cas) = root.keys.lease();
    let claimed = Lease::claim(current, root.candidate(common), now).map(|mut lease| {
        lease.contact = lease.contact.max(root.poll.contact);
        lease
    });
    let Some(lease) = claimed.filter(|lease| root.keys.set_lease(lease, cas)) else {
        root.poll.holding = false;
        return;
    };
    if !root.poll.holding {
        root.poll.holding = true;
        root.poll.full = true;
    }
    if root.config.revert.as_ref().is_some_and(|r| now.saturating_sub(lease.contact) > r.after) {
        mark_lost(root);
    }
    // Envoy answers every call sooner or later; should it not, poll again all the same.
    if root.poll.under_way.is_some_and(|(_, since)| now > since + 2 * u64::from(HOLD_MS + LATE_MS)) {
        root.poll.under_way = None;
    }
    if root.poll.holding && root.poll.under_way.is_none() && now >= root.poll.not_before {
        send(root, now);
    }
    // Not before a controller has answered: a new one must be told everything, see `Reporter::talks_to`.
    #[cfg(feature = "observe")]
    if root.poll.holding && !root.poll.failing {
        crate::report::send(root, now);
    }
}

/// The headers of a call to the controller.
pub(crate) fn headers<'a>(root: &'a Root, path: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![
        (":method", "POST"),
        (":path", path),
        (":authority", root.config.authority.as_str()),
        ("content-type", MEDIA_TYPE),
        ("accept", MEDIA_TYPE),
    ];
    headers.extend(root.authorization.as_deref().map(|token| ("authorization", token)));
    headers
}

/// How long the controller may hold a poll of this root. A held poll is no sign of life, so with `on_loss` there must be
/// an answer well before the controller counts as lost.
fn hold(root: &Root) -> u32 {
    let half = root.config.revert.as_ref().map(|revert| revert.after / 2);
    half.and_then(|ms| u32::try_from(ms).ok()).map_or(HOLD_MS, |ms| ms.min(HOLD_MS))
}

fn send(root: &mut Root, now: u64) {
    let hold = hold(root);
    let (snapshot, write) = root.keys.snapshot_and_write();
    if root.poll.full {
        // Another VM may have written this and not yet moved the version; it may even have died between.
        if root.poll.announced != Some(write) {
            if let Err(Refused(status)) = root.version.bump() {
                return failed(root, now, &format!("the version cannot be moved (status {status})"));
            }
            root.poll.announced = Some(write);
        }
        root.poll.acks = snapshot.acks(snapshot.entries.keys());
    }
    let request = SyncRequest {
        sluicegate: PROTOCOL,
        proxy: root.proxy.clone(),
        #[cfg(not(feature = "faults"))]
        version: env!("CARGO_PKG_VERSION").to_owned(),
        #[cfg(feature = "faults")]
        version: crate::fault::version(),
        abilities: Abilities { counts: cfg!(feature = "observe"), cookies: cfg!(feature = "observe") },
        subscription: root.config.subscription.clone(),
        cursor: snapshot.cursor,
        hold,
        full: root.poll.full,
        acks: std::mem::take(&mut root.poll.acks),
    };
    let sent = host::post(&root.config.cluster, &headers(root, SYNC_PATH), &request.encode(), hold + LATE_MS);
    match sent {
        Ok(token) => {
            root.poll.under_way = Some((token, now));
            root.poll.full = false;
        }
        Err(Refused(2)) => failed(root, now, "Envoy knows no such cluster"),
        Err(Refused(status)) => failed(root, now, &format!("the call could not be sent (status {status})")),
    }
}

fn failed(root: &mut Root, now: u64, why: &str) {
    root.poll.full = true;
    root.poll.not_before = now + RETRY_MS + host::random() % (2 * RETRY_MS);
    if !std::mem::replace(&mut root.poll.failing, true) {
        let cluster = &root.config.cluster;
        host::log(
            Level::Warn,
            &format!("sluicegate: no weights from cluster {cluster}: {why}; the last ones stay in force"),
        );
    }
}

/// The poll under way was answered, by the controller or by Envoy in its place.
pub(crate) fn answered(root: &mut Root, body_size: usize, common: &Common) {
    let now = host::now_millis();
    let Some((_, since)) = root.poll.under_way.take() else { return };
    let mut answer = match read(body_size) {
        Ok(answer) => answer,
        Err(why) => return failed(root, now, &why),
    };
    for refused in answer.refuse() {
        host::log(Level::Error, &format!("sluicegate: {refused}"));
    }
    #[cfg(feature = "faults")]
    crate::fault::answer(&answer);
    root.poll.contact = now;
    root.poll.report_every = Some(answer.report.into());
    #[cfg(feature = "observe")]
    root.reporter.talks_to(answer.cursor.instance);
    let touched = answer.names();
    let news = match publish(root, answer) {
        Ok((snapshot, news)) => {
            root.poll.acks = snapshot.acks(touched.iter());
            news
        }
        Err(Refused(status)) => return failed(root, now, &format!("shared data cannot be written (status {status})")),
    };
    if std::mem::take(&mut root.poll.failing) {
        host::log(Level::Info, "sluicegate: the controller answers again");
    }
    if !news && now.saturating_sub(since) < BUSY_MS {
        root.poll.not_before = now + BUSY_MS;
    } else if root.keys.lease().0.is_some_and(|lease| lease.holder.owner == root.candidate(common).owner) {
        send(root, now);
    }
}

fn read(body_size: usize) -> Result<SyncAnswer, String> {
    let status = host::header(Map::CallResponse, ":status").unwrap_or_default();
    if status != b"200" {
        return Err(format!("it answers with status {}", String::from_utf8_lossy(&status)));
    }
    if body_size > MAX_ANSWER {
        return Err(format!("it answers with {body_size} bytes, more than the {MAX_ANSWER} a controller sends"));
    }
    let body = host::buffer(Buffer::CallResponseBody, body_size).unwrap_or_default();
    SyncAnswer::decode(&body).map_err(|why| format!("its answer is not a controller's: {why}"))
}

/// Merges an answer into the snapshot, then moves the version. Returns also whether it brought anything new.
fn publish(root: &Root, answer: SyncAnswer) -> Result<(Snapshot, bool), Refused> {
    #[cfg(feature = "faults")]
    crate::fault::before_write(root);
    let named = !answer.splits.is_empty() || !answer.removed.is_empty();
    let mut visible = false;
    let snapshot = root.keys.update_snapshot(|snapshot| {
        let before = snapshot.cursor;
        visible = snapshot.merge(answer.clone());
        visible |= std::mem::take(&mut snapshot.lost);
        visible || snapshot.cursor != before
    })?;
    #[cfg(feature = "faults")]
    if crate::fault::after_write() {
        return Ok((snapshot, visible));
    }
    // Also for what was known: another VM may have written it and not yet moved the version, and we ack it.
    if visible || named {
        root.version.bump()?;
    }
    Ok((snapshot, visible))
}

/// The controller has been out of reach for longer than the configuration allows.
fn mark_lost(root: &Root) {
    let mut visible = false;
    let marked = root.keys.update_snapshot(|snapshot| {
        visible = !snapshot.entries.is_empty() && !std::mem::replace(&mut snapshot.lost, true);
        visible
    });
    if visible && marked.is_ok() && root.version.bump().is_ok() {
        let subset = root.config.revert.as_ref().map_or("", |r| r.subset.as_str());
        host::log(Level::Warn, &format!("sluicegate: no controller for too long; all requests go to {subset}"));
    }
}
