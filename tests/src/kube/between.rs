//! Fault injection only: stands between a controller and the API server, and passes everything on but for the faults that a
//! test asks for: too many requests, cut connections, an answer that gets lost, and something that happens at the very moment
//! at which a write has got through.
//!
//! In: the way to the API server. Out: a kubeconfig that leads here. It speaks plain HTTP; the caller's token is passed on.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::api::Api;
use crate::http1::{self, Body};

/// What is done when a trap closes.
type Act = Box<dyn FnOnce() + Send>;

/// The running stand-in. Dropping it closes the port and its connections.
#[derive(Debug)]
pub struct Between {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    api: Api,
    stopped: AtomicBool,
    busy: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    trap: Mutex<Option<Trap>>,
    asked: Mutex<BTreeMap<String, u64>>,
}

struct Trap {
    needle: String,
    lose: bool,
    act: Act,
    closed: Sender<()>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Shared({:?})", self.api)
    }
}

impl Between {
    /// Starts on a free port, in front of this API server.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(api: &Api) -> Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("no port for the stand-in")?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            api: api.clone(),
            stopped: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            open: Mutex::default(),
            trap: Mutex::default(),
            asked: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared) = (stream, Arc::clone(&accepting)) else { continue };
                thread::spawn(move || {
                    if let Ok(clone) = stream.try_clone() {
                        lock(&shared.open).push(clone);
                    }
                    // An error is one side going away, which is what tests make them do.
                    serve(&stream, &shared).ok();
                    stream.shutdown(Shutdown::Both).ok();
                });
            }
        });
        Ok(Self { addr, shared })
    }

    /// Where it listens, for a kubeconfig.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on every request is answered with 429, `Retry-After: 1`; or no more.
    pub fn set_busy(&self, busy: bool) {
        self.shared.busy.store(busy, Ordering::SeqCst);
    }

    /// Cuts every connection that is open, those of watches too.
    pub fn cut(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }

    /// Once the API server has taken a write with `needle` in it, does this before anybody hears of it; `lose`: and then
    /// cuts the connection in place of the answer. What is returned gets a word when that has happened.
    pub fn trap(&self, needle: &str, lose: bool, act: impl FnOnce() + Send + 'static) -> Receiver<()> {
        let (closed, word) = channel();
        *lock(&self.shared.trap) = Some(Trap { needle: needle.to_owned(), lose, act: Box::new(act), closed });
        word
    }

    /// How often it was asked, by method and kind, such as `PATCH deployments`; the method of watches is `WATCH`.
    #[must_use]
    pub fn asked(&self) -> BTreeMap<String, u64> {
        lock(&self.shared.asked).clone()
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.cut();
        TcpStream::connect(self.addr).ok();
    }
}

fn serve(mut stream: &TcpStream, shared: &Shared) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    loop {
        while http1::head_len(&buffer).is_none() {
            fill(stream, &mut buffer)?;
        }
        let head: Vec<u8> = buffer.drain(..http1::head_len(&buffer).unwrap_or(0)).collect();
        let (mut framing, mut body) = (Body::of(&head, Body::Done), Vec::new());
        loop {
            let used = framing.take(&buffer, |part| body.extend_from_slice(part));
            buffer.drain(..used);
            if framing == Body::Done {
                break;
            }
            fill(stream, &mut buffer)?;
        }
        let line = String::from_utf8_lossy(http1::first_line(&head)).into_owned();
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let verb = if path.contains("watch=true") { "WATCH" } else { method };
        *lock(&shared.asked).entry(format!("{verb} {}", kind(path))).or_default() += 1;
        if shared.busy.load(Ordering::SeqCst) {
            let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 429,
                "reason": "TooManyRequests", "message": "the server has received too many requests" });
            let text = status.to_string();
            let head = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after: 1\r\n";
            write!(stream, "{head}content-length: {}\r\n\r\n{text}", text.len())?;
            continue;
        }
        pass(stream, shared, (method, path), &head, body)?;
    }
}

/// Asks the API server, and passes its answer back as it comes.
fn pass(mut stream: &TcpStream, shared: &Shared, line: (&str, &str), head: &[u8], body: Vec<u8>) -> Result<()> {
    let (method, path) = line;
    let sent = String::from_utf8_lossy(&body).into_owned();
    let (status, kind, mut answer) = shared.api.pass(method, path, head, body)?;
    let reason = if status < 400 { "OK" } else { "Error" };
    let headers = format!("HTTP/1.1 {status} {reason}\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
    let trap = {
        let mut set = lock(&shared.trap);
        let closes = set.as_ref().is_some_and(|trap| method != "GET" && status < 300 && sent.contains(&trap.needle));
        if closes { set.take() } else { None }
    };
    if let Some(Trap { act, lose, closed, .. }) = trap {
        act();
        closed.send(()).ok();
        if lose {
            bail!("lost");
        }
    }
    stream.write_all(headers.as_bytes())?;
    let mut part = [0; 32 << 10];
    loop {
        let got = answer.read(&mut part)?;
        write!(stream, "{got:x}\r\n")?;
        stream.write_all(&part[..got])?;
        stream.write_all(b"\r\n")?;
        if got == 0 {
            return Ok(());
        }
    }
}

/// The plural of a kind in a path of the API.
fn kind(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or_default();
    let mut parts = path.split('/').skip_while(|part| *part != "namespaces").skip(2);
    parts.next().or(path.rsplit('/').next()).unwrap_or_default()
}

fn fill(mut stream: &TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    let mut part = [0; 32 << 10];
    let got = stream.read(&mut part)?;
    if got == 0 {
        bail!("closed");
    }
    buffer.extend_from_slice(&part[..got]);
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
