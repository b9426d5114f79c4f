//! The admin port: what people, the command line and monitoring ask. Everything is JSON but `/metrics` and the probes;
//! the shapes are in [`model`], and for rollouts in [`crate::rollouts::view`].
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, `GET /dashboard/{file}` | the page for people |
//! | `GET /v1/events` | what the two lists below tell, and each change of it, as server-sent events |
//! | `GET /healthz` | 200 while the process runs |
//! | `GET /readyz` | 200 once the store has been read, 503 before and while shutting down |
//! | `GET /metrics` | Prometheus |
//! | `GET /v1/splits` | [`model::Splits`]: all splits, what is wrong in the store, splits asked for in vain |
//! | `GET /v1/splits/{namespace}/{name}` | [`model::Split`] with proxies and counts |
//! | the same with `?wait=acked` | held until all live proxies run the generation in force (or there are none), at most `timeout` seconds (10); with `generation=N` until it is at least N too |
//! | `POST /v1/splits/{namespace}/{name}/weights` | [`model::SetWeights`] → [`model::WeightsSet`]: written to the user's file and in force |
//! | `GET /v1/proxies` | [`model::Proxies`] |
//! | `GET /v1/rollouts` | [`rollouts::view::Views`](crate::rollouts::view::Views) |
//! | `GET /v1/rollouts/{namespace}/{name}` | [`rollouts::view::View`](crate::rollouts::view::View) |
//! | `POST /v1/rollouts/{namespace}/{name}/{verb}` | `continue`, `rollback`, `pause`, `resume`, `promote` or `undo`: [`model::Say`] → the same `View`, once it is written down |
//! | `POST /v1/rollouts/{namespace}/{name}/weight` | of a CanaryTest: [`model::Weigh`] → the same `View`, once it is written to the user's file and into the history |
//!
//! A browser may only act from the page itself: [`browser`].
//!
//! Anything else than 200 is [`model::Failure`]: `{"error": "what failed, on what, and what to try"}`.

pub mod browser;
pub(crate) mod condition;
pub(crate) mod dashboard;
pub(crate) mod events;
pub(crate) mod look;
pub mod metrics;
pub mod model;
mod rollouts;
pub mod view;

