//! `POST /v1/sync`: a proxy says what it runs and waits for what is new.

use crate::{
    context::{Context, Synced},
    listen::teach,
};
use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use sluicegate_core::wire::{PROTOCOL, SyncRequest};
use std::time::Duration;

/// Shortest and longest hold in ms, whatever the proxy asks for: no busy loop, and no poll beyond usual timeouts.
const HOLD: std::ops::RangeInclusive<u32> = 1_000..=50_000;
/// Longest body: the acks of tens of thousands of splits.
pub const MAX_BODY: usize = 8 << 20;

/// Handles a sync.
pub async fn sync(State(context): State<Context>, body: Result<Bytes, BytesRejection>) -> Response {
    let request = match understood(body, |r: &SyncRequest| r.sluicegate) {
        Ok(request) => request,
        Err(refusal) => {
            context.lock().totals.refused += 1;
            return refusal;
        }
    };
    let hold = Duration::from_millis(request.hold.clamp(*HOLD.start(), *HOLD.end()).into());
    let body = match context.sync(request, context.clock.now()) {
        Synced::Answer(body) => body,
        Synced::Held(held) => held.wait(hold).await,
    };
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The message, if it is one of this protocol; otherwise what to answer. Whatever its content type says: a filter may
/// not send one.
pub fn understood<T: DeserializeOwned>(
    body: Result<Bytes, BytesRejection>,
    version: impl Fn(&T) -> u32,
) -> Result<T, Response> {
    let body = body.map_err(|why| teach(why.status(), why.body_text()))?;
    let message: T = serde_json::from_slice(&body).map_err(|why| {
        teach(StatusCode::BAD_REQUEST, format!("not understood: {why}; this port is for the Sluicegate filter"))
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
