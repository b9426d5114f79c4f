//! The hub: who gets what, when, and who counts as having it.

use crate::support::{at, change, gone, split};
use sluicegate::hub::{GRACE, Hub, LISTED, PollId, Reply, answer::Answer, proxy::Standing, record::Spread};
use sluicegate_core::wire::{Abilities, Ack, Cursor, PROTOCOL, ProxyId, Subscription, SyncRequest};
use std::{sync::Arc, time::Duration};

/// A filter that does as it is told.
struct Filter {
    request: SyncRequest,
}

fn filter(epoch: u64, subscription: Subscription) -> Filter {
    let proxy = ProxyId { epoch, node: format!("node-{epoch}"), plugin: "p".into() };
    Filter {
        request: SyncRequest {
            sluicegate: PROTOCOL,
            proxy,
            version: "1".into(),
            abilities: Abilities { counts: true, cookies: true },
            subscription,
            cursor: None,
            hold: 25_000,
            full: true,
            acks: Default::default(),
        },
    }
}

fn by_name(epoch: u64) -> Filter {
    filter(epoch, Subscription::Split("n/a".into()))
}

impl Filter {
    /// Merges an answer and makes the next request.
    fn merge(&mut self, answer: &Answer) {
        self.request.cursor = Some(answer.message.cursor);
        self.request.full = false;
        let live = answer.message.splits.iter().map(|s| (s.name.clone(), Ack(s.generation, s.digest())));
        let removed = answer.message.removed.iter().map(|r| (r.name.clone(), Ack(r.generation, 0)));
        self.request.acks = live.chain(removed).collect();
    }

    fn sync(&self, hub: &mut Hub, ms: u64) -> Reply {
        hub.sync(self.request.clone(), at(ms))
    }

    fn poll(&self, hub: &mut Hub, ms: u64) -> PollId {
        match self.sync(hub, ms) {
            Reply::Held(poll) => poll,
            Reply::Answer(answer) => panic!("answered with {answer:?}"),
        }
    }

    fn fetch(&mut self, hub: &mut Hub, ms: u64) -> Arc<Answer> {
        match self.sync(hub, ms) {
            Reply::Answer(answer) => {
                self.merge(&answer);
                answer
            }
            Reply::Held(poll) => panic!("held as {poll}"),
        }
    }
}

fn names(answer: &Answer) -> Vec<String> {
    let live = answer.message.splits.iter().map(|s| format!("{}@{}", s.name, s.generation));
    live.chain(answer.message.removed.iter().map(|r| format!("-{}@{}", r.name, r.generation))).collect()
}

fn hub() -> Hub {
    let mut hub = Hub::new(7, Duration::from_secs(2));
    let a = split("n/a", 1, &[("v1", 90), ("v2", 10)], &[]);
    let b = split("n/b", 1, &[("v1", 1)], &["b.test"]);
    let c = split("n/c", 1, &[("v1", 1)], &["c.test"]);
    hub.publish([a, b, c].map(change).into(), at(0));
    hub
}

fn a(generation: u64, v1: u32) -> sluicegate::store::Change {
    change(split("n/a", generation, &[("v1", v1), ("v2", 10)], &[]))
}

#[test]
fn a_new_proxy_gets_all_it_subscribes_to_and_nothing_else() {
    let mut hub = hub();
    assert_eq!(names(&by_name(1).fetch(&mut hub, 0)), ["n/a@1"]);
    assert_eq!(names(&filter(2, Subscription::Hosts).fetch(&mut hub, 0)), ["n/b@1", "n/c@1"]);
    let answer = filter(3, Subscription::Split("n/nothing".into())).fetch(&mut hub, 0);
    assert_eq!(names(&answer), [""; 0]);
    assert_eq!(hub.wanted_in_vain(), [("n/nothing", 1)]);
}

#[test]
fn a_poll_is_held_until_something_it_subscribes_to_changes() {
    let mut hub = hub();
    let (mut one, mut other) = (by_name(1), filter(2, Subscription::Hosts));
    one.fetch(&mut hub, 0);
    other.fetch(&mut hub, 0);
    let (poll, _) = (one.poll(&mut hub, 1), other.poll(&mut hub, 1));
    let wakes = hub.publish(vec![a(2, 50)], at(2));
    assert_eq!(wakes.len(), 1);
    assert_eq!((wakes[0].polls.as_slice(), names(&wakes[0].answer)), ([poll].as_slice(), vec!["n/a@2".into()]));
    assert_eq!(hub.open_polls(), 1);
}