use crate::{
    context::{Context, Desk},
    listen::teach,
    store::SetError,
};
use axum::{
    Json, Router,
    extract::{Path, Query, State, rejection::JsonRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use browser::Gate;
use model::{SetWeights, WeightsSet};
use serde::Deserialize;
use std::time::Duration;

/// Longest `timeout`.
const MAX_WAIT: f64 = 3600.0;

/// All routes; `gate`: whether the page is among them.
pub fn router(desk: Desk, gate: Gate) -> Router {
    let told = metrics_router(desk.context.clone());
    Router::new()
        .route("/v1/splits", get(splits))
        .route("/v1/splits/{namespace}/{name}", get(split))
        .route("/v1/splits/{namespace}/{name}/weights", post(set_weights))
        .route("/v1/proxies", get(proxies))
        .route("/v1/rollouts", get(rollouts::list))
        .route("/v1/rollouts/{namespace}/{name}", get(rollouts::one))
        .route("/v1/rollouts/{namespace}/{name}/weight", post(rollouts::weigh))
        .route("/v1/rollouts/{namespace}/{name}/{verb}", post(rollouts::say))
        .with_state(desk.clone())
        .merge(dashboard::router(gate.clone()))
        .merge(events::router(desk, gate.clone()))
        .layer(middleware::from_fn_with_state(gate, browser::check))
        .merge(told.reset_fallback())
        .fallback(async || {
            teach(StatusCode::NOT_FOUND, "no such path; there are /v1/splits, /v1/proxies, /v1/rollouts and /metrics")
        })
}

/// Those of a port that monitoring may reach: nothing can be changed there.
pub fn metrics_router(context: Context) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .fallback(async || teach(StatusCode::NOT_FOUND, "no such path; there are /metrics, /healthz and /readyz"))
        .with_state(context)
}

async fn ready(State(context): State<Context>) -> Response {
    let closing = *context.closing().borrow();
    match context.lock().loaded && !closing {
        true => "ready\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response(),
    }
}

async fn scrape(State(context): State<Context>) -> Response {
    match metrics::text(&context) {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(why) => teach(StatusCode::INTERNAL_SERVER_ERROR, format!("metrics could not be written: {why}")),
    }
}

async fn splits(State(desk): State<Desk>) -> Response {
    let view = view::splits(&desk.context.lock());
    Json(view).into_response()
}

async fn proxies(State(desk): State<Desk>) -> Response {
    let now = desk.context.clock.now();
    let view = view::proxies(&desk.context.lock(), now.at);
    Json(view).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    wait: Option<String>,
    generation: Option<u64>,
    timeout: Option<f64>,
}

async fn split(
    State(desk): State<Desk>,
    Path((namespace, name)): Path<(String, String)>,
    Query(wait): Query<Wait>,
) -> Response {
    let name = format!("{namespace}/{name}");
    match wait.wait.as_deref() {
        None => {}
        Some("acked") => {
            let seconds = wait.timeout.unwrap_or(10.0);
            if !(0.0..=MAX_WAIT).contains(&seconds) {
                return teach(StatusCode::BAD_REQUEST, format!("timeout is in seconds, 0 to {MAX_WAIT}"));
            }
            let settled = until_settled(&desk.context, &name, wait.generation.unwrap_or(0));
            // Settled or not, the answer says how it is.
            let _ = tokio::time::timeout(Duration::from_secs_f64(seconds), settled).await;
        }
        Some(other) => return teach(StatusCode::BAD_REQUEST, format!("wait={other} is unknown; there is wait=acked")),
    }
    let now = desk.context.clock.now();
    let view = view::split(&desk.context.lock(), &name, Some(now.at));
    match view {
        Some(view) => Json(view).into_response(),
        None => teach(
            StatusCode::NOT_FOUND,
            format!("there is no split {name}; `sluicegate get` lists the splits there are"),
        ),
    }
}

async fn until_settled(context: &Context, name: &str, generation: u64) {
    let mut settled = context.settled();
    let mut closing = context.closing();
    loop {
        settled.borrow_and_update();
        {
            let inner = context.lock();
            if inner.hub.is_settled(name, generation) || inner.hub.record(name).is_none() {
                return;
            }
        }
        tokio::select! {
            changed = settled.changed() => if changed.is_err() { return },
            _ = closing.wait_for(|closing| *closing) => return,
        }
    }
}

async fn set_weights(
    State(desk): State<Desk>,
    Path((namespace, name)): Path<(String, String)>,
    body: Result<Json<SetWeights>, JsonRejection>,
) -> Response {
    let Json(SetWeights { weights }) = match body {
        Ok(body) => body,
        Err(why) => {
            let message = format!("{}; send {{\"weights\": {{\"v1\": 90, \"v2\": 10}}}}", why.body_text());
            return teach(why.status(), message);
        }
    };
    match desk.store.set_weights(format!("{namespace}/{name}"), weights).await {
        Ok(set) => Json(WeightsSet { generation: set.generation, changed: set.changed }).into_response(),
        Err(why) => teach(status(&why), why.to_string()),
    }
}

fn status(why: &SetError) -> StatusCode {
    match why {
        SetError::NoSplit { .. } | SetError::NoTest(_) => StatusCode::NOT_FOUND,
        SetError::NoSubset { .. } | SetError::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        SetError::Broken { .. }
        | SetError::Driven { .. }
        | SetError::NotEditable { .. }
        | SetError::NotByHand(_)
        | SetError::Object(_)
        | SetError::Trying { .. } => StatusCode::CONFLICT,
        SetError::Write { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        SetError::Closed => StatusCode::SERVICE_UNAVAILABLE,
    }
}
