//! A controller in a few lines, for tests that must decide to the byte what the filter is told: holds polls, answers
//! each with what was published since its cursor, notes every ack. Everything else uses the real controller.
//!
//! A test may also answer one held poll with anything it likes ([`Brain::answer_poll`]), let all of them wait
//! ([`Brain::hush`]), or let the brain be replaced by another one ([`Brain::replace`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use sluicegate_core::spec::{Assignment, Protocol, SplitSpec, SubsetSpec};
use sluicegate_core::wire::{Ack, Cursor, PROTOCOL, Report, SYNC_PATH, SyncAnswer, SyncRequest};

use crate::books::Books;
use crate::fault_controller::{Asked, FaultController, Reply};
use crate::{http1, poll};

/// How long a poll is held.
const HOLD: Duration = Duration::from_secs(20);
/// Its instance, as told in every cursor.
const INSTANCE: u64 = 0xb7a1;

/// The running brain.
pub struct Brain {
    /// Its port, and faults to put in front of it.
    pub door: FaultController,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    news: Condvar,
}

struct State {
    instance: u64,
    hushed: bool,
    published: Vec<SplitSpec>,
    acks: BTreeMap<String, Ack>,
    polls: Vec<Polled>,
    /// Numbers of the polls that wait for their answer.
    held: Vec<usize>,
    most_held: usize,
    /// Answers for held polls, by number.
    dictated: BTreeMap<usize, SyncAnswer>,
    reports: Vec<Report>,
}

/// A sync, as it came.
#[derive(Clone)]
pub struct Polled {
    /// Number of the request, over all that the brain was ever asked.
    pub number: usize,
    /// When it came.
    pub at: Instant,
    /// Its `host`: the plugin's `controller.authority`, by which a test tells configurations apart.
    pub authority: String,
    /// What it said.
    pub sync: SyncRequest,
}

impl Polled {
    /// The kind of VM that polls, as the module with faults tells: a worker's.
    #[must_use]
    pub fn by_worker(&self) -> bool {
        self.sync.version.ends_with(" worker")
    }

    /// The generation it acks for `default/NAME`.
    #[must_use]
    pub fn acked(&self, name: &str) -> Option<u64> {
        self.sync.acks.get(&format!("default/{name}")).map(|ack| ack.0)
    }
}

impl fmt::Debug for Polled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SyncRequest { version, cursor, full, acks, .. } = &self.sync;
        write!(
            f,
            "poll {} at {:?} of {} ({version}), {cursor:?}, full {full}, {acks:?}",
            self.number, self.at, self.authority
        )
    }
}

