//! The load generator: keep-alive connections in a closed loop, one thread, epoll; always bounded in count and time.
//!
//! Connections stay open between runs, so that a benchmark can measure slices. With a rate it sends on time while a
//! connection is free, and never more than one request per connection at once.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mio::{Events, Interest, Poll, Token};
use nix::time::ClockId;

mod conn;
mod tally;

pub(crate) use conn::{Conn, Progress};
pub use tally::{Latencies, Tally};

/// An upper bound on every run, whatever was asked for.
const LONGEST: Duration = Duration::from_mins(5);
/// How long after the last send an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(15);

/// When a run ends, and how fast it goes. It ends at whichever comes first.
#[derive(Clone, Debug)]
pub struct Limits {
    /// So many requests.
    pub count: u64,
    /// So long (at most five minutes).
    pub duration: Duration,
    /// Requests per second; as fast as the answers come when absent.
    pub rate: Option<f64>,
    /// Set from elsewhere to end the run.
    pub stop: Option<Arc<AtomicBool>>,
}

impl Limits {
    /// So many requests, as fast as the answers come.
    #[must_use]
    pub const fn count(count: u64) -> Self {
        Self { count, duration: LONGEST, rate: None, stop: None }
    }

    /// For so long, as fast as the answers come.
    #[must_use]
    pub const fn duration(duration: Duration) -> Self {
        Self { count: u64::MAX, duration, rate: None, stop: None }
    }

    /// At this many requests per second.
    #[must_use]
    pub const fn rate(mut self, rate: f64) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Until the flag is set (or the other limits are reached).
    #[must_use]
    pub fn until(mut self, stop: &Arc<AtomicBool>) -> Self {
        self.stop = Some(Arc::clone(stop));
        self
    }
}

/// One answer, as the callback sees it.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status code.
    pub status: u16,
    /// The head of the answer; read it with [`crate::http1::header`].
    pub head: &'a [u8],
    /// From the first byte sent to the last byte received.
    pub latency: Duration,
    /// When the request was sent.
    pub sent: Instant,
    /// Number of the request, counted from 0 over all runs.
    pub number: u64,
}

/// Writes request number `n` into the buffer, complete.
pub type Write = Box<dyn FnMut(u64, &mut Vec<u8>) + Send>;

/// A set of open connections to one address.
pub struct Load {
    poll: Poll,
    conns: Vec<Conn>,
    to: SocketAddr,
    write: Write,
    number: u64,
}

impl Load {
    /// Opens the connections; every request is `GET /` with these extra header lines (each ended by CR LF).
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn new(to: SocketAddr, connections: usize, header_lines: &str) -> Result<Self> {
        Self::to_host(to, connections, "test", header_lines)
    }

    /// The same, of a host that is asked for by this name.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn to_host(to: SocketAddr, connections: usize, host: &str, header_lines: &str) -> Result<Self> {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n{header_lines}\r\n").into_bytes();
        Self::with(to, connections, Box::new(move |_, out| out.extend_from_slice(&request)))
    }

    /// Opens the connections; `write` makes each request.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn with(to: SocketAddr, connections: usize, write: Write) -> Result<Self> {
        let poll = Poll::new().context("no epoll")?;
        let mut load = Self { poll, conns: Vec::with_capacity(connections), to, write, number: 0 };
        for index in 0..connections {
            let conn = load.open(index)?;
            load.conns.push(conn);
        }
        Ok(load)
    }

    /// Runs and returns what came back.
    ///
    /// # Errors
    /// When a connection cannot be opened again, or epoll fails.
    pub fn run(&mut self, limits: &Limits) -> Result<Tally> {
        self.run_with(limits, |_| {})
    }

    /// Runs, showing each answer to `seen`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_with(&mut self, limits: &Limits, mut seen: impl FnMut(&Answer<'_>)) -> Result<Tally> {
        let began = Instant::now();
        let cpu = own_cpu();
        let end = began + limits.duration.min(LONGEST);
        let mut tally = Tally::default();
        let mut free: VecDeque<usize> = (0..self.conns.len()).collect();
        let mut events = Events::with_capacity(self.conns.len().max(16));
        let (mut sent, mut waiting) = (0_u64, 0_usize);
        let mut now = began;
        loop {
            let stop = limits.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed));
            let sending = sent < limits.count && now < end && !stop;
            let due = limits.rate.map_or(u64::MAX, |rate| ((now - began).as_secs_f64() * rate) as u64 + 1);
            while sending && sent < limits.count.min(due) && !free.is_empty() {
                let Some(index) = free.pop_front() else { break };
                sent += 1;
                waiting += 1;
                self.send(index, now)?;
            }
            if !sending && waiting == 0 {
                break;
            }
            if now > end + PATIENCE {
                tally.broken += waiting as u64;
                for index in 0..self.conns.len() {
                    self.reopen(index)?;
                }
                break;
            }
            let wait = match limits.rate {
                Some(rate) if sending && !free.is_empty() => {
                    Duration::from_secs_f64(1.0 / rate).min(Duration::from_millis(20))
                }
                _ => Duration::from_millis(50),
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error).context("epoll failed"),
                _ => now = Instant::now(),
            }
            for event in &events {
                let Token(index) = event.token();
                match self.conns[index].progress(now, event.is_read_closed() || event.is_error(), |answer| {
                    tally.add(answer);
                    seen(answer);
                }) {
                    Progress::Nothing => {}
                    Progress::Answered { close } => {
                        waiting -= 1;
                        free.push_back(index);
                        if close {
                            self.reopen(index)?;
                        }
                    }
                    Progress::Closed { unanswered } => {
                        if unanswered {
                            tally.broken += 1;
                            waiting -= 1;
                            free.push_back(index);
                        }
                        self.reopen(index)?;
                    }
                }
            }
        }
        tally.took = began.elapsed();
        tally.cpu = own_cpu().saturating_sub(cpu);
        Ok(tally)
    }

    fn send(&mut self, index: usize, now: Instant) -> Result<()> {
        let number = self.number;
        self.number += 1;
        let write = &mut self.write;
        if self.conns[index].send(now, number, &mut |out| write(number, out)).is_err() {
            // Closed while it was idle: that request never left, so it goes out on a new connection.
            self.reopen(index)?;
            let write = &mut self.write;
            self.conns[index]
                .send(now, number, &mut |out| write(number, out))
                .context("a fresh connection takes no bytes")?;
        }
        Ok(())
    }

    fn reopen(&mut self, index: usize) -> Result<()> {
        self.conns[index].deregister(self.poll.registry());
        self.conns[index] = self.open(index)?;
        Ok(())
    }

    fn open(&self, index: usize) -> Result<Conn> {
        let stream = std::net::TcpStream::connect_timeout(&self.to, PATIENCE)
            .with_context(|| format!("cannot connect to {}", self.to))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
        Ok(Conn::new(stream))
    }
}

/// CPU time of the calling thread.
#[must_use]
pub fn own_cpu() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Into::into).unwrap_or_default()
}
