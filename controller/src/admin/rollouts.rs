//! Rollouts on the admin port.

use super::model::{Say, Weigh};
use crate::{
    context::Desk,
    listen::teach,
    rollouts::{
        engine::orders::{self, Order, OrderError, What, Word},
        view::Views,
    },
    store::TestEdit,
};
use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use sluicegate_core::rollout::command::Command;
use tokio::sync::oneshot;

const VERBS: &str = "continue, rollback, pause, resume, promote and undo, and weight for a CanaryTest";

pub(super) async fn list(State(desk): State<Desk>) -> Response {
    let rollouts = desk.context.lock().rollouts.values().cloned().collect();
    Json(Views { rollouts }).into_response()
}

pub(super) async fn one(State(desk): State<Desk>, Path((namespace, name)): Path<(String, String)>) -> Response {
    show(&desk, &format!("{namespace}/{name}"))
}

fn show(desk: &Desk, name: &str) -> Response {
    let view = desk.context.lock().rollouts.get(name).cloned();
    match view {
        Some(view) => Json(view).into_response(),
        None => none(desk, name),
    }
}

fn none(desk: &Desk, name: &str) -> Response {
    if !desk.context.lock().leads {
        let why = format!(
            "rollout {name}, if there is one, is led by the replica that holds the lease; ask that one, or use `kubectl \
             sluicegate`"
        );
        return teach(StatusCode::CONFLICT, why);
    }
    teach(StatusCode::NOT_FOUND, format!("there is no rollout {name}; `sluicegate get rollouts` lists those there are"))
}

pub(super) async fn say(
    State(desk): State<Desk>,
    Path((namespace, name, verb)): Path<(String, String, String)>,
    body: Result<Json<Say>, JsonRejection>,
) -> Response {
    let name = format!("{namespace}/{name}");
    let say = match body {
        Ok(Json(say)) => say,
        Err(why) => {
            let message = format!("{}; send {{\"by\": \"ada\", \"reason\": \"looks good\"}}", why.body_text());
            return teach(why.status(), message);
        }
    };
    if let Some(refused) = nobody(&say.by) {
        return refused;
    }
    let command = match verb.as_str() {
        "continue" => Command::Continue { over_fail: say.over_fail },
        "promote" => Command::Promote { over_fail: say.over_fail },
        "rollback" => Command::Rollback,
        "undo" => Command::Undo,
        "pause" => Command::Pause,
        "resume" => Command::Resume,
        other => return teach(StatusCode::NOT_FOUND, format!("{other:?} is no verb of a rollout; there are {VERBS}")),
    };
    let about = match say.step {
        Some(0) => return teach(StatusCode::UNPROCESSABLE_ENTITY, "steps count from 1"),
        step => step.map(|step| step - 1),
    };
    give(&desk, &name, What::Word(Word { command, about, by: say.by, reason: say.reason })).await
}

/// Another weight for a CanaryTest.
pub(super) async fn weigh(
    State(desk): State<Desk>,
    Path((namespace, name)): Path<(String, String)>,
    body: Result<Json<Weigh>, JsonRejection>,
) -> Response {
    let name = format!("{namespace}/{name}");
    let asked = match body {
        Ok(Json(asked)) => asked,
        Err(why) => {
            let example = r#"{"weight": 5, "by": "ada", "reason": "five is fine"}"#;
            return teach(why.status(), format!("{}; send {example}", why.body_text()));
        }
    };
    if let Some(refused) = nobody(&asked.by) {
        return refused;
    }
    let weight = match asked.weight.thousandths() {
        Ok(weight) => weight,
        Err(why) => return teach(StatusCode::UNPROCESSABLE_ENTITY, format!("weight {} {why}", asked.weight)),
    };
    let edit = TestEdit { weight, version: asked.version };
    give(&desk, &name, What::Weigh(orders::Weigh { edit, by: asked.by, reason: asked.reason })).await
}

/// The record needs a name.
fn nobody(by: &str) -> Option<Response> {
    let refused = || teach(StatusCode::UNPROCESSABLE_ENTITY, "by is empty; the record needs to know who decided");
    by.trim().is_empty().then(refused)
}

/// Gives an order to a rollout, and shows what has become of it.
async fn give(desk: &Desk, name: &str, what: What) -> Response {
    let Some(orders) = desk.rollouts.get(name) else { return none(desk, name) };
    let (reply, answer) = oneshot::channel();
    if orders.send(Order { what, reply }).await.is_err() {
        return none(desk, name);
    }
    match answer.await {
        Ok(Ok(())) => show(desk, name),
        Ok(Err(why)) => {
            let status = match &why {
                OrderError::Refused { .. } => StatusCode::CONFLICT,
                OrderError::Store(why) => super::status(why),
                OrderError::Disk(_) | OrderError::Unanswered(_) | OrderError::Unnoted(_) => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
            };
            teach(status, why.to_string())
        }
        Err(_) => teach(StatusCode::SERVICE_UNAVAILABLE, "the controller is shutting down; ask again when it is back"),
    }
}
