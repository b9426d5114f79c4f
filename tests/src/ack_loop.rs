//! Controller and client in one thread, so that "ack read, then request sent" is the order of the program and not a
//! comparison of clocks.
//!
//! The controller side answers long polls with one generation after the other. Generation `g` sends everything to
//! subset `sG`, G being `g` modulo [`CYCLE`], so that an answer that names its subset names the generation that decided
//! it. The client side keeps some connections busy, and others idle until an ack is read: then they all fire at once.
//! An answer decided by an older generation than the one acked before its request was sent is a violation.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use sluicegate_core::spec::SplitSpec;
use sluicegate_core::wire::{SYNC_PATH, SyncRequest};

use crate::http1::{self, Body};
use crate::load::{Conn, Latencies, Progress};
use crate::{brain, poll};

/// Generations that can be told apart by the subset that answers: all subsets a split may have, but the default one.
pub const CYCLE: u64 = 15;
const LISTENER: Token = Token(usize::MAX);
/// Tokens from here on are the controller's connections.
const CONTROLLER: usize = 10_000;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Generations to publish, one after the other.
    pub changes: u64,
    /// At least so long from one to the next.
    pub pause: Duration,
    /// Connections that send whenever they have their answer.
    pub busy: usize,
    /// Connections that send only at the moment an ack is read.
    pub waiting: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Generations published and acked.
    pub changes: u64,
    /// Answers checked.
    pub answers: u64,
    /// Those whose request left in the very moment an ack was read.
    pub bursts: u64,
    /// Answers by an older generation than was acked before their request was sent.
    pub violations: u64,
    /// Answers that were not 200, or never came.
    pub failures: u64,
    /// The fewest answers on any one connection.
    pub fewest: u64,
    /// From the answer to a poll until the ack.
    pub acks: Latencies,
}

/// The loop, listening for the proxy's polls.
pub struct AckLoop {
    poll: Poll,
    listener: TcpListener,
    addr: SocketAddr,
    callers: Vec<Option<Caller>>,
    clients: Vec<Client>,
    published: u64,
    acked: u64,
    outcome: Outcome,
}

/// Path and body of a request.
type Asked = (String, Vec<u8>);

/// A connection of the proxy.
struct Caller {
    stream: TcpStream,
    input: Vec<u8>,
    /// It waits for the answer to a poll.
    polls: bool,
}

/// A connection to the proxy.
struct Client {
    conn: Conn,
    busy: bool,
    /// The generation acked when its request was sent.
    acked: Option<u64>,
    answers: u64,
}

impl AckLoop {
    /// Listens for polls.
    ///
    /// # Errors
    /// When there is no port.
    pub fn bind() -> Result<Self> {
        let poll = Poll::new().context("no epoll")?;
        let mut listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("no port")?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let addr = listener.local_addr()?;
        let (callers, clients) = (Vec::new(), Vec::new());
        Ok(Self { poll, listener, addr, callers, clients, published: 0, acked: 0, outcome: Outcome::default() })
    }

    /// Where the proxy's controller cluster must point.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Publishes and checks.
    ///
    /// # Errors
    /// When an ack does not come in time, or the proxy closes a connection.
    pub fn run(mut self, to: SocketAddr, plan: &Plan) -> Result<Outcome> {
        self.turn(poll::LONG, "the first poll", |this| this.callers.iter().flatten().any(|caller| caller.polls))?;
        self.publish()?;
        self.turn(poll::LONG, "the first ack", |this| this.acked == 1)?;
        for index in 0..plan.busy + plan.waiting {
            self.connect(to, index, index < plan.busy)?;
        }
        while self.outcome.changes < plan.changes {
            let began = Instant::now();
            let wanted = self.acked + 1;
            // The poll that acks a generation also waits for the next, so there is always one to answer.
            self.publish()?;
            self.turn(poll::LONG, &format!("the ack of generation {wanted}"), |this| this.acked == wanted)?;
            self.outcome.acks.push(began.elapsed());
            self.outcome.changes += 1;
            self.turn(poll::LONG, "the answers to the burst", |this| {
                this.clients.iter().all(|client| client.busy || client.acked.is_none()) && began.elapsed() >= plan.pause
            })?;
        }
        self.clients.iter_mut().for_each(|client| client.busy = false);
        self.turn(poll::LONG, "the last answers", |this| this.clients.iter().all(|client| client.acked.is_none()))?;
        self.outcome.fewest = self.clients.iter().map(|client| client.answers).min().unwrap_or(0);
        Ok(self.outcome)
    }

    fn connect(&mut self, to: SocketAddr, index: usize, busy: bool) -> Result<()> {
        let stream = std::net::TcpStream::connect(to).with_context(|| format!("cannot connect to {to}"))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        let mut client = Client { conn: Conn::new(stream), busy, acked: None, answers: 0 };
        if busy {
            client.send(self.acked)?;
        }
        self.clients.push(client);
        Ok(())
    }

