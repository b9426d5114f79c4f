//! The epoll loop of the upstreams: accepts, reads requests, answers them when their delay is over.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::{Habits, Received};
use conn::{Conn, Next};

mod answer;
mod conn;

const WAKE: Token = Token(usize::MAX);

pub(super) struct Server {
    poll: Poll,
    pods: Vec<Pod>,
    conns: Slab<Conn>,
    /// When which connection's answer is due; the slab key may have a new owner by then, so its serial is kept too.
    due: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    serial: u64,
    habits: Habits,
    received: Arc<Mutex<Vec<Received>>>,
    open: Arc<AtomicUsize>,
}

struct Pod {
    name: String,
    listener: TcpListener,
}

impl Server {
    pub(super) fn bind(
        names: &[(&str, SocketAddr)],
        habits: Habits,
        received: Arc<Mutex<Vec<Received>>>,
        open: Arc<AtomicUsize>,
    ) -> io::Result<(Self, Waker, Vec<SocketAddr>)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let mut pods = Vec::new();
        let mut addresses = Vec::new();
        for (index, (name, at)) in names.iter().enumerate() {
            let mut listener = TcpListener::bind(*at)?;
            poll.registry().register(&mut listener, Token(index), Interest::READABLE)?;
            addresses.push(listener.local_addr()?);
            pods.push(Pod { name: (*name).to_owned(), listener });
        }
        let server = Self { poll, pods, conns: Slab::new(), due: BinaryHeap::new(), serial: 0, habits, received, open };
        Ok((server, waker, addresses))
    }

    /// Serves until the waker is used.
    pub(super) fn run(&mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let wait = self.due.peek().map(|Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            for event in &events {
                match event.token() {
                    WAKE => return,
                    Token(pod) if pod < self.pods.len() => self.accept(pod),
                    Token(token) => {
                        let key = token - self.pods.len();
                        if event.is_read_closed()
                            && let Some(conn) = self.conns.get_mut(key)
                        {
                            conn.closing = true;
                        }
                        self.drive(key, None);
                    }
                }
            }
            self.answer_due();
            self.open.store(self.conns.len(), Ordering::Relaxed);
        }
    }

    fn accept(&mut self, pod: usize) {
        while let Ok((mut stream, _)) = self.pods[pod].listener.accept() {
            stream.set_nodelay(true).ok();
            self.serial += 1;
            let entry = self.conns.vacant_entry();
            let token = Token(entry.key() + self.pods.len());
            if self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).is_ok() {
                entry.insert(Conn::new(stream, pod, self.serial));
            }
        }
    }

    fn answer_due(&mut self) {
        while let Some(&Reverse((at, key, serial))) = self.due.peek() {
            if at > Instant::now() {
                return;
            }
            self.due.pop();
            if self.conns.get(key).is_some_and(|conn| conn.serial == serial) {
                self.drive(key, Some(at));
            }
        }
    }

    /// Reads, answers and writes on one connection as far as it goes; `due`: its delayed answer may be sent now.
    fn drive(&mut self, key: usize, due: Option<Instant>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let pod = conn.pod;
        let received = &self.received;
        let next = conn.drive(&self.pods[pod].name, &self.habits, due, |subset, body_bytes| {
            let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
            let count = &mut received[pod];
            count.body_bytes += body_bytes;
            if let Some(subset) = subset {
                count.requests += 1;
                match count.subsets.get_mut(subset) {
                    Some(number) => *number += 1,
                    None => drop(count.subsets.insert(subset.to_owned(), 1)),
                }
            }
        });
        match next {
            Next::Wait => {}
            Next::WaitUntil(at) => self.due.push(Reverse((at, key, conn.serial))),
            Next::Close => {
                let mut conn = self.conns.remove(key);
                self.poll.registry().deregister(&mut conn.stream).ok();
            }
        }
    }
}