#[test]
fn one_answer_is_made_for_all_and_holds_only_what_changed() {
    let mut hub = hub();
    for epoch in 1..=50 {
        let mut proxy = filter(epoch, Subscription::Hosts);
        proxy.fetch(&mut hub, 0);
        proxy.poll(&mut hub, 0);
    }
    let wakes = hub.publish(vec![change(split("n/b", 2, &[("v1", 2)], &["b.test"]))], at(1));
    assert_eq!((wakes.len(), wakes[0].polls.len()), (1, 50));
    assert_eq!(names(&wakes[0].answer), ["n/b@2"]);
}

#[test]
fn a_change_is_as_long_on_the_wire_among_a_thousand_splits_as_alone() {
    let length = |splits: usize| {
        let mut hub = Hub::new(7, Duration::from_secs(2));
        let all = (0..splits).map(|n| change(split(&format!("n/{n}"), 1, &[("v1", 1)], &["a.test"])));
        hub.publish(all.collect(), at(0));
        let mut proxy = filter(1, Subscription::Hosts);
        proxy.fetch(&mut hub, 0);
        proxy.poll(&mut hub, 0);
        let wakes = hub.publish(vec![change(split("n/0", 2, &[("v1", 2)], &["a.test"]))], at(1));
        wakes[0].answer.message.encode().len()
    };
    // The cursor is a number of changes: one byte up to 127, two up to 16,383.
    assert_eq!(length(1_000), length(1) + 1);
}

#[test]
fn what_changed_between_two_polls_is_answered_at_once() {
    let mut hub = hub();
    let mut proxy = filter(1, Subscription::Hosts);
    proxy.fetch(&mut hub, 0);
    hub.publish(vec![a(2, 1), change(split("n/c", 2, &[("v1", 2)], &["c.test"])), gone("n/b", 2, true)], at(1));
    assert_eq!(names(&proxy.fetch(&mut hub, 2)), ["n/c@2", "-n/b@2"]);
    proxy.poll(&mut hub, 3);
}

#[test]
fn a_deletion_reaches_proxies_that_come_later_too() {
    let mut hub = hub();
    hub.publish(vec![gone("n/a", 2, false), gone("n/b", 2, true)], at(1));
    assert_eq!(names(&by_name(1).fetch(&mut hub, 2)), ["-n/a@2"]);
    assert_eq!(hub.wanted_in_vain(), [("n/a", 1)]);
    assert_eq!(names(&filter(2, Subscription::Hosts).fetch(&mut hub, 2)), ["n/c@1", "-n/b@2"]);
}

#[test]
fn a_split_that_lost_its_hosts_is_still_told_to_those_who_have_it() {
    let mut hub = hub();
    let mut proxy = filter(1, Subscription::Hosts);
    proxy.fetch(&mut hub, 0);
    let mut without = change(split("n/b", 2, &[("v1", 1)], &[]));
    without.hosted = true;
    hub.publish(vec![without], at(1));
    assert_eq!(names(&proxy.fetch(&mut hub, 2)), ["n/b@2"]);
}

#[test]
fn a_cursor_of_another_controller_or_of_the_future_gets_everything() {
    let mut hub = hub();
    let mut proxy = by_name(1);
    proxy.fetch(&mut hub, 0);
    for cursor in [None, Some(Cursor { instance: 8, seq: 1 }), Some(Cursor { instance: 7, seq: 999 })] {
        proxy.request.cursor = cursor;
        assert_eq!(names(&proxy.fetch(&mut hub, 1)), ["n/a@1"]);
        proxy.poll(&mut hub, 1);
    }
}

#[test]
fn an_unknown_proxy_gets_everything_even_with_our_newest_cursor() {
    let mut hub = hub();
    let mut proxy = by_name(1);
    proxy.fetch(&mut hub, 0);
    proxy.request.proxy.epoch = 2;
    let lost = proxy.sync(&mut hub, 1);
    assert!(matches!(&lost, Reply::Answer(answer) if names(answer) == ["n/a@1"]));
    // That answer got lost on its way: the same request again gets the same again, and again.
    assert!(matches!(proxy.sync(&mut hub, 2), Reply::Answer(_)));
    proxy.fetch(&mut hub, 3);
    proxy.poll(&mut hub, 4);
}

