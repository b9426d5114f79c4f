//! admin
use crate::context::Desk;
use axum::{Router, routing::get};

/// x
pub fn router(desk: Desk) -> Router {
    Router::new().route("/healthz", get(|| async { "ok" })).with_state(desk)
}
