//! What proxies say to a follower is passed on to the leader, and the leader's answer passed back: so the one who leads
//! rollouts knows every proxy, whichever replica it was sent to.
//!
//! In: a request of a proxy. Out: the leader's answer; when there is none to be had, the follower answers by what it
//! knows itself, which is what the leader wrote last.

use super::lease::Standing;
use crate::listen::TlsFiles;
use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderValue, StatusCode, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tracing::debug;

/// On requests that were passed on once; they are not passed on again.
const RELAYED: &str = "x-sluicegate-relayed";
/// The leader is in the same cluster.
const CONNECT: Duration = Duration::from_secs(1);
/// Longer than any poll is held.
const ANSWER: Duration = Duration::from_secs(60);
/// Longest message of a proxy; the handlers take no longer ones.
const LONGEST: usize = 8 << 20;

/// Who leads, and how replicas speak to each other.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    pub(crate) standing: watch::Receiver<Standing>,
    /// As the proxy port: all replicas have the same certificate.
    pub(crate) tls: Option<Arc<TlsFiles>>,
}

/// Passes requests on.
pub(crate) async fn relay(State(relay): State<Relay>, request: Request, next: Next) -> Response {
    let leader =
        relay.standing.borrow().leader.clone().map(|(_, address)| address).filter(|address| !address.is_empty());
    let Some(leader) = leader.filter(|_| !request.headers().contains_key(RELAYED)) else {
        return next.run(request).await;
    };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LONGEST).await else { return StatusCode::BAD_REQUEST.into_response() };
    match ask(&leader, relay.tls.as_deref(), &parts, body.clone()).await {
        Ok(answer) if !answer.status().is_server_error() => answer,
        failed => {
            let why = failed.map_or_else(|why| why.to_string(), |answer| answer.status().to_string());
            debug!(leader, why, "the leader does not answer; answering for it");
            next.run(Request::from_parts(parts, Body::from(body))).await
        }
    }
}

async fn ask(leader: &str, tls: Option<&TlsFiles>, parts: &Parts, body: Bytes) -> io::Result<Response> {
    let plain = timeout(CONNECT, TcpStream::connect(leader)).await??;
    let Some(tls) = tls else { return exchange(plain, parts, body).await };
    let name = leader.parse::<SocketAddr>().map_err(io::Error::other)?.ip();
    let connector = tls.connector().map_err(io::Error::other)?;
    let secured = timeout(CONNECT, connector.connect(ServerName::from(name), plain)).await??;
    exchange(secured, parts, body).await
}

async fn exchange<S>(stream: S, parts: &Parts, body: Bytes) -> io::Result<Response>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends when the sender is dropped, with the request of the proxy if that hangs up.
    drop(tokio::spawn(connection));
    let mut request = Request::from_parts(parts.clone(), Body::from(body));
    request.headers_mut().insert(RELAYED, HeaderValue::from_static("1"));
    let answer = timeout(ANSWER, sender.send_request(request)).await?.map_err(io::Error::other)?;
    let (parts, body) = answer.into_parts();
    let body = to_bytes(Body::new(body), LONGEST).await.map_err(io::Error::other)?;
    Ok(Response::from_parts(parts, Body::from(body)))
}
