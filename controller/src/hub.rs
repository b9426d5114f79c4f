//! Who must run what, and who does: the current splits with their sequence numbers, and of each proxy what it
//! subscribes to and what it acked.
//!
//! In: changes from the store, syncs and reports from proxies, the passing of time. Out: answers, and which held polls
//! they are for. Pure: no clock, no socket, no task; a held poll is a number. Costs are in proportion to what changed
//! and to who subscribes to it: one answer is made per change and shared by all polls it is for.
//!
//! * [`answer`]: what a poll gets, made once and shared.
//! * [`record`]: one split and how far it has spread.
//! * [`proxy`]: one proxy, its acks and whether it is alive.
//! * [`view`]: what people get to see.

pub mod answer;
mod proxies;
pub mod proxy;
pub mod record;
pub mod view;

use crate::{clock::Now, store::Change};
use answer::Answer;
use proxy::Proxy;
use record::{Propagated, Record};
use sluicegate_core::wire::{Ack, Cursor, Subscription, SyncRequest};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// A proxy without open poll is alive for this long after its last sync or report ended.
pub const GRACE: Duration = Duration::from_secs(10);
/// A lost proxy is listed for this long.
pub const LISTED: Duration = Duration::from_secs(300);
/// Acks of splits this controller has never heard of are remembered up to this many, so that a split that is created
/// later starts above them.
const MAX_STRAYS: usize = 10_000;

/// A held poll.
pub type PollId = u64;

/// What a sync gets.
#[derive(Debug)]
pub enum Reply {
    /// This, at once.
    Answer(Arc<Answer>),
    /// Nothing new yet.
    Held(PollId),
}

/// An answer for polls that were held.
#[derive(Debug)]
pub struct Wake {
    /// For these; they are held no longer.
    pub polls: Vec<PollId>,
    /// What they get.
    pub answer: Arc<Answer>,
}

#[derive(Debug)]
struct Poll {
    epoch: u64,
    subscription: Subscription,
}

/// Those who want to know about one split by name, or about all with hosts.
#[derive(Debug, Default)]
struct Topic {
    polls: HashSet<PollId>,
    /// Live proxies.
    live: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Hub {
    instance: u64,
    seq: u64,
    report: u32,
    records: BTreeMap<Arc<str>, Record>,
    /// Sequence numbers of the splits that list hosts, or once did.
    hosted: BTreeMap<u64, Arc<str>>,
    proxies: HashMap<u64, Proxy>,
    polls: HashMap<PollId, Poll>,
    by_split: HashMap<Arc<str>, Topic>,
    by_hosts: Topic,
    next_poll: PollId,
    /// The full answer for host subscribers and the sequence number it was made at.
    full: Option<(u64, Arc<Answer>)>,
    strays: HashMap<String, u64>,
    propagated: Vec<Propagated>,
}

impl Hub {
    /// How often proxies are told to report.
    pub fn report_interval(&self) -> Duration {
        Duration::from_millis(u64::from(self.report))
    }

    /// An empty hub. `instance` is random per process; `report` is what proxies are told as their report interval.
    pub fn new(instance: u64, report: Duration) -> Self {
        Self {
            instance,
            seq: 1,
            report: report.as_millis().try_into().unwrap_or(u32::MAX),
            records: BTreeMap::new(),
            hosted: BTreeMap::new(),
            proxies: HashMap::new(),
            polls: HashMap::new(),
            by_split: HashMap::new(),
            by_hosts: Topic::default(),
            next_poll: 0,
            full: None,
            strays: HashMap::new(),
            propagated: Vec::new(),
        }
    }

    /// Takes changes of the store as one step; returns the answers of the polls that waited for them.
    pub fn publish(&mut self, changes: Vec<Change>, now: Now) -> Vec<Wake> {
        let mut names = Vec::with_capacity(changes.len());
        for change in changes {
            self.seq += 1;
            let name = self.replace(change, now);
            names.push(name);
        }
        let mut wakes = Vec::new();
        for name in &names {
            let waiting = self.by_split.get_mut(name).map(|t| std::mem::take(&mut t.polls)).unwrap_or_default();
            self.answer_all(waiting, &[Arc::clone(name)], now, &mut wakes);
        }
        names.retain(|name| self.records.get(name).is_some_and(|r| r.hosted));
        if !names.is_empty() {
            let waiting = std::mem::take(&mut self.by_hosts.polls);
            self.answer_all(waiting, &names, now, &mut wakes);
        }
        wakes
    }

    fn replace(&mut self, change: Change, now: Now) -> Arc<str> {
        let (name, known) = match self.records.remove_entry(change.name.as_str()) {
            Some((name, known)) => (name, Some(known)),
            None => (Arc::from(change.name.as_str()), None),
        };
        let stray = self.strays.remove(change.name.as_str()).unwrap_or(0);
        let rival = known.as_ref().map_or(stray, |k| k.rival);
        if let Some(known) = &known {
            self.hosted.remove(&known.seq);
        }
        let mut record = Record::new(change, self.seq, rival, now);
        if record.hosted {
            self.hosted.insert(self.seq, Arc::clone(&name));
            self.full = None;
        }
        // Nobody can have acked a generation above all that were ever acked, so nobody needs to be asked.
        if rival >= record.generation() || known.as_ref().is_none_or(|k| k.hosted != record.hosted) {
            record.acked = self.proxies.values().filter(|p| p.counts(&name, &record)).count();
        }
        if let Some(known) = known {
            record.follow(known);
        }
        self.records.insert(Arc::clone(&name), record);
        self.settle(&name, now);
        name
    }

