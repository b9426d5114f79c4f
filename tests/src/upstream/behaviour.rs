//! How one request is to be answered: parsed from its query, such as `/?status=503&delay_ms=20`.

use std::time::Duration;

/// Where an answer is broken off, by a TCP reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Before anything is sent: `reset=headers`.
    BeforeHeaders,
    /// After the head and half of the body: `reset=body`.
    InBody,
}

/// How to answer. The default: status 200, at once, the JSON about the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// `status=N`
    pub status: u16,
    /// `delay_ms=N`: time between the end of the request and the answer.
    pub delay: Duration,
    /// `reset=headers` or `reset=body`
    pub fault: Option<Fault>,
    /// `bytes=N`: a body of so many bytes instead of the JSON.
    pub bytes: Option<u64>,
    /// `chunked=1`: send the body in chunks, without a length.
    pub chunked: bool,
    /// `echo=1`: the body is the head of the request, as received.
    pub echo: bool,
    /// `close=1`: close the connection after the answer.
    pub close: bool,
    /// `hang=1`: never answer.
    pub hang: bool,
    /// `grpc_status=N`: a trailers-only gRPC answer (HTTP 200) with this status.
    pub grpc_status: Option<u16>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            status: 200,
            delay: Duration::ZERO,
            fault: None,
            bytes: None,
            chunked: false,
            echo: false,
            close: false,
            hang: false,
            grpc_status: None,
        }
    }
}

impl Behaviour {
    /// Reads the query of a request target; what it does not know it ignores.
    #[must_use]
    pub fn of(target: &[u8]) -> Self {
        let mut wanted = Self::default();
        let Some(at) = memchr::memchr(b'?', target) else { return wanted };
        let query = String::from_utf8_lossy(&target[at + 1..]);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number = value.parse::<u64>().ok();
            match name {
                "status" => wanted.status = small(number).unwrap_or(200),
                "delay_ms" => wanted.delay = Duration::from_millis(number.unwrap_or(0)),
                "reset" => wanted.fault = Some(if value == "body" { Fault::InBody } else { Fault::BeforeHeaders }),
                "bytes" => wanted.bytes = number,
                "chunked" => wanted.chunked = value == "1",
                "echo" => wanted.echo = value == "1",
                "close" => wanted.close = value == "1",
                "hang" => wanted.hang = value == "1",
                "grpc_status" => wanted.grpc_status = small(number),
                _ => {}
            }
        }
        wanted
    }
}

fn small(number: Option<u64>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok())
}