#[test]
fn a_proxy_that_serves_something_else_now_gets_all_of_that() {
    let mut hub = hub();
    let mut proxy = by_name(1);
    proxy.fetch(&mut hub, 0);
    let old = proxy.poll(&mut hub, 0);
    proxy.request.subscription = Subscription::Hosts;
    proxy.request.acks = Default::default();
    assert!(matches!(proxy.sync(&mut hub, 1), Reply::Answer(_)), "this answer is lost");
    // The poll of the old configuration is still open. It is answered, but its answer must not move the cursor beyond
    // what the new configuration has not got yet.
    let wakes = hub.publish(vec![a(2, 1)], at(2));
    assert_eq!(wakes[0].polls, [old]);
    assert_eq!(wakes[0].answer.message.cursor.seq, 0);
    assert_eq!(names(&proxy.fetch(&mut hub, 3)), ["n/b@1", "n/c@1"]);
    assert_eq!(hub.acked("n/a"), (0, 0));
}

#[test]
fn several_polls_of_one_proxy_are_all_answered() {
    let mut hub = hub();
    let mut proxy = by_name(1);
    proxy.fetch(&mut hub, 0);
    let polls = [proxy.poll(&mut hub, 0), proxy.poll(&mut hub, 1)];
    let mut woken = hub.publish(vec![a(2, 1)], at(2)).remove(0).polls;
    woken.sort_unstable();
    assert_eq!(woken, polls);
    assert_eq!(hub.acked("n/a"), (0, 1), "an open poll acks nothing");
}

#[test]
fn only_an_ack_of_generation_and_content_counts() {
    let mut hub = hub();
    let mut proxy = by_name(1);
    let answer = proxy.fetch(&mut hub, 0);
    assert_eq!(hub.acked("n/a"), (0, 1), "an answer is not an ack");
    let right = Ack(1, answer.message.splits[0].digest());
    for (ack, standing) in [
        (Ack(1, right.1 ^ 1), Standing::Conflict),
        (Ack(0, right.1), Standing::Behind),
        (Ack(2, right.1), Standing::Ahead),
        (right, Standing::Acked),
    ] {
        proxy.request.acks = [("n/a".to_owned(), ack)].into_iter().collect();
        let poll = proxy.poll(&mut hub, 1);
        assert_eq!(hub.subscribers("n/a")[0].standing, standing);
        assert_eq!(hub.acked("n/a").0, usize::from(standing == Standing::Acked));
        hub.close(poll, at(1));
    }
    assert_eq!(hub.rival("n/a"), Some(2), "and what ran ahead is remembered");
}

#[test]
fn the_last_ack_tells_how_long_it_took() {
    let mut hub = hub();
    let mut proxies = [by_name(1), by_name(2)];
    for proxy in &mut proxies {
        proxy.fetch(&mut hub, 0);
        proxy.poll(&mut hub, 1);
    }
    hub.take_propagated();
    let wakes = hub.publish(vec![a(2, 50)], at(100));
    proxies.iter_mut().for_each(|p| p.merge(&wakes[0].answer));
    proxies[0].poll(&mut hub, 103);
    assert_eq!((hub.acked("n/a"), hub.take_propagated().len()), ((1, 2), 0));
    assert!(!hub.is_settled("n/a", 2));
    proxies[1].poll(&mut hub, 108);
    let propagated = hub.take_propagated();
    assert_eq!((propagated[0].generation, propagated[0].proxies), (2, 2));
    assert_eq!(propagated[0].took, Duration::from_millis(8));
    assert!(hub.is_settled("n/a", 2) && !hub.is_settled("n/a", 3));
    let lags: Vec<_> = hub.subscribers("n/a").iter().map(|s| s.proxy.lag("n/a", hub.record("n/a").unwrap())).collect();
    assert_eq!(lags, [Some(Duration::from_millis(3)), Some(Duration::from_millis(8))]);
}

