//! Accepted and Propagated, in words.

use super::model::Condition;
use crate::{
    context::Inner,
    hub::{
        proxy::Standing,
        record::{Record, Spread},
        view::Subscriber,
    },
    store::Complaint,
};
use sluicegate_core::{
    snapshot::Entry,
    spec::{Assignment, StickyKey},
};

/// So many proxies are named in a message.
const NAMED: usize = 5;

/// The conditions of a split; `record`: what is in force, if anything is.
pub(super) fn conditions(inner: &Inner, name: &str, record: Option<&Record>) -> Vec<Condition> {
    let mut all = vec![accepted(inner, name, record)];
    all.extend(record.map(|record| propagated(inner, name, record)));
    all
}

fn accepted(inner: &Inner, name: &str, record: Option<&Record>) -> Condition {
    let about: Vec<&Complaint> = inner.complaints.iter().filter(|c| c.split.as_deref() == Some(name)).collect();
    let generation = record.map(Record::generation);
    let (status, reason, message) = match about.iter().find(|c| c.refused) {
        Some(refused) => {
            let stays = generation.map_or_else(String::new, |g| format!("; generation {g} stays in force"));
            ("False", refused.reason, format!("{refused}{stays}"))
        }
        None => {
            let notes: Vec<_> = about.iter().map(|c| format!("; but {c}")).collect();
            ("True", "InForce", format!("in force as generation {}{}", generation.unwrap_or(0), notes.concat()))
        }
    };
    Condition {
        kind: "Accepted".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: inner.accepted_since(name),
        observed_generation: generation,
    }
}

/// How far what is in force has spread.
pub(crate) fn propagated(inner: &Inner, name: &str, record: &Record) -> Condition {
    let generation = record.generation();
    let (acked, live) = inner.hub.acked(name);
    let (status, reason, mut message) = match record.spread {
        Spread::Nobody => ("Unknown", "NoProxies", "no live proxy subscribes to this split".to_owned()),
        Spread::Everywhere => ("True", "Acked", format!("acked by all {live} live proxies")),
        Spread::Partly => {
            let late = inner.hub.subscribers(name);
            let late: Vec<_> =
                late.iter().filter(|s| s.proxy.lost.is_none() && s.standing != Standing::Acked).collect();
            let mut named: Vec<_> = late.iter().take(NAMED).map(|s| tell(s, name, generation)).collect();
            if late.len() > NAMED {
                named.push(format!("{} more", late.len() - NAMED));
            }
            let reason = match late.iter().map(|s| s.standing).find(|s| *s != Standing::Behind) {
                Some(Standing::Ahead) => "Ahead",
                Some(_) => "Conflict",
                None => "Waiting",
            };
            ("False", reason, format!("acked by {acked} of {live} live proxies; not by {}", named.join(", ")))
        }
    };
    message.push_str(&notes(inner, name, record));
    Condition {
        kind: "Propagated".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: record.since,
        observed_generation: Some(generation),
    }
}

fn tell(subscriber: &Subscriber<'_>, split: &str, own: u64) -> String {
    let node = &subscriber.proxy.id.node;
    let runs = subscriber.proxy.acks.get(split).map(|known| known.ack.0);
    match (subscriber.standing, runs) {
        (Standing::Ahead, Some(runs)) => format!(
            "{node} (runs generation {runs}, newer than this controller's {own}: it got that from an older folder or \
             a lost state; the next change here takes over)"
        ),
        (Standing::Conflict, _) => format!(
            "{node} (runs other content under the same generation {own}, from another controller; the next change here \
             takes over)"
        ),
        (_, Some(runs)) => format!("{node} (still runs generation {runs})"),
        (_, None) => format!("{node} (runs nothing of it yet)"),
    }
}

/// What some proxies cannot do for this split.
fn notes(inner: &Inner, name: &str, record: &Record) -> String {
    let Entry::Live(split) = &record.entry else { return String::new() };
    let needs_cookies = matches!(&split.assignment, Assignment::Sticky(s) if matches!(s.key, StickyKey::Cookie { .. }));
    let (mut no_cookies, mut no_counts) = (0, 0);
    for proxy in inner.hub.proxies().filter(|p| p.lost.is_none() && record.is_for(name, &p.subscription)) {
        no_cookies += usize::from(needs_cookies && !proxy.abilities.cookies);
        no_counts += usize::from(!proxy.abilities.counts);
    }
    let mut notes = String::new();
    if no_cookies > 0 {
        notes.push_str(&format!(
            "; {no_cookies} of them run a filter that cannot set the sticky cookie, so users without one are not \
             sticky there: use sluicegate.wasm"
        ));
    }
    if no_counts > 0 {
        notes.push_str(&format!("; {no_counts} of them run a filter that does not count"));
    }
    notes
}
