//! One HTTP/1.1 connection that sends whatever bytes it is given, for hostile requests and for plain questions.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::http1::{self, Body};

const PATIENCE: Duration = Duration::from_secs(10);
/// No answer of a test is larger; more means a runaway sender.
const MAX_BODY: usize = 256 << 20;

/// A complete answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The whole head, as received.
    pub head: Vec<u8>,
    /// The body, unchunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header with this name, as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        http1::header(&self.head, name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// All headers with this name.
    #[must_use]
    pub fn headers(&self, name: &str) -> Vec<String> {
        let found = http1::headers(&self.head).filter(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is none; the message shows it.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("status {}, not JSON: {:.300}", self.status, self.text()))
    }
}

/// A connection. Bytes that came after one answer are kept for the next.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    host: &'static str,
}

impl Client {
    /// Connects; reads and writes give up after ten seconds.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&to, PATIENCE).with_context(|| format!("cannot connect to {to}"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), host: "test" })
    }

    /// Asks for another host than `test`, as the admin port wants it.
    #[must_use]
    pub const fn named(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// Changes how long a read waits.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn patience(&mut self, limit: Duration) -> Result<()> {
        self.stream.set_read_timeout(Some(limit)).context("cannot set the read timeout")
    }

    /// Sends these bytes as they are.
    ///
    /// # Errors
    /// When the other side has closed.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).context("the other side does not take our bytes")
    }

    /// Closes the sending half: "I have nothing more to say".
    pub fn finish(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Write).ok();
    }

    /// Reads one answer, skipping 1xx ones other than 101.
    ///
    /// # Errors
    /// When the connection closes or stays silent before the answer is complete.
    pub fn read(&mut self) -> Result<Response> {
        self.read_answer_to("GET")
    }

    /// Reads the answer to a request with this method (an answer to HEAD has no body).
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_answer_to(&mut self, method: &str) -> Result<Response> {
        loop {
            let length = loop {
                match http1::head_len(&self.buffer) {
                    Some(length) => break length,
                    None => ensure!(
                        self.fill()? > 0,
                        "closed before an answer came; got {:?}",
                        String::from_utf8_lossy(&self.buffer)
                    ),
                }
            };
            let head: Vec<u8> = self.buffer.drain(..length).collect();
            let status = http1::status(&head);
            let mut framing = match status {
                101 | 204 | 304 => Body::Done,
                100..=199 => continue,
                _ if method == "HEAD" => Body::Done,
                _ => Body::of(&head, Body::Eof),
            };
            let mut body = Vec::new();
            loop {
                let used = framing.take(&self.buffer, |part| body.extend_from_slice(part));
                self.buffer.drain(..used);
                ensure!(body.len() <= MAX_BODY, "more than {MAX_BODY} bytes of body");
                match framing {
                    Body::Done => return Ok(Response { status, head, body }),
                    _ if self.fill()? > 0 => {}
                    Body::Eof => return Ok(Response { status, head, body }),
                    _ => bail!("status {status}, closed after {} bytes of body", body.len()),
                }
            }
        }
    }

    /// Sends a request and reads its answer. Of the host `test`, unless [`Self::named`] or `headers` say another.
    ///
    /// # Errors
    /// As [`Self::send`] and [`Self::read`].
    pub fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
        let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            bytes.extend_from_slice(format!("host: {}\r\n", self.host).as_bytes());
        }
        for (name, value) in headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if !body.is_empty() || method == "POST" {
            bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.send(&bytes)?;
        self.read_answer_to(method)
    }

    /// Whether any byte of an answer is there, without waiting for it or taking it.
    ///
    /// # Errors
    /// When there is none yet.
    pub fn peek(&self) -> Result<()> {
        self.stream.set_nonblocking(true)?;
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        ensure!(seen.context("nothing yet")? > 0, "closed");
        Ok(())
    }

    fn fill(&mut self) -> Result<usize> {
        let mut part = [0; 64 << 10];
        let got = self.stream.read(&mut part).context("no bytes came")?;
        self.buffer.extend_from_slice(&part[..got]);
        Ok(got)
    }
}

/// One GET on a connection of its own.
///
/// # Errors
/// When there is no complete answer.
pub fn get(to: SocketAddr, target: &str) -> Result<Response> {
    Client::connect(to)?.request("GET", target, &[("host", &to.to_string()), ("connection", "close")], b"")
}

/// One POST on a connection of its own.
///
/// # Errors
/// When there is no complete answer.
pub fn post(to: SocketAddr, target: &str, body: &[u8]) -> Result<Response> {
    Client::connect(to)?.request("POST", target, &[("host", &to.to_string()), ("connection", "close")], body)
}
