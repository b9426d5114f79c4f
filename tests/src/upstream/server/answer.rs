//! The bytes of an answer: a head, then a body that is either held or made while it is sent.

use std::io::{self, Write};

use super::conn::Request;
use crate::upstream::Behaviour;

const PIECE: u64 = 16 << 10;

#[derive(Default)]
pub(super) struct Answer {
    ready: Vec<u8>,
    sent: usize,
    /// Bytes of a generated body that are not in `ready` yet.
    more: u64,
    chunked: bool,
}

impl Answer {
    pub(super) fn fill(&mut self, pod: &str, behaviour: &Behaviour, request: &Request) {
        let out = &mut self.ready;
        out.extend_from_slice(b"HTTP/1.1 ");
        number(out, u64::from(behaviour.status));
        out.extend_from_slice(b" X\r\nx-pod: ");
        out.extend_from_slice(pod.as_bytes());
        if let Some(subset) = &request.subset {
            out.extend_from_slice(b"\r\nx-got-subset: ");
            out.extend_from_slice(subset.as_bytes());
        }
        if behaviour.status == 101 {
            out.extend_from_slice(b"\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
            return;
        }
        if let Some(status) = behaviour.grpc_status {
            out.extend_from_slice(b"\r\ncontent-type: application/grpc\r\ngrpc-status: ");
            number(out, u64::from(status));
        }
        if behaviour.close {
            out.extend_from_slice(b"\r\nconnection: close");
        }
        let body = if behaviour.grpc_status.is_some() {
            Vec::new()
        } else if behaviour.echo {
            request.head.clone()
        } else {
            about(pod, request.subset.as_deref())
        };
        let length = behaviour.bytes.unwrap_or(body.len() as u64);
        self.chunked = behaviour.chunked;
        if behaviour.chunked {
            out.extend_from_slice(b"\r\ntransfer-encoding: chunked\r\n\r\n");
        } else {
            out.extend_from_slice(b"\r\ncontent-length: ");
            number(out, length);
            out.extend_from_slice(b"\r\n\r\n");
        }
        if request.is_head {
            return;
        }
        if behaviour.bytes.is_some() {
            self.more = length;
        } else {
            self.body(&body);
        }
        if self.chunked && self.more == 0 {
            self.ready.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// Sends as much as the socket takes. `true` when all is sent; with `half` already when half of the rest is.
    pub(super) fn send(&mut self, stream: &mut impl Write, half: bool) -> io::Result<bool> {
        if half {
            self.more /= 2;
            let keep = if self.more == 0 { self.ready.len().saturating_sub(1) } else { self.ready.len() };
            self.ready.truncate(keep);
        }
        loop {
            while self.sent < self.ready.len() {
                match stream.write(&self.ready[self.sent..]) {
                    Ok(sent) => self.sent += sent,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            self.ready.clear();
            self.sent = 0;
            if self.more == 0 {
                return Ok(true);
            }
            let now = self.more.min(PIECE);
            self.more -= now;
            self.body(&[b'x'; PIECE as usize][..usize::try_from(now).unwrap_or(0)]);
            if self.more == 0 && self.chunked && !half {
                self.ready.extend_from_slice(b"0\r\n\r\n");
            }
        }
    }

    fn body(&mut self, bytes: &[u8]) {
        if self.chunked && !bytes.is_empty() {
            self.ready.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
            self.ready.extend_from_slice(bytes);
            self.ready.extend_from_slice(b"\r\n");
        } else {
            self.ready.extend_from_slice(bytes);
        }
    }
}

/// The JSON about the pod and the subset header it got.
fn about(pod: &str, subset: Option<&str>) -> Vec<u8> {
    let mut json = Vec::with_capacity(64);
    json.extend_from_slice(b"{\"pod\":\"");
    json.extend_from_slice(pod.as_bytes());
    json.extend_from_slice(b"\",\"subset\":");
    match subset {
        // The header may hold anything that a client managed to send.
        Some(subset) => json.extend_from_slice(serde_json::Value::from(subset).to_string().as_bytes()),
        None => json.extend_from_slice(b"null"),
    }
    json.extend_from_slice(b"}\n");
    json
}

fn number(out: &mut Vec<u8>, number: u64) {
    write!(out, "{number}").ok();
}
