//! One proxy of the fleet.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use sluicegate_core::message::MEDIA_TYPE;
use sluicegate_core::wire::{
    Abilities, Ack, Cursor, PROTOCOL, ProxyId, SYNC_PATH, Subscription, SyncAnswer, SyncRequest,
};

use super::{Slow, TICK};
use crate::http1::{self, Body};

/// As `filter/src/poll.rs` has it.
const HOLD: Duration = Duration::from_secs(25);
/// So long after that Envoy gives up on a poll.
const LATE: Duration = Duration::from_secs(10);
/// A greedy proxy sends so many polls at once, as far as the sockets take them.
const GREED: usize = 2_000;

/// What an event has come to.
#[derive(Debug)]
pub(super) enum Turn {
    Nothing,
    /// An answer with news was read at this moment, and had so many bytes.
    News(Instant, usize),
    Empty,
    Failed(String),
}

/// The last answer and what it says: most proxies get the same bytes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    bytes: Vec<u8>,
    told: Option<Arc<Told>>,
}

/// What an answer says.
#[derive(Debug)]
struct Told {
    cursor: Cursor,
    acks: Vec<(Arc<str>, Ack)>,
}

#[derive(Debug)]
pub(super) struct Proxy {
    to: SocketAddr,
    index: usize,
    /// Ticks are at this moment and every [`TICK`] from it.
    born: Instant,
    request: SyncRequest,
    runs: BTreeMap<Arc<str>, Ack>,
    stream: Option<TcpStream>,
    input: Vec<u8>,
    /// What is left to send.
    output: Vec<u8>,
    /// The poll under way was sent then.
    since: Option<Instant>,
    pub(super) slow: Option<Slow>,
}

impl Proxy {
    pub(super) fn new(to: SocketAddr, index: usize, subscription: &Subscription) -> Self {
        let request = SyncRequest {
            sluicegate: PROTOCOL,
            proxy: ProxyId { epoch: fastrand::u64(1..), node: format!("gate-{index:05}"), plugin: "sluicegate".into() },
            version: env!("CARGO_PKG_VERSION").into(),
            abilities: Abilities { counts: true, cookies: true },
            subscription: subscription.clone(),
            cursor: None,
            hold: u32::try_from(HOLD.as_millis()).unwrap_or(u32::MAX),
            full: true,
            acks: std::iter::empty().collect(),
        };
        Self {
            to,
            index,
            born: Instant::now() - TICK.mul_f64(fastrand::f64()),
            request,
            runs: BTreeMap::new(),
            stream: None,
            input: Vec::new(),
            output: Vec::new(),
            since: None,
            slow: None,
        }
    }

    pub(super) fn is_polling(&self) -> bool {
        self.since.is_some()
    }

    /// Its first tick after this time.
    pub(super) fn tick_after(&self, wait: Duration) -> Instant {
        let age = self.born.elapsed() + wait;
        self.born + TICK * u32::try_from(age.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u32::MAX)
    }

    /// Sends a poll, on a new connection where there is none.
    pub(super) fn poll(&mut self, registry: &Registry) -> Turn {
        if self.slow.is_some() {
            return Turn::Nothing;
        }
        if self.request.full {
            self.request.acks = self.runs.iter().map(|(name, ack)| (name.to_string(), *ack)).collect();
        }
        self.output = self.message();
        self.request.full = false;
        self.request.acks = std::iter::empty().collect();
        self.since = Some(Instant::now());
        if self.stream.is_some() {
            return self.flush();
        }
        match self.connect(registry) {
            Ok(()) => Turn::Nothing,
            Err(why) => self.failed(&format!("cannot connect: {}", why.kind())),
        }
    }

