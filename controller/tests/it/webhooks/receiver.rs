//! A receiver that answers by a list, one connection after another, and notes what it was asked.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What becomes of a connection.
pub(super) enum Reply {
    /// An answer, as it goes out.
    Text(String),
    /// This status and an endless body.
    Flood(u16),
    /// Nothing, and the connection closes.
    Close,
    /// Nothing, and it stays open.
    Hang,
    /// Headers without end.
    Drip,
}

impl Reply {
    pub(super) fn status(status: u16, body: &str) -> Self {
        Self::Text(format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }

    pub(super) fn later(status: u16, after: &str) -> Self {
        Self::Text(format!("HTTP/1.1 {status} X\r\nretry-after: {after}\r\ncontent-length: 0\r\n\r\n"))
    }

    pub(super) fn redirect(status: u16, to: &str) -> Self {
        Self::Text(format!("HTTP/1.1 {status} X\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))
    }
}

/// What it was asked.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

pub(super) struct Receiver {
    address: SocketAddr,
    tls: bool,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Receiver {
    pub(super) fn new(replies: impl Into<VecDeque<Reply>>) -> Self {
        Self::start(replies.into(), None)
    }

    pub(super) fn with_tls(replies: impl Into<VecDeque<Reply>>, made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Self {
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::start(replies.into(), Some(Arc::new(config)))
    }

    fn start(mut replies: VecDeque<Reply>, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let receiver = Self { address, tls: tls.is_some(), asked: Arc::clone(&asked) };
        thread::spawn(move || {
            // Connections that stay open do so until the list is done.
            let mut open = Vec::new();
            while !replies.is_empty() {
                let Ok((stream, _)) = listener.accept() else { return };
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                match &tls {
                    Some(config) => {
                        let session = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
                        serve(rustls::StreamOwned::new(session, stream), &mut replies, &asked);
                    }
                    None => open.extend(serve(stream, &mut replies, &asked)),
                }
            }
            // Until the caller goes.
            for mut stream in open {
                let _ = TcpStream::read(&mut stream, &mut [0]);
            }
        });
        receiver
    }

    pub(super) fn url(&self) -> String {
        match self.tls {
            true => format!("https://localhost:{}/hook", self.address.port()),
            false => format!("http://{}/hook", self.address),
        }
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// Serves one request; gives the stream back when it is to stay open.
fn serve<S: Read + Write>(mut stream: S, replies: &mut VecDeque<Reply>, asked: &Mutex<Vec<Asked>>) -> Option<S> {
    let request = read(&mut stream)?;
    asked.lock().unwrap().push(request);
    match replies.pop_front()? {
        Reply::Text(text) => {
            let _ = stream.write_all(text.as_bytes()).and_then(|()| stream.flush());
            None
        }
        Reply::Flood(status) => {
            let _ = write!(stream, "HTTP/1.1 {status} X\r\n\r\n");
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
            None
        }
        Reply::Close => None,
        Reply::Hang => Some(stream),
        Reply::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx-never: ends");
            Some(stream)
        }
    }
}

fn read(stream: &mut impl Read) -> Option<Asked> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
            let asked = Asked { head, body: bytes[end..].to_vec() };
            let length: usize = asked.header("content-length").map_or(0, |v| v.parse().unwrap());
            if asked.body.len() >= length {
                return Some(asked);
            }
        }
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => bytes.extend(&chunk[..read]),
            _ => return None,
        }
    }
}
