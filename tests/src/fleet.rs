//! Many proxies without Envoys: each one a connection of its own with a long poll in the compact encoding, all of them on
//! one thread. They do what `filter/src/poll.rs` does: merge, ack with the next poll, everything with the first; after a
//! failure they come again at a tick, later by chance. Some can be told to be slow.
//!
//! In: a controller, how many, what they subscribe to. Out: every answer with its moment and size, every failure.

mod proxy;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Poll, Token, Waker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sluicegate_core::wire::Subscription;

use proxy::{Proxy, Turn};

const WAKER: Token = Token(usize::MAX);
/// Between two ticks of a filter; a poll that failed is sent again at one.
const TICK: Duration = Duration::from_millis(500);
/// Polls that were not answered in time are looked for so often.
const LOOK: Duration = Duration::from_secs(1);
/// Descriptors that a process of the fleet, or its controller, needs beside the connections.
const OTHER_FILES: u64 = 200;

/// How a proxy behaves that does not behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// It polls, and does not read what comes.
    Deaf,
    /// It asks for everything again and again, and never reads an answer.
    Greedy,
    /// It begins a request on a new connection, and does not end it.
    HalfHead,
    /// The same, in the middle of the body.
    HalfBody,
}

/// What the fleet has seen since it was last asked.
#[derive(Debug, Default)]
pub struct Seen {
    /// Answers that brought news: when each was read, and its body in bytes.
    pub news: Vec<(Instant, usize)>,
    /// Answers that brought none: the hold of a poll had run out.
    pub empty: u64,
    /// Polls that failed, by what was wrong.
    pub failures: BTreeMap<String, u64>,
}

impl Seen {
    /// Adds what was seen later.
    pub fn add(&mut self, later: Self) {
        self.news.extend(later.news);
        self.empty += later.empty;
        for (why, count) in later.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }
}

/// See the module; dropped, all connections close.
#[derive(Debug)]
pub struct Fleet {
    orders: mpsc::Sender<Order>,
    waker: Arc<Waker>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Seen>,
    /// Proxies with a poll under way.
    polling: AtomicUsize,
}

#[derive(Debug)]
enum Order {
    Slow(usize, Slow),
    Stop,
}

impl Fleet {
    /// Starts so many proxies; all of them connect at once.
    ///
    /// # Errors
    /// When this process may not have so many open files.
    pub fn start(to: SocketAddr, proxies: usize, subscription: &Subscription) -> Result<Self> {
        allow_files(proxies)?;
        let poll = Poll::new().context("no epoll")?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).context("no waker")?);
        let shared = Arc::new(Shared::default());
        let (orders, inbox) = mpsc::channel();
        let fleet = Ships {
            poll,
            inbox,
            shared: Arc::clone(&shared),
            proxies: (0..proxies).map(|index| Proxy::new(to, index, subscription)).collect(),
            due: BinaryHeap::new(),
            seen: Seen::default(),
        };
        let thread = thread::Builder::new().name("fleet".into()).spawn(move || fleet.run())?;
        Ok(Self { orders, waker, shared, thread: Some(thread) })
    }

    /// Proxies with a poll under way, answered or not.
    #[must_use]
    pub fn polling(&self) -> usize {
        self.shared.polling.load(Ordering::Relaxed)
    }

    /// What was seen since this was last asked.
    #[must_use]
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.shared.seen())
    }

    /// So many proxies that still behave are slow from now on.
    ///
    /// # Errors
    /// When the fleet has ended.
    pub fn slow(&self, count: usize, how: Slow) -> Result<()> {
        self.orders.send(Order::Slow(count, how)).ok().context("the fleet has ended")?;
        self.waker.wake().context("the fleet does not wake")
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.orders.send(Order::Stop).ok();
        self.waker.wake().ok();
        if let Some(Ok(Err(why))) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the fleet ended early: {why:#}");
        }
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's own.
struct Ships {
    poll: Poll,
    inbox: mpsc::Receiver<Order>,
    shared: Arc<Shared>,
    proxies: Vec<Proxy>,
    /// When which proxy polls again.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Not yet handed over.
    seen: Seen,
}

impl Ships {
    fn run(mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut cache = proxy::Cache::default();
        for index in 0..self.proxies.len() {
            let turn = self.proxies[index].poll(self.poll.registry());
            self.after(index, turn);
        }
        let mut looked = Instant::now();
        loop {
            let next = self.due.peek().map(|Reverse((due, _))| due.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, Some(next.unwrap_or(LOOK).min(LOOK))) {
                Err(why) if why.kind() != io::ErrorKind::Interrupted => return Err(why).context("epoll failed"),
                _ => {}
            }
            for event in &events {
                let Token(index) = event.token();
                let Some(proxy) = self.proxies.get_mut(index) else { continue };
                let turn = proxy.ready(event, self.poll.registry(), &mut cache);
                self.after(index, turn);
            }
            while let Ok(order) = self.inbox.try_recv() {
                match order {
                    Order::Stop => return Ok(()),
                    Order::Slow(count, how) => self.slow(count, how)?,
                }
            }
            self.again();
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                for index in 0..self.proxies.len() {
                    let turn = self.proxies[index].look(looked);
                    self.after(index, turn);
                }
            }
            self.hand_over();
        }
    }

    fn again(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((due, index))) = self.due.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.due.pop();
            let _ = due;
            let turn = self.proxies[index].poll(self.poll.registry());
            self.after(index, turn);
        }
    }

    fn after(&mut self, index: usize, turn: Turn) {
        match turn {
            Turn::Nothing => {}
            Turn::News(at, size) => self.seen.news.push((at, size)),
            Turn::Empty => self.seen.empty += 1,
            Turn::Failed(why) => {
                *self.seen.failures.entry(why).or_default() += 1;
                let due = self.proxies[index].tick_after(Duration::from_millis(400 + fastrand::u64(..800)));
                self.due.push(Reverse((due, index)));
            }
        }
    }

    fn slow(&mut self, count: usize, how: Slow) -> Result<()> {
        let registry = self.poll.registry();
        let good = self.proxies.iter_mut().filter(|proxy| proxy.slow.is_none()).take(count);
        for proxy in good {
            proxy.be(how, registry).with_context(|| format!("cannot make one {how:?}"))?;
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        let polling = self.proxies.iter().filter(|proxy| proxy.is_polling()).count();
        self.shared.polling.store(polling, Ordering::Relaxed);
        if self.seen.news.is_empty() && self.seen.empty == 0 && self.seen.failures.is_empty() {
            return;
        }
        self.shared.seen().add(std::mem::take(&mut self.seen));
    }
}

/// Raises what this process, and those it starts from now on, may have open.
///
/// # Errors
/// When the limit set for this user is lower; the message says what to do.
pub fn allow_files(connections: usize) -> Result<()> {
    let wanted = connections as u64 + OTHER_FILES;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("no limit of open files can be read")?;
    if soft >= wanted {
        return Ok(());
    }
    let raised = setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted));
    ensure!(
        raised.is_ok(),
        "{connections} connections need {wanted} open files, and this user may have {hard}: run 'ulimit -Hn {wanted}' as \
         root in this shell, or ask for fewer with --proxies"
    );
    Ok(())
}
