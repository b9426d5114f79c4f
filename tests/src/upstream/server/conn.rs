//! One connection of the upstreams: bytes in, requests, answers, bytes out. Edge-triggered: always reads to the end.

use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use mio::net::TcpStream;

use super::answer::Answer;
use crate::http1::{self, Body};
use crate::upstream::{Behaviour, Fault, Habits, SUBSET_HEADER};

/// What the loop has to do for this connection.
pub(super) enum Next {
    Wait,
    WaitUntil(Instant),
    Close,
}

enum State {
    /// Reading a head.
    Head,
    /// Reading the body of the request that this answers.
    Body(Body, Behaviour, Request),
    /// The answer is due at this time.
    Delayed(Instant, Behaviour, Request),
    /// Sending; the behaviour says whether the connection is broken off or closed afterwards.
    Sending(Behaviour),
    /// Never answer.
    Hanging,
    /// After `101`: whatever comes is sent back.
    Tunnel,
}

/// What an answer needs to know about its request.
pub(super) struct Request {
    pub(super) head: Vec<u8>,
    pub(super) subset: Option<String>,
    pub(super) is_head: bool,
    pub(super) upgrade: bool,
}

pub(super) struct Conn {
    pub(super) stream: TcpStream,
    pub(super) pod: usize,
    pub(super) serial: u64,
    state: State,
    input: Vec<u8>,
    output: Answer,
    eof: bool,
    /// The other side has closed its half; what it sent before is still to be read.
    pub(super) closing: bool,
    /// The last read stopped for lack of room, not for lack of bytes.
    unread: bool,
}

impl Conn {
    pub(super) fn new(stream: TcpStream, pod: usize, serial: u64) -> Self {
        Self {
            stream,
            pod,
            serial,
            state: State::Head,
            input: Vec::new(),
            output: Answer::default(),
            eof: false,
            closing: false,
            unread: false,
        }
    }

    pub(super) fn drive(
        &mut self,
        pod: &str,
        habits: &Habits,
        due: Option<Instant>,
        mut count: impl FnMut(Option<&str>, u64),
    ) -> Next {
        if self.read().is_err() {
            return Next::Close;
        }
        loop {
            match std::mem::replace(&mut self.state, State::Head) {
                State::Head => {
                    let Some(length) = http1::head_len(&self.input) else {
                        return if self.eof { Next::Close } else { Next::Wait };
                    };
                    self.begin(length, habits, &mut count);
                }
                State::Body(mut body, behaviour, request) => {
                    let mut bytes = 0;
                    let used = body.take(&self.input, |part| bytes += part.len() as u64);
                    self.input.drain(..used);
                    count(None, bytes);
                    if body != Body::Done && self.unread {
                        self.state = State::Body(body, behaviour, request);
                        if self.read().is_err() {
                            return Next::Close;
                        }
                        continue;
                    }
                    if body != Body::Done {
                        self.state = State::Body(body, behaviour, request);
                        return if self.eof { Next::Close } else { Next::Wait };
                    }
                    if behaviour.hang {
                        self.state = State::Hanging;
                    } else if behaviour.delay > Duration::ZERO {
                        let at = Instant::now() + behaviour.delay;
                        self.state = State::Delayed(at, behaviour, request);
                        return Next::WaitUntil(at);
                    } else {
                        self.answer(pod, behaviour, &request);
                    }
                }
                State::Delayed(at, behaviour, request) if due.is_some_and(|due| due >= at) => {
                    self.answer(pod, behaviour, &request)
                }
                state @ (State::Delayed(..) | State::Hanging) => {
                    self.state = state;
                    return if self.eof { Next::Close } else { Next::Wait };
                }
                State::Sending(behaviour) => {
                    let stop_early = behaviour.fault.is_some();
                    match self.output.send(&mut self.stream, stop_early) {
                        Err(_) => return Next::Close,
                        Ok(false) => {
                            self.state = State::Sending(behaviour);
                            return Next::Wait;
                        }
                        Ok(true) if stop_early => return self.reset(),
                        Ok(true) if behaviour.close => return Next::Close,
                        Ok(true) if behaviour.status == 101 => self.state = State::Tunnel,
                        Ok(true) => {}
                    }
                }
                State::Tunnel => {
                    self.state = State::Tunnel;
                    let sent = self.stream.write(&self.input).unwrap_or(0);
                    self.input.drain(..sent);
                    return if self.eof { Next::Close } else { Next::Wait };
                }
            }
        }
    }

    fn begin(&mut self, length: usize, habits: &Habits, count: &mut impl FnMut(Option<&str>, u64)) {
        let head = &self.input[..length];
        let line = http1::first_line(head);
        let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
        let mut behaviour = Behaviour::of(target);
        habits.spoil(&mut behaviour);
        let subset = http1::header(head, SUBSET_HEADER).map(|value| String::from_utf8_lossy(value).into_owned());
        let request = Request {
            is_head: line.starts_with(b"HEAD "),
            upgrade: http1::header(head, "upgrade").is_some(),
            head: if behaviour.echo { head.to_vec() } else { Vec::new() },
            subset,
        };
        count(Some(request.subset.as_deref().unwrap_or_default()), 0);
        self.state = State::Body(Body::of(head, Body::Done), behaviour, request);
        self.input.drain(..length);
    }

    fn answer(&mut self, pod: &str, mut behaviour: Behaviour, request: &Request) {
        if request.upgrade && behaviour.status == 200 {
            behaviour.status = 101;
        }
        if behaviour.fault != Some(Fault::BeforeHeaders) {
            self.output.fill(pod, &behaviour, request);
        }
        self.state = State::Sending(behaviour);
    }

    /// Closes with a reset instead of a farewell.
    fn reset(&self) -> Next {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).ok();
        Next::Close
    }

    fn read(&mut self) -> io::Result<()> {
        let mut part = [0; 16 << 10];
        // A flood of body bytes is taken off by the caller; no more than this is held.
        while !self.eof {
            self.unread = self.input.len() >= 4 << 20;
            if self.unread {
                return Ok(());
            }
            match self.stream.read(&mut part) {
                Ok(0) => self.eof = true,
                Ok(got) => {
                    self.input.extend_from_slice(&part[..got]);
                    // Less than asked for: the socket is empty, save the system call that would say so.
                    if got < part.len() && !self.closing {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
