//! One connection of the load generator: at most one request under way.

use std::io::{self, Read as _, Write as _};
use std::time::Instant;

use mio::Registry;
use mio::net::TcpStream;

use super::Answer;
use crate::http1::{self, Body};

pub(crate) enum Progress {
    Nothing,
    Answered { close: bool },
    Closed { unanswered: bool },
}

struct Waiting {
    sent: Instant,
    number: u64,
}

pub(crate) struct Conn {
    stream: TcpStream,
    output: Vec<u8>,
    input: Vec<u8>,
    waiting: Option<Waiting>,
    /// Length of the head, and what is left of the body, once the head is complete.
    head: Option<(usize, Body)>,
}

impl Conn {
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self { stream, output: Vec::new(), input: Vec::new(), waiting: None, head: None }
    }

    pub(crate) fn deregister(&mut self, registry: &Registry) {
        registry.deregister(&mut self.stream).ok();
    }

    /// Sends a request. A request fits into an empty socket buffer; a partial write counts as an error.
    pub(crate) fn send(&mut self, now: Instant, number: u64, write: &mut dyn FnMut(&mut Vec<u8>)) -> io::Result<()> {
        self.output.clear();
        write(&mut self.output);
        self.stream.write_all(&self.output)?;
        self.waiting = Some(Waiting { sent: now, number });
        Ok(())
    }

    /// Reads what is there; `closing`: read up to the end, for the other side has closed.
    pub(crate) fn progress(&mut self, now: Instant, closing: bool, mut done: impl FnMut(&Answer<'_>)) -> Progress {
        let mut part = [0; 16 << 10];
        loop {
            let got = match self.stream.read(&mut part) {
                Ok(0) => return self.closed(now, done),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Nothing,
                Err(_) => return Progress::Closed { unanswered: self.waiting.is_some() },
            };
            if self.take(&part[..got]) {
                return self.answered(now, &mut done);
            }
            if got < part.len() && !closing {
                return Progress::Nothing;
            }
        }
    }

    /// Takes bytes in; `true` when the answer is complete. Of the body only the length is followed.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let (length, mut body) = match self.head {
            Some(known) => {
                self.input.extend_from_slice(bytes);
                known
            }
            None => {
                self.input.extend_from_slice(bytes);
                let Some(length) = http1::head_len(&self.input) else { return false };
                (length, Body::of(&self.input[..length], Body::Eof))
            }
        };
        let used = body.take(&self.input[length..], |_| {});
        self.input.drain(length..length + used);
        self.head = Some((length, body));
        body == Body::Done
    }

    fn answered(&mut self, now: Instant, done: &mut impl FnMut(&Answer<'_>)) -> Progress {
        let (Some((length, _)), Some(waiting)) = (self.head.take(), self.waiting.take()) else {
            // An answer that nobody asked for.
            return Progress::Closed { unanswered: false };
        };
        let head = &self.input[..length];
        let close = http1::header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        let latency = now.saturating_duration_since(waiting.sent);
        done(&Answer { status: http1::status(head), head, latency, sent: waiting.sent, number: waiting.number });
        self.input.drain(..length);
        Progress::Answered { close }
    }

    fn closed(&mut self, now: Instant, mut done: impl FnMut(&Answer<'_>)) -> Progress {
        if matches!(self.head, Some((_, Body::Eof))) {
            self.answered(now, &mut done);
            return Progress::Answered { close: true };
        }
        Progress::Closed { unanswered: self.waiting.is_some() }
    }
}
