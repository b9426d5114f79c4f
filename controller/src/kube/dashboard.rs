//! The dashboard on a person's own machine: the same page as a controller's, by their kubeconfig. What they may do is what
//! Kubernetes lets them do, and the record names them.
//!
//! In: a client, and a port that only this machine reaches. Out: the page, `/v1/events`, and the parts of `/v1/splits` and
//! `/v1/rollouts` that objects tell of; POSTs are carried out by [`Person`].

mod access;
mod sight;

use super::person::{Person, PersonError};
use crate::{
    admin::{
        browser::{self, Gate},
        dashboard, events,
        look::{Looker, Shown as _},
        model::{Say, SetWeights, Splits, Weigh},
    },
    clock::Clock,
    listen::{Port, teach},
    rollouts::view::Views,
};
use anyhow::Result;
use axum::{
    Json, Router,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use kube::Client;
use serde::Serialize;
use sight::Sight;
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::Notify;

/// Who interrupts it does not want to wait.
const FAREWELL: Duration = Duration::from_millis(100);
const PROXIES: &str = "the cluster keeps no list of proxies; ask the controller that leads: `kubectl -n NAMESPACE port-forward \
                       POD 7071`, then `sluicegate get proxies`";

/// A dashboard whose port is bound and that has something to show.
pub(crate) struct Dashboard {
    /// Where the browser finds it.
    pub(crate) address: SocketAddr,
    port: Port,
    router: Router,
    sight: Sight,
}

#[derive(Clone)]
struct Room {
    sight: Sight,
    person: Person,
    /// Something was refused that seemed to be allowed.
    doubt: Arc<Notify>,
}

/// Begins to look at the cluster.
pub(crate) async fn build(port: Port, client: Client, looker: Looker, clock: Clock) -> Result<Dashboard> {
    let address = port.address()?;
    let sight = Sight::new(client.clone(), looker, clock.clone());
    sight.begin().await;
    let room = Room { sight: sight.clone(), person: Person::new(client, clock), doubt: Arc::default() };
    drop(tokio::spawn(access::run(sight.clone(), Arc::clone(&room.doubt))));
    let gate = Gate::new(None, true);
    let router = Router::new()
        .route("/v1/splits", get(splits))
        .route("/v1/splits/{namespace}/{name}", get(split))
        .route("/v1/splits/{namespace}/{name}/weights", post(set_weights))
        .route("/v1/rollouts", get(rollouts))
        .route("/v1/rollouts/{namespace}/{name}", get(rollout))
        .route("/v1/rollouts/{namespace}/{name}/weight", post(weigh))
        .route("/v1/rollouts/{namespace}/{name}/{verb}", post(say))
        .route("/v1/proxies", get(async || teach(StatusCode::NOT_FOUND, PROXIES)))
        .with_state(room)
        .merge(dashboard::router(gate.clone()))
        .merge(events::router(sight.clone(), gate.clone()))
        .layer(middleware::from_fn_with_state(gate, browser::check))
        .fallback(async || teach(StatusCode::NOT_FOUND, "no such path; there are /, /v1/splits and /v1/rollouts"));
    Ok(Dashboard { address, port: port.with_farewell(FAREWELL), router, sight })
}

impl Dashboard {
    /// Serves until `stop` completes.
    pub(crate) async fn run(self, stop: impl Future<Output = ()>) {
        let serve = self.port.serve(self.router, self.sight.closing());
        let end = async {
            stop.await;
            self.sight.close();
        };
        tokio::join!(serve, end);
    }
}

async fn splits(State(room): State<Room>) -> Json<Splits> {
    Json(room.sight.splits())
}

async fn rollouts(State(room): State<Room>) -> Json<Views> {
    Json(Views { rollouts: room.sight.rollouts() })
}

async fn split(State(room): State<Room>, Path((namespace, name)): Path<(String, String)>) -> Response {
    let name = format!("{namespace}/{name}");
    room.sight.split(&name).map_or_else(|| none("split", &name), |split| Json(split).into_response())
}

async fn rollout(State(room): State<Room>, Path((namespace, name)): Path<(String, String)>) -> Response {
    let name = format!("{namespace}/{name}");
    room.sight.rollout(&name).map_or_else(|| none("rollout", &name), |view| Json(view).into_response())
}

fn none(what: &str, name: &str) -> Response {
    teach(StatusCode::NOT_FOUND, format!("there is no {what} {name} that is shown here"))
}

async fn say(
    State(room): State<Room>,
    Path((namespace, name, verb)): Path<(String, String, String)>,
    body: Result<Json<Say>, JsonRejection>,
) -> Response {
    const VERBS: [&str; 6] = ["continue", "rollback", "pause", "resume", "promote", "undo"];
    let say = match body {
        Ok(Json(say)) => say,
        Err(why) => return unread(&why, r#"{"reason": "looks good"}"#),
    };
    if !VERBS.contains(&verb.as_str()) {
        let message = format!("{verb:?} is no verb of a rollout; there are {}", VERBS.join(", "));
        return teach(StatusCode::NOT_FOUND, message);
    }
    if say.step == Some(0) {
        return teach(StatusCode::UNPROCESSABLE_ENTITY, "steps count from 1");
    }
    let done = room.person.say(&format!("{namespace}/{name}"), &verb, &say).await;
    room.tell(done)
}

async fn weigh(
    State(room): State<Room>,
    Path((namespace, name)): Path<(String, String)>,
    body: Result<Json<Weigh>, JsonRejection>,
) -> Response {
    let weigh = match body {
        Ok(Json(weigh)) => weigh,
        Err(why) => return unread(&why, r#"{"weight": 5}"#),
    };
    let done = room.person.weigh(&format!("{namespace}/{name}"), &weigh).await;
    room.tell(done)
}

async fn set_weights(
    State(room): State<Room>,
    Path((namespace, name)): Path<(String, String)>,
    body: Result<Json<SetWeights>, JsonRejection>,
) -> Response {
    let weights = match body {
        Ok(Json(SetWeights { weights })) => weights,
        Err(why) => return unread(&why, r#"{"weights": {"v1": 90, "v2": 10}}"#),
    };
    let done = room.person.set_weights(&format!("{namespace}/{name}"), &weights, None).await;
    room.tell(done.map(|(set, _)| set))
}

fn unread(why: &JsonRejection, example: &str) -> Response {
    teach(why.status(), format!("{}; send {example}", why.body_text()))
}

impl Room {
    /// What was done, or why not.
    fn tell(&self, done: Result<impl Serialize, PersonError>) -> Response {
        let why = match done {
            Ok(done) => return Json(done).into_response(),
            Err(why) => why,
        };
        let status = match &why {
            PersonError::MayNot { right, namespace, .. } => {
                self.doubt.notify_one();
                let why = right.missing(self.sight.user(), namespace.as_deref());
                return teach(StatusCode::FORBIDDEN, format!("nothing was changed: {why}"));
            }
            PersonError::Missing(_) => StatusCode::NOT_FOUND,
            PersonError::Wrong(_) => StatusCode::UNPROCESSABLE_ENTITY,
            PersonError::Refused(_) => StatusCode::CONFLICT,
            PersonError::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            PersonError::Failed(_) => StatusCode::BAD_GATEWAY,
        };
        teach(status, why.to_string())
    }
}
