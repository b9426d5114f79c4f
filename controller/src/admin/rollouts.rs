//! Rollouts on the admin port.

use super::model::Say;
use crate::{
    context::Desk,
    listen::teach,
    rollouts::{
        engine::orders::{Order, OrderError, Word},
        view::Views,
    },
};
use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use sluicegate_core::rollout::command::Command;
use tokio::sync::oneshot;

const VERBS: &str = "continue, rollback, pause, resume, promote and undo";

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
        Ok(Json(say)) if !say.by.trim().is_empty() => say,
        Ok(_) => return teach(StatusCode::UNPROCESSABLE_ENTITY, "by is empty; the record needs to know who decided"),
        Err(why) => {
            let message = format!("{}; send {{\"by\": \"ada\", \"reason\": \"looks good\"}}", why.body_text());
            return teach(why.status(), message);
        }
    };
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
    let Some(orders) = desk.rollouts.get(&name) else { return none(&desk, &name) };
    let (reply, answer) = oneshot::channel();
    let order = Order { word: Word { command, about, by: say.by, reason: say.reason }, reply };
    if orders.send(order).await.is_err() {
        return none(&desk, &name);
    }
    match answer.await {
        Ok(Ok(())) => show(&desk, &name),
        Ok(Err(why @ OrderError::Refused { .. })) => teach(StatusCode::CONFLICT, why.to_string()),
        Ok(Err(why @ (OrderError::Disk(_) | OrderError::Unanswered(_)))) => {
            teach(StatusCode::INTERNAL_SERVER_ERROR, why.to_string())
        }
        Err(_) => teach(StatusCode::SERVICE_UNAVAILABLE, "the controller is shutting down; ask again when it is back"),
    }
}
