//! Ports: accepting, TLS, tokens, answers that teach, and closing in order.

pub mod module;
mod tls;
pub mod token;

pub use tls::{TlsError, TlsFiles};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
    service::TowerToHyperService,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
};
use tracing::{debug, warn};

/// A peer has this long for its TLS handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// Open connections have this long to finish when the process ends, unless told otherwise.
const FAREWELL: Duration = Duration::from_secs(1);
/// Connections that may wait to be accepted: all proxies come at once when a controller was away. The kernel takes less
/// where `net.core.somaxconn` says so.
const BACKLOG: u32 = 4096;
/// What is read ahead of one HTTP/1.1 connection, and the longest head of a request. Who sends thousands of requests at once
/// and reads no answer costs no more.
const READ_AHEAD: usize = 64 << 10;
/// Streams of one HTTP/2 connection; a peer opens another connection for more.
const STREAMS: u32 = 1024;
/// An HTTP/2 peer from which nothing is heard is asked this often whether it is there.
const PING: Duration = Duration::from_secs(20);

/// An error as JSON: `{"error": "what failed, on what, and what to try"}`.
pub fn teach(status: StatusCode, message: impl Into<String>) -> Response {
    (status, Json(serde_json::json!({ "error": message.into() }))).into_response()
}

/// A port that accepts.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    tls: Option<Arc<TlsFiles>>,
    farewell: Duration,
}

impl Port {
    /// Takes the address, but does not answer yet.
    pub async fn bind(address: SocketAddr, tls: Option<Arc<TlsFiles>>) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restart takes the address although connections of the last run still linger in the kernel.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { listener: socket.listen(BACKLOG)?, tls, farewell: FAREWELL })
    }

    /// Open connections have this long to finish.
    #[must_use]
    pub fn with_farewell(self, farewell: Duration) -> Self {
        Self { farewell, ..self }
    }

    /// The real address, also when port 0 was asked for.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `closing` turns true and the open requests are answered.
    pub async fn serve(self, router: Router, mut closing: watch::Receiver<bool>) {
        let graceful = GracefulShutdown::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = closing.wait_for(|closing| *closing) => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(why) => {
                    // Out of descriptors, usually; the next accept would fail at once too.
                    warn!(%why, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // An answer is one small write; waiting to fill a packet only delays it.
            let _ = stream.set_nodelay(true);
            let tls = self.tls.as_ref().map(|tls| tls.acceptor());
            tokio::spawn(connection(stream, tls, router.clone(), graceful.watcher(), closing.clone()));
        }
        drop(self.listener);
        if tokio::time::timeout(self.farewell, graceful.shutdown()).await.is_err() {
            debug!("some connections did not finish in time");
        }
    }
}

/// Memory counts here: ten thousand proxies keep a connection each. So what few need is in boxes of its own.
async fn connection(
    stream: TcpStream,
    tls: Option<tokio_rustls::TlsAcceptor>,
    router: Router,
    graceful: Watcher,
    mut closing: watch::Receiver<bool>,
) {
    if let Some(tls) = tls {
        return Box::pin(shake_hands(stream, tls, router, graceful)).await;
    }
    let http1 = tokio::select! {
        http1 = speaks_http1(&stream) => http1,
        // Nothing was asked yet, so nothing needs to be finished.
        _ = closing.wait_for(|closing| *closing) => return,
    };
    drop(closing);
    match http1 {
        true => talk_http1(stream, router, graceful).await,
        false => Box::pin(talk(stream, router, graceful)).await,
    }
}

/// Whether the first bytes are surely not those of HTTP/2. To tell by reading them, as [`auto`] does, makes hyper grow
/// its read buffer from 8 to 16 KiB for good.
async fn speaks_http1(stream: &TcpStream) -> bool {
    let mut first = [0; 3];
    matches!(stream.peek(&mut first).await, Ok(3) if first != *b"PRI")
}

async fn talk_http1(stream: TcpStream, router: Router, graceful: Watcher) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_AHEAD);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(why) = graceful.watch(connection).await {
        debug!(%why, "connection ended early");
    }
}

async fn shake_hands(stream: TcpStream, tls: tokio_rustls::TlsAcceptor, router: Router, graceful: Watcher) {
    // In the connection's own task: a peer that is slow to shake hands keeps nobody else waiting.
    match tokio::time::timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => talk(stream, router, graceful).await,
        Ok(Err(why)) => debug!(%why, "TLS handshake failed"),
        Err(_) => debug!("TLS handshake took too long"),
    }
}

async fn talk(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, router: Router, graceful: Watcher) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(READ_AHEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS).keep_alive_interval(PING);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(why) = graceful.watch(connection.into_owned()).await {
        debug!(%why, "connection ended early");
    }
}