    /// Handles events until `done`.
    fn turn(&mut self, limit: Duration, what: &str, done: impl Fn(&Self) -> bool) -> Result<()> {
        let end = Instant::now() + limit;
        let mut events = Events::with_capacity(128);
        while !done(self) {
            ensure!(Instant::now() < end, "waited {limit:?} for {what}; so far: {:?}", self.outcome);
            match self.poll.poll(&mut events, Some(Duration::from_millis(1))) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error).context("epoll failed"),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(token) if token >= CONTROLLER => self.listen_to(token - CONTROLLER)?,
                    Token(token) => self.answered(token)?,
                }
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            stream.set_nodelay(true)?;
            let token = Token(CONTROLLER + self.callers.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE)?;
            self.callers.push(Some(Caller { stream, input: Vec::new(), polls: false }));
        }
        Ok(())
    }

    /// Reads what the proxy says; an ack sets the idle connections off within this very call.
    fn listen_to(&mut self, index: usize) -> Result<()> {
        let Some(Some(caller)) = self.callers.get_mut(index) else { return Ok(()) };
        let Some(asked) = caller.read()? else {
            self.callers[index] = None;
            return Ok(());
        };
        for (path, body) in asked {
            if path != SYNC_PATH {
                caller.say(b"{\"sluicegate\":1}")?;
                continue;
            }
            let sync = SyncRequest::decode(&body).context("not a sync")?;
            if sync.cursor.map_or(0, |cursor| cursor.seq) < self.published {
                // Two VMs may poll for a moment, and this one left before the last answer.
                caller.say(&answer(self.published))?;
            } else {
                caller.polls = true;
            }
            let Some(ack) = sync.acks.get("default/backend") else { continue };
            ensure!(ack.0 <= self.published, "acked {} before it was published", ack.0);
            if ack.0 <= self.acked {
                continue;
            }
            self.acked = ack.0;
            for client in self.clients.iter_mut().filter(|client| !client.busy && client.acked.is_none()) {
                client.send(self.acked)?;
                self.outcome.bursts += 1;
            }
        }
        Ok(())
    }

    /// Answers every poll there is with the next generation.
    fn publish(&mut self) -> Result<()> {
        self.published += 1;
        let answer = answer(self.published);
        for caller in self.callers.iter_mut().flatten().filter(|caller| caller.polls) {
            caller.polls = false;
            caller.say(&answer)?;
        }
        Ok(())
    }

    fn answered(&mut self, index: usize) -> Result<()> {
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        let (outcome, published) = (&mut self.outcome, self.published);
        let Some(acked) = client.acked else { bail!("Envoy closed an idle connection") };
        let progress = client.conn.progress(Instant::now(), false, |answer| {
            outcome.answers += 1;
            if answer.status != 200 {
                outcome.failures += 1;
                return;
            }
            let by = |generation: u64| subset(generation).into_bytes();
            let got = http1::header(answer.head, "x-got-subset").unwrap_or_default();
            // Only generations between the acked and the newest may have decided it.
            if !(acked..=published).any(|generation| got == by(generation)) {
                outcome.violations += 1;
            }
        });
        match progress {
            Progress::Nothing => {}
            Progress::Answered { close: false } => {
                client.acked = None;
                client.answers += 1;
                if client.busy {
                    client.send(self.acked)?;
                }
            }
            _ => bail!("Envoy closed a connection; so far: {:?}", self.outcome),
        }
        Ok(())
    }
}

impl Client {
    fn send(&mut self, acked: u64) -> Result<()> {
        self.acked = Some(acked);
        self.conn.send(Instant::now(), 0, &mut |out| out.extend_from_slice(REQUEST)).context("a request does not leave")
    }
}

impl Caller {
    /// The complete requests that came; `None` when the proxy closed.
    fn read(&mut self) -> Result<Option<Vec<Asked>>> {
        let mut part = [0; 16 << 10];
        let mut closed = false;
        loop {
            match self.stream.read(&mut part) {
                Ok(0) => closed = true,
                Ok(got) => {
                    self.input.extend_from_slice(&part[..got]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => closed = true,
            }
            break;
        }
        let mut asked = Vec::new();
        while let Some(length) = http1::head_len(&self.input) {
            let head = &self.input[..length];
            let mut framing = Body::of(head, Body::Done);
            let mut body = Vec::new();
            let used = framing.take(&self.input[length..], |bytes| body.extend_from_slice(bytes));
            if framing != Body::Done {
                break;
            }
            let line = String::from_utf8_lossy(http1::first_line(head)).into_owned();
            asked.push((line.split(' ').nth(1).unwrap_or_default().to_owned(), body));
            self.input.drain(..length + used);
        }
        Ok(if closed && asked.is_empty() { None } else { Some(asked) })
    }

    fn say(&mut self, body: &[u8]) -> Result<()> {
        let mut bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).context("the proxy does not take an answer")
    }
}

fn answer(published: u64) -> Vec<u8> {
    brain::answer(published, &[generation(published)]).encode()
}

fn subset(generation: u64) -> String {
    format!("s{}", generation % CYCLE)
}

/// Everything to one subset, never the default one, whose requests would go without header.
fn generation(generation: u64) -> SplitSpec {
    let names: Vec<String> = (0..CYCLE).map(subset).collect();
    let wanted = subset(generation);
    let others = names.iter().map(|name| (name.as_str(), u32::from(*name == wanted)));
    brain::split("backend", generation, &std::iter::once(("nobody", 0)).chain(others).collect::<Vec<_>>())
}