impl Brain {
    /// Starts it, knowing nothing yet.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start() -> Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts it on this address, where another may be about to close.
    ///
    /// # Errors
    /// When the address stays taken.
    pub fn start_on(addr: SocketAddr) -> Result<Self> {
        let state = State {
            instance: INSTANCE,
            hushed: false,
            published: Vec::new(),
            acks: BTreeMap::new(),
            polls: Vec::new(),
            held: Vec::new(),
            most_held: 0,
            dictated: BTreeMap::new(),
            reports: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), news: Condvar::new() });
        let door = poll::until(&format!("{addr} to be free"), poll::LONG, || {
            let asked = Arc::clone(&shared);
            FaultController::start_on(addr, move |request| asked.reply(request)).map_err(|why| format!("{why:#}"))
        })?;
        Ok(Self { door, shared })
    }

    /// From the next request on, what `fault` makes of it; where that is `None`, the answer it should get.
    pub fn fault(&self, fault: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) {
        let shared = Arc::clone(&self.shared);
        self.door.script(move |request| fault(request).unwrap_or_else(|| shared.reply(request)));
    }

    /// The script that answers as it should, for after a fault.
    pub fn heal(&self) {
        let shared = Arc::clone(&self.shared);
        self.door.script(move |request| shared.reply(request));
    }

    /// Publishes a split; held polls are answered at once.
    pub fn publish(&self, split: SplitSpec) {
        self.publish_all([split]);
    }

    /// Publishes splits at one stroke.
    pub fn publish_all(&self, splits: impl IntoIterator<Item = SplitSpec>) {
        self.change(|state| state.published.extend(splits));
    }

    /// Publishes and waits for its ack.
    ///
    /// # Errors
    /// When nobody acks it in time.
    pub fn publish_and_wait(&self, split: SplitSpec) -> Result<()> {
        let (name, generation) = (split.name.clone(), split.generation);
        self.publish(split);
        self.wait_ack(&name, generation)
    }

    /// Waits until some proxy acked this generation.
    ///
    /// # Errors
    /// When nobody acks it in time.
    pub fn wait_ack(&self, name: &str, generation: u64) -> Result<()> {
        poll::until(&format!("the ack of {name} generation {generation}"), poll::LONG, || {
            match self.read(|state| state.acks.get(name).copied()) {
                Some(Ack(acked, _)) if acked == generation => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
    }

    /// Waits for a held poll like this.
    ///
    /// # Errors
    /// When none comes in time; with those that are held.
    pub fn wait_held(&self, what: &str, like: impl Fn(&Polled) -> bool) -> Result<Polled> {
        poll::until(&format!("a poll {what}"), poll::LONG, || {
            let held = self.held();
            held.iter().rev().find(|polled| like(polled)).cloned().ok_or_else(|| format!("{held:?}"))
        })
    }

    /// Answers one held poll with this.
    pub fn answer_poll(&self, polled: &Polled, answer: SyncAnswer) {
        self.change(|state| state.dictated.insert(polled.number, answer));
    }

    /// Answers one held poll with this and waits for the next, which acks it.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn answer_and_wait(&self, polled: &Polled, answer: SyncAnswer) -> Result<Polled> {
        self.answer_poll(polled, answer);
        self.wait_held("after that answer", |next| next.number > polled.number)
    }

    /// From now on polls wait until they are answered one by one, or until the brain speaks again.
    pub fn hush(&self, hushed: bool) {
        self.change(|state| state.hushed = hushed);
    }

    /// As if this process ended and another took its port, knowing these splits.
    pub fn replace(&self, instance: u64, published: Vec<SplitSpec>) {
        self.change(|state| {
            state.instance = instance;
            state.published = published;
            state.acks.clear();
        });
    }

    /// The polls waiting for an answer now.
    #[must_use]
    pub fn held(&self) -> Vec<Polled> {
        self.read(|state| {
            state.polls.iter().filter(|polled| state.held.contains(&polled.number)).cloned().collect::<Vec<_>>()
        })
    }

    /// The most polls that ever waited at once since this was last asked.
    #[must_use]
    pub fn most_held(&self) -> usize {
        self.read(|state| std::mem::replace(&mut state.most_held, state.held.len()))
    }

    /// All syncs so far, with when and how they came.
    #[must_use]
    pub fn polls(&self) -> Vec<Polled> {
        self.read(|state| state.polls.clone())
    }

    /// The plugins whose last word on this split was this generation.
    #[must_use]
    pub fn acked_by(&self, name: &str, generation: u64) -> BTreeSet<String> {
        let mut last = BTreeMap::new();
        for sync in self.syncs() {
            if let Some(Ack(acked, _)) = sync.acks.get(name) {
                last.insert(sync.proxy.plugin, *acked);
            }
        }
        last.into_iter().filter(|(_, acked)| *acked == generation).map(|(plugin, _)| plugin).collect()
    }

    /// Waits until the reports so far satisfy `check`, and returns what that makes of them.
    ///
    /// # Errors
    /// When they do not in time; with what `check` last said.
    pub fn wait_books<T>(&self, what: &str, check: impl Fn(&Books) -> Result<T, String>) -> Result<T> {
        poll::until(&format!("reports to say {what}"), poll::LONG, || check(&Books::of(&self.reports())))
    }

    /// All syncs so far.
    #[must_use]
    pub fn syncs(&self) -> Vec<SyncRequest> {
        self.read(|state| state.polls.iter().map(|polled| polled.sync.clone()).collect())
    }

    /// The last sync.
    ///
    /// # Errors
    /// When nobody has polled yet.
    pub fn last(&self) -> Result<Polled> {
        self.read(|state| state.polls.last().cloned()).context("nobody has polled yet")
    }

    /// All reports so far.
    #[must_use]
    pub fn reports(&self) -> Vec<Report> {
        self.read(|state| state.reports.clone())
    }

    fn read<T>(&self, run: impl FnOnce(&mut State) -> T) -> T {
        run(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, run: impl FnOnce(&mut State) -> T) {
        self.read(run);
        self.shared.news.notify_all();
    }
}

impl Drop for Brain {
    /// Cuts the held polls.
    fn drop(&mut self) {
        self.change(|state| state.instance = !state.instance);
    }
}

impl Shared {
    fn reply(&self, request: &Asked) -> Reply {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if request.path != SYNC_PATH {
            if let Ok(report) = Report::decode(&request.body) {
                state.reports.push(report);
            }
            return Reply::ok("content-type: application/json\r\n", "{\"sluicegate\":1}");
        }
        let Ok(sync) = SyncRequest::decode(&request.body) else {
            return Reply::Http(400, String::new(), Vec::new());
        };
        state.acks.extend(sync.acks.clone());
        let instance = state.instance;
        let since = sync.cursor.filter(|cursor| cursor.instance == instance).map_or(0, |cursor| cursor.seq as usize);
        let knows_nothing = sync.cursor.is_none();
        let authority = http1::header(&request.head, "host").unwrap_or_default();
        let authority = String::from_utf8_lossy(authority).into_owned();
        let number = request.number;
        let hold = HOLD.min(Duration::from_millis(sync.hold.into()));
        state.polls.push(Polled { number, at: request.at, authority, sync });
        state.held.push(number);
        state.most_held = state.most_held.max(state.held.len());
        let waiting = |state: &mut State| {
            let news = !state.hushed && (knows_nothing || state.published.len() > since);
            !news && state.instance == instance && !state.dictated.contains_key(&number)
        };
        let waited = self.news.wait_timeout_while(state, hold, waiting);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.held.retain(|held| *held != number);
        if let Some(dictated) = state.dictated.remove(&number) {
            return Reply::ok("", dictated.encode());
        }
        if state.instance != instance {
            return Reply::Cut;
        }
        let seq = if state.hushed { since } else { state.published.len() };
        let news = state.published.get(since..seq).unwrap_or_default();
        Reply::ok("", SyncAnswer { cursor: Cursor { instance, seq: seq as u64 }, ..answer(0, news) }.encode())
    }
}

/// An answer to a sync.
#[must_use]
pub fn answer(seq: u64, splits: &[SplitSpec]) -> SyncAnswer {
    SyncAnswer {
        sluicegate: PROTOCOL,
        cursor: Cursor { instance: INSTANCE, seq },
        splits: splits.to_vec(),
        removed: Vec::new(),
        report: 500,
    }
}

/// An even split `default/NAME` whose first subset is the default.
#[must_use]
pub fn split(name: &str, generation: u64, subsets: &[(&str, u32)]) -> SplitSpec {
    SplitSpec {
        name: format!("default/{name}"),
        generation,
        subsets: subsets
            .iter()
            .map(|(name, weight)| SubsetSpec { name: (*name).to_owned(), weight: *weight })
            .collect(),
        default: subsets.first().map_or_else(String::new, |(name, _)| (*name).to_owned()),
        hosts: Vec::new(),
        assignment: Assignment::Even,
        overrides: Vec::new(),
        trust_upstream: false,
        write_default: false,
        protocol: Protocol::Http,
    }
}