    /// Answers these polls with these splits.
    fn answer_all(&mut self, polls: HashSet<PollId>, names: &[Arc<str>], now: Now, wakes: &mut Vec<Wake>) {
        let (mut current, mut stale) = (Vec::with_capacity(polls.len()), Vec::new());
        for id in polls {
            let Some(poll) = self.polls.remove(&id) else { continue };
            let same = self.proxies.get(&poll.epoch).is_none_or(|p| p.subscription == poll.subscription);
            self.ended(poll.epoch, now);
            if same { current.push(id) } else { stale.push(id) }
        }
        if !current.is_empty() {
            wakes.push(Wake { polls: current, answer: self.answer(names, self.seq) });
        }
        if !stale.is_empty() {
            // A poll from before the proxy's filter was told to serve something else: what it brings must not make
            // the proxy believe that it is up to date with what it serves now. 0 is before everything.
            wakes.push(Wake { polls: stale, answer: self.answer(names, 0) });
        }
    }

    /// Takes a sync: notes what the proxy acks, answers what it does not have yet.
    pub fn sync(&mut self, request: SyncRequest, now: Now) -> Reply {
        let epoch = request.proxy.epoch;
        let ours = request.cursor.filter(|c| c.instance == self.instance && c.seq <= self.seq).map(|c| c.seq);
        let moved = self.proxies.get(&epoch).is_none_or(|p| p.subscription != request.subscription);
        if moved && ours == Some(self.seq) {
            // The full answer must be told from everything before it.
            self.seq += 1;
        }
        self.note(&request, moved, now);
        let needs = self.proxies.get(&epoch).map_or(0, |p| p.needs);
        let Some(since) = ours.filter(|seq| *seq >= needs) else {
            return Reply::Answer(self.full_answer(&request.subscription));
        };
        let news = self.since(&request.subscription, since);
        if !news.is_empty() {
            return Reply::Answer(self.answer(&news, self.seq));
        }
        self.next_poll += 1;
        let id = self.next_poll;
        self.topic(&request.subscription).polls.insert(id);
        self.polls.insert(id, Poll { epoch, subscription: request.subscription });
        if let Some(proxy) = self.proxies.get_mut(&epoch) {
            proxy.open += 1;
        }
        Reply::Held(id)
    }

    /// The hold of a poll has run out: its empty answer. `None` when it was answered meanwhile.
    pub fn expire(&mut self, poll: PollId, now: Now) -> Option<Arc<Answer>> {
        let seq = self.close(poll, now)?;
        Some(self.answer(&[], seq))
    }

    /// A poll has gone without answer. Returns how far its proxy is, if it was still held.
    pub fn close(&mut self, id: PollId, now: Now) -> Option<u64> {
        let poll = self.polls.remove(&id)?;
        self.topic(&poll.subscription).polls.remove(&id);
        let same = self.proxies.get(&poll.epoch).is_none_or(|p| p.subscription == poll.subscription);
        self.ended(poll.epoch, now);
        Some(if same { self.seq } else { 0 })
    }

    /// The highest generation of this split that some proxy runs and that this hub did not publish, if it is not below
    /// the one in force: another folder, or a lost state. The next change must go above it.
    pub fn rival(&self, split: &str) -> Option<u64> {
        match self.records.get(split) {
            Some(record) => Some(record.rival).filter(|rival| *rival >= record.generation()),
            None => self.strays.get(split).copied(),
        }
    }

    /// What has reached every live proxy since this was last asked.
    pub fn take_propagated(&mut self) -> Vec<Propagated> {
        std::mem::take(&mut self.propagated)
    }

    /// Polls that are held now.
    pub fn open_polls(&self) -> usize {
        self.polls.len()
    }

    /// Where this hub is in its sequence of changes.
    pub fn cursor(&self) -> Cursor {
        Cursor { instance: self.instance, seq: self.seq }
    }

    /// What somebody who knows everything up to `seq` does not know.
    fn since(&self, subscription: &Subscription, seq: u64) -> Vec<Arc<str>> {
        match subscription {
            Subscription::Split(name) => {
                let found = self.records.get_key_value(name.as_str()).filter(|(_, record)| record.seq > seq);
                found.map(|(name, _)| Arc::clone(name)).into_iter().collect()
            }
            Subscription::Hosts => self.hosted.range(seq + 1..).map(|(_, name)| Arc::clone(name)).collect(),
        }
    }

    fn topic(&mut self, subscription: &Subscription) -> &mut Topic {
        match subscription {
            Subscription::Split(name) => self.by_split.entry(Arc::from(name.as_str())).or_default(),
            Subscription::Hosts => &mut self.by_hosts,
        }
    }

    /// Live proxies that subscribe to this split.
    fn live(&self, name: &str, record: &Record) -> usize {
        let hosts = if record.hosted { self.by_hosts.live } else { 0 };
        self.by_split.get(name).map_or(0, |t| t.live) + hosts
    }

    /// Looks whether a split has reached everybody, after anything that could have changed that.
    fn settle(&mut self, name: &Arc<str>, now: Now) {
        let Some(live) = self.records.get(name).map(|record| self.live(name, record)) else { return };
        if let Some(record) = self.records.get_mut(name) {
            self.propagated.extend(record.settle(name, live, now));
        }
    }

    /// Remembers the ack of a split this hub has never heard of.
    fn stray(&mut self, name: &str, ack: Ack) {
        if self.strays.len() < MAX_STRAYS || self.strays.contains_key(name) {
            let highest = self.strays.entry(name.to_owned()).or_insert(0);
            *highest = (*highest).max(ack.0);
        }
    }
}