    fn connect(&mut self, registry: &Registry) -> io::Result<()> {
        let mut stream = TcpStream::connect(self.to)?;
        registry.register(&mut stream, Token(self.index), Interest::READABLE | Interest::WRITABLE)?;
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    fn message(&self) -> Vec<u8> {
        let body = self.request.encode();
        let mut bytes = format!(
            "POST {SYNC_PATH} HTTP/1.1\r\nhost: sluicegate\r\ncontent-type: {MEDIA_TYPE}\r\naccept: {MEDIA_TYPE}\r\n\
             x-envoy-internal: true\r\nx-forwarded-for: 127.0.0.1\r\nx-envoy-expected-rq-timeout-ms: 35000\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }

    pub(super) fn ready(&mut self, event: &Event, registry: &Registry, cache: &mut Cache) -> Turn {
        if self.slow.is_some() || self.stream.is_none() {
            return Turn::Nothing;
        }
        if event.is_writable() && !self.output.is_empty() {
            let turn = self.flush();
            if matches!(turn, Turn::Failed(_)) {
                return turn;
            }
        }
        if event.is_readable() { self.read(registry, cache) } else { Turn::Nothing }
    }

    /// Sends as much as the socket takes.
    fn flush(&mut self) -> Turn {
        let Some(stream) = &mut self.stream else { return Turn::Nothing };
        match send(stream, &mut self.output) {
            Ok(()) => Turn::Nothing,
            Err(why) => self.failed(&format!("a poll does not leave: {}", why.kind())),
        }
    }

    fn read(&mut self, registry: &Registry, cache: &mut Cache) -> Turn {
        let mut part = [0; 64 << 10];
        loop {
            let Some(stream) = &mut self.stream else { return Turn::Nothing };
            match stream.read(&mut part) {
                Ok(0) => return self.failed("the connection was closed"),
                Ok(got) => {
                    self.input.extend_from_slice(&part[..got]);
                    // Less than there was room for: no more is there, and when it comes there is another event.
                    if got < part.len() {
                        break;
                    }
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(why) => return self.failed(&format!("nothing can be read: {}", why.kind())),
            }
        }
        let at = Instant::now();
        let Some(length) = http1::head_len(&self.input) else { return Turn::Nothing };
        let (head, rest) = self.input.split_at(length);
        let status = http1::status(head);
        let Body::Left(size) = Body::of(head, Body::Done) else {
            return self.failed(&format!("status {status} without body"));
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let Some(body) = rest.get(..size) else { return Turn::Nothing };
        let told = if status == 200 { cache.told(body) } else { None };
        let Some(told) = told else { return self.failed(&format!("status {status}, or no answer of a controller")) };
        self.input = Vec::new();
        self.merge(&told, at, size, registry)
    }

    /// Takes an answer in; polls again, unless it came at once and brought nothing.
    fn merge(&mut self, told: &Told, at: Instant, size: usize, registry: &Registry) -> Turn {
        for (name, ack) in &told.acks {
            let runs = self.runs.entry(Arc::clone(name)).or_insert(*ack);
            if ack.0 > runs.0 {
                *runs = *ack;
            }
        }
        self.request.cursor = Some(told.cursor);
        let acks = told.acks.iter().filter_map(|(name, _)| Some((name.to_string(), *self.runs.get(name)?)));
        self.request.acks = acks.collect();
        match self.poll(registry) {
            Turn::Failed(why) => Turn::Failed(why),
            _ if told.acks.is_empty() => Turn::Empty,
            _ => Turn::News(at, size),
        }
    }

    /// Whether the poll under way is overdue.
    pub(super) fn look(&mut self, now: Instant) -> Turn {
        let overdue = self.since.is_some_and(|since| now.saturating_duration_since(since) > HOLD + LATE);
        if overdue && self.slow.is_none() { self.failed("no answer came in time") } else { Turn::Nothing }
    }

    fn failed(&mut self, why: &str) -> Turn {
        self.stream = None;
        self.input = Vec::new();
        self.output = Vec::new();
        self.since = None;
        self.request.full = true;
        Turn::Failed(why.to_owned())
    }

    /// From now on it is slow, and no event moves it any more.
    pub(super) fn be(&mut self, how: Slow, registry: &Registry) -> io::Result<()> {
        self.slow = Some(how);
        if how == Slow::Deaf {
            return Ok(());
        }
        if let Some(mut stream) = self.stream.take() {
            registry.deregister(&mut stream)?;
        }
        self.since = None;
        let mut stream = std::net::TcpStream::connect(self.to)?;
        self.request.cursor = None;
        let message = self.message();
        match how {
            Slow::Greedy => {
                stream.set_nonblocking(true)?;
                let mut all = message.repeat(GREED);
                self.stream = Some(TcpStream::from_std(stream));
                return self.stream.as_mut().map_or(Ok(()), |stream| send(stream, &mut all));
            }
            Slow::HalfHead => stream.write_all(&message[..40])?,
            Slow::HalfBody => stream.write_all(&message[..message.len() - 4])?,
            Slow::Deaf => {}
        }
        self.stream = Some(TcpStream::from_std(stream));
        Ok(())
    }
}

impl Cache {
    /// What these bytes say; `None`: they are no answer.
    fn told(&mut self, bytes: &[u8]) -> Option<Arc<Told>> {
        if self.told.is_none() || self.bytes != bytes {
            let answer = SyncAnswer::decode(bytes).ok()?;
            let live =
                answer.splits.iter().map(|split| (split.name.as_str().into(), Ack(split.generation, split.digest())));
            let gone = answer.removed.iter().map(|gone| (gone.name.as_str().into(), Ack(gone.generation, 0)));
            self.told = Some(Arc::new(Told { cursor: answer.cursor, acks: live.chain(gone).collect() }));
            self.bytes = bytes.to_vec();
        }
        self.told.clone()
    }
}

/// Sends as much of it as the socket takes, and removes that.
fn send(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(more) => sent += more,
            Err(why) if [io::ErrorKind::WouldBlock, io::ErrorKind::NotConnected].contains(&why.kind()) => break,
            Err(why) => return Err(why),
        }
    }
    bytes.drain(..sent);
    if bytes.is_empty() {
        *bytes = Vec::new();
    }
    Ok(())
}
