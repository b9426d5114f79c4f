//! Fault injection only: stands in for the controller's proxy port and answers as a test scripts it.
//! For everything that a well-behaved controller does, tests use the real one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::http1::{self, Body};

/// A connection that says nothing for this long is given up.
const IDLE: Duration = Duration::from_mins(3);

/// What a filter asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Number of the request, from 0, over all connections.
    pub number: usize,
    /// Number of its connection, from 0.
    pub connection: usize,
    /// Path, such as `/v1/sync`.
    pub path: String,
    /// The head as received.
    pub head: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
    /// When it was complete.
    pub at: Instant,
}

/// How to answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A status, header lines (each ended by CR LF) and a body; the length is added.
    Http(u16, String, Vec<u8>),
    /// These bytes, as they are, then close.
    Raw(Vec<u8>),
    /// A 200 that promises and sends so many bytes.
    Flood(u64),
    /// Never answer; the connection stays open.
    Hang,
    /// Close without an answer.
    Cut,
    /// The reply inside, after a pause.
    After(Duration, Box<Self>),
}

impl Reply {
    /// Status 200 with these header lines and this body.
    #[must_use]
    pub fn ok(header_lines: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Http(200, header_lines.to_owned(), body.into())
    }
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The running stand-in. Dropping it closes the port and, as they next wake, its connections.
pub struct FaultController {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Arc<Script>>,
    asked: Mutex<Vec<Asked>>,
    open: AtomicUsize,
    stop: AtomicBool,
}

impl FaultController {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<Self> {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// Starts it on this address.
    ///
    /// # Errors
    /// When it is taken.
    pub fn start_on(addr: SocketAddr, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind(addr).with_context(|| format!("cannot listen on {addr}"))?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            asked: Mutex::default(),
            open: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&accepting)) else { continue };
                thread::spawn(move || {
                    shared.open.fetch_add(1, Ordering::Relaxed);
                    // An error here is the other side going away, which is what tests make it do.
                    serve(stream, connection, &shared).ok();
                    shared.open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Ok(Self { addr, shared })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From the next request on, answers by this.
    pub fn script(&self, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) {
        *self.shared.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }

    /// Everything asked so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Open connections.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }
}

impl Drop for FaultController {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        TcpStream::connect_timeout(&self.addr, Duration::from_secs(1)).ok();
    }
}

fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        while http1::head_len(&buffer).is_none() {
            fill(&mut stream, &mut buffer, shared)?;
        }
        let head: Vec<u8> = buffer.drain(..http1::head_len(&buffer).unwrap_or(0)).collect();
        let mut framing = Body::of(&head, Body::Done);
        let mut body = Vec::new();
        loop {
            let used = framing.take(&buffer, |part| body.extend_from_slice(part));
            buffer.drain(..used);
            if framing == Body::Done {
                break;
            }
            fill(&mut stream, &mut buffer, shared)?;
        }
        let line = String::from_utf8_lossy(http1::first_line(&head)).into_owned();
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let asked = {
            let mut all = shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = Asked { number: all.len(), connection, path, head, body, at: Instant::now() };
            all.push(asked.clone());
            asked
        };
        let script = Arc::clone(&shared.script.lock().unwrap_or_else(PoisonError::into_inner));
        if !answer(&mut stream, script(&asked), &mut buffer, shared)? {
            return Ok(());
        }
    }
}

/// Sends the reply; `false` when the connection is to be closed.
fn answer(stream: &mut TcpStream, reply: Reply, buffer: &mut Vec<u8>, shared: &Shared) -> Result<bool> {
    match reply {
        Reply::Http(status, headers, body) => {
            let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), &body].concat())?;
            Ok(true)
        }
        Reply::Raw(bytes) => {
            stream.write_all(&bytes)?;
            Ok(false)
        }
        Reply::Flood(bytes) => {
            stream.write_all(format!("HTTP/1.1 200 X\r\ncontent-length: {bytes}\r\n\r\n").as_bytes())?;
            std::io::copy(&mut std::io::repeat(b'x').take(bytes), stream)?;
            Ok(true)
        }
        Reply::Hang => loop {
            // Until the other side gives up.
            fill(stream, buffer, shared)?;
        },
        Reply::Cut => Ok(false),
        Reply::After(pause, reply) => {
            thread::sleep(pause);
            answer(stream, *reply, buffer, shared)
        }
    }
}

/// Reads some bytes; an error when the other side closes, stays silent too long, or the stand-in is dropped.
fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>, shared: &Shared) -> Result<()> {
    let began = Instant::now();
    let mut part = [0; 16 << 10];
    loop {
        match stream.read(&mut part) {
            Ok(0) => anyhow::bail!("closed"),
            Ok(got) => {
                buffer.extend_from_slice(&part[..got]);
                return Ok(());
            }
            Err(_) if shared.stop.load(Ordering::Relaxed) || began.elapsed() > IDLE => anyhow::bail!("given up"),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("read"),
        }
    }
}
