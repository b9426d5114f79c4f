//! `POST /v1/sync`: a proxy says what it runs and waits for what is new.
//!
//! Filters speak the compact encoding, people and tests JSON: the content type of a message tells, and `accept` says what
//! the answer is to be.

use crate::{
    context::{Context, Synced},
    listen::teach,
};
use axum::{
    body::{self, HttpBody},
    extract::{Request, State},
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use sluicegate_core::{
    codec::Damaged,
    message::MEDIA_TYPE,
    wire::{PROTOCOL, SyncRequest},
};
use std::time::Duration;

/// Shortest and longest hold in ms, whatever the proxy asks for: no busy loop, and no poll beyond usual timeouts.
const HOLD: std::ops::RangeInclusive<u32> = 1_000..=50_000;
/// Longest body: the acks of tens of thousands of splits.
const MAX_BODY: usize = 8 << 20;
/// A message is small and comes at once; whoever takes longer than this holds a connection for nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Handles a sync.
pub async fn sync(State(context): State<Context>, request: Request) -> Response {
    // Not the headers themselves: they would keep the connection's read buffer for as long as the poll is held.
    let compact = is_compact(request.headers(), ACCEPT);
    let request = match understood(request, SyncRequest::decode, |r| r.sluicegate).await {
        Ok(request) => request,
        Err(refusal) => {
            context.lock().totals.refused += 1;
            return refusal;
        }
    };
    let hold = Duration::from_millis(request.hold.clamp(*HOLD.start(), *HOLD.end()).into());
    let answer = match context.sync(request, context.clock.now()) {
        Synced::Answer(answer) => Some(answer),
        Synced::Held(held) => held.wait(hold).await,
    };
    match answer {
        Some(answer) if compact => ([(CONTENT_TYPE, MEDIA_TYPE)], answer.compact()).into_response(),
        Some(answer) => ([(CONTENT_TYPE, "application/json")], answer.json()).into_response(),
        None => teach(StatusCode::SERVICE_UNAVAILABLE, "the controller is shutting down; try again"),
    }
}

/// Whether this header names the compact encoding.
fn is_compact(headers: &HeaderMap, name: axum::http::HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes() == MEDIA_TYPE.as_bytes())
}

/// The message, if it is one of this protocol; otherwise what to answer. Whatever is not said to be compact is JSON.
pub async fn understood<T: DeserializeOwned>(
    request: Request,
    decode: impl Fn(&[u8]) -> Result<T, Damaged>,
    version: impl Fn(&T) -> u32,
) -> Result<T, Response> {
    let (head, body) = request.into_parts();
    let too_long = || teach(StatusCode::PAYLOAD_TOO_LARGE, format!("longer than {} MiB", MAX_BODY >> 20));
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_long());
    }
    let body = tokio::time::timeout(PATIENCE, body::to_bytes(body, MAX_BODY)).await;
    let body = body.map_err(|_| teach(StatusCode::REQUEST_TIMEOUT, "the message did not arrive in time"))?;
    // It was cut, which nobody is there to hear about, or it was too long.
    let body = body.map_err(|_| too_long())?;
    let headers = &head.headers;
    let message = match is_compact(headers, CONTENT_TYPE) {
        true => decode(&body).map_err(|why| why.to_string()),
        false => serde_json::from_slice(&body).map_err(|why| why.to_string()),
    };
    let message = message.map_err(|why| {
        let advice = "this port is for the Sluicegate filter; use a filter and a controller of the same release";
        teach(StatusCode::BAD_REQUEST, format!("not understood: {why}; {advice}"))
    })?;
    match version(&message) {
        PROTOCOL => Ok(message),
        other => Err(teach(
            StatusCode::BAD_REQUEST,
            format!(
                "protocol {other} is not spoken here, {PROTOCOL} is; use a filter and a controller of the same release"
            ),
        )),
    }
}