#[test]
fn a_silent_proxy_is_lost_after_the_grace_and_forgotten_later_and_never_counts_as_acked() {
    let mut hub = hub();
    let mut proxy = by_name(1);
    proxy.fetch(&mut hub, 0);
    let poll = proxy.poll(&mut hub, 0);
    let grace = GRACE.as_millis() as u64;
    hub.tick(at(grace * 5));
    assert_eq!(hub.acked("n/a"), (1, 1), "an open poll is a sign of life however long it is");
    hub.close(poll, at(grace * 5));
    hub.tick(at(grace * 6));
    assert_eq!(hub.acked("n/a"), (1, 1));
    hub.tick(at(grace * 6 + 1));
    assert_eq!((hub.acked("n/a"), hub.record("n/a").unwrap().spread), ((0, 0), Spread::Nobody));
    assert!(hub.subscribers("n/a")[0].proxy.lost.is_some(), "still listed");
    hub.tick(at(grace * 6 + 2 + LISTED.as_millis() as u64));
    assert_eq!(hub.proxies().count(), 0);
}

#[test]
fn a_lost_proxy_that_speaks_again_counts_again() {
    let mut hub = hub();
    let mut proxy = by_name(1);
    proxy.fetch(&mut hub, 0);
    let poll = proxy.poll(&mut hub, 0);
    hub.close(poll, at(0));
    hub.tick(at(60_000));
    assert_eq!(hub.acked("n/a"), (0, 0));
    hub.heard(&proxy.request.proxy.clone(), at(60_001));
    assert_eq!(hub.acked("n/a"), (1, 1), "by a report");
    hub.tick(at(120_000));
    proxy.poll(&mut hub, 120_001);
    assert_eq!(hub.acked("n/a"), (1, 1), "by a poll");
}

#[test]
fn losing_the_last_one_who_is_behind_settles_the_split_for_the_others() {
    let mut hub = hub();
    let (mut quick, mut dead) = (by_name(1), by_name(2));
    quick.fetch(&mut hub, 0);
    dead.fetch(&mut hub, 0);
    quick.poll(&mut hub, 0);
    hub.tick(at(10_000));
    assert_eq!(hub.acked("n/a"), (1, 2));
    hub.tick(at(10_001));
    assert_eq!(hub.acked("n/a"), (1, 1));
    assert!(hub.is_settled("n/a", 1));
}

#[test]
fn full_acks_replace_and_partial_ones_add() {
    let mut hub = hub();
    let mut proxy = filter(1, Subscription::Hosts);
    proxy.fetch(&mut hub, 0);
    proxy.poll(&mut hub, 0);
    assert_eq!((hub.acked("n/b"), hub.acked("n/c")), ((1, 1), (1, 1)));
    proxy.request.acks = Default::default();
    proxy.poll(&mut hub, 1);
    assert_eq!((hub.acked("n/b"), hub.acked("n/c")), ((1, 1), (1, 1)));
    // Its shared data is gone, and it says so.
    proxy.request.full = true;
    proxy.poll(&mut hub, 2);
    assert_eq!((hub.acked("n/b"), hub.acked("n/c")), ((0, 1), (0, 1)));
}

#[test]
fn a_split_created_later_knows_what_proxies_already_run() {
    let mut hub = hub();
    let mut proxy = filter(1, Subscription::Split("n/new".into()));
    proxy.request.acks = [("n/new".to_owned(), Ack(9, 1))].into_iter().collect();
    proxy.fetch(&mut hub, 0);
    assert_eq!(hub.rival("n/new"), Some(9));
    hub.publish(vec![change(split("n/new", 1, &[("v1", 1)], &[]))], at(1));
    assert_eq!(hub.rival("n/new"), Some(9));
    hub.publish(vec![change(split("n/new", 10, &[("v1", 1)], &[]))], at(2));
    assert_eq!(hub.rival("n/new"), None);
}

#[test]
fn a_poll_whose_hold_ends_gets_an_empty_answer_with_the_newest_cursor() {
    let mut hub = hub();
    let mut proxy = by_name(1);
    proxy.fetch(&mut hub, 0);
    let poll = proxy.poll(&mut hub, 0);
    hub.publish(vec![change(split("n/b", 2, &[("v1", 2)], &["b.test"]))], at(1));
    let answer = hub.expire(poll, at(25_000)).unwrap();
    assert_eq!((names(&answer), answer.message.cursor), (vec![], hub.cursor()));
    assert!(hub.expire(poll, at(25_000)).is_none());
    proxy.merge(&answer);
    proxy.poll(&mut hub, 25_001);
}
