//! `GET /v1/events`: everything as it stands, then what changes, as server-sent events.
//!
//! In: what there is to tell, from whoever is [`Shown`]; what is to be told in detail, [`About`]. Out: one [`News`] after
//! another, [`PACE`] apart at least, and every [`BEAT`] even when nothing happened, so that a reader can tell silence
//! from a broken line.

use super::{
    browser::Gate,
    look::{About, Access, Look, Looker, Shown},
    model::{Missing, Problem, Split},
};
use crate::{
    listen::teach,
    rollouts::{
        series::{Known, told::Told},
        view::View,
    },
};
use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderName, StatusCode, header::CACHE_CONTROL},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
    routing::get,
};
use futures::stream;
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time,
};
use xxhash_rust::xxh3::xxh3_64;

/// Streams at once. Each costs a look at everything per [`PACE`]; that many people do not look at one controller.
const STREAMS: usize = 32;
/// Between two events of a stream.
const PACE: Duration = Duration::from_millis(200);
/// At least that often there is an event.
const BEAT: Duration = Duration::from_secs(5);

/// One event.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct News {
    /// The controller's clock.
    now: Timestamp,
    /// Only in the first event, which tells everything: what a page needs to act.
    #[serde(skip_serializing_if = "Option::is_none")]
    hello: Option<Hello>,
    /// Splits that are new or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    splits: Vec<Split>,
    /// Rollouts that are new or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rollouts: Vec<View>,
    /// The split that was asked for, with proxies and counts, if it changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Split>,
    /// All splits of the rollout that was asked for, in the same way, those that changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Split>,
    /// What was counted over time of the rollout that was asked for, what is new of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Told>,
    /// What is wrong in the store, if that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Store>,
    /// In a cluster: what stands between the person and it, if that changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    access: Option<Access>,
    /// `split/NAME`, `rollout/NAME`, `detail` and `detail/NAME` of what is gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gone: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Hello {
    token: String,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    looker: Option<Looker>,
}

#[derive(Debug, Serialize)]
struct Store {
    problems: Vec<Problem>,
    missing: Vec<Missing>,
}

#[derive(Debug, Clone)]
struct Room<S> {
    shown: S,
    gate: Gate,
    seats: Arc<Semaphore>,
}

/// One stream.
struct Teller<S> {
    room: Room<S>,
    about: About,
    /// What was told of the series of the rollout.
    charted: Option<Known>,
    changes: watch::Receiver<()>,
    closing: watch::Receiver<bool>,
    /// Of everything that was told: a hash of what was told of it.
    told: HashMap<String, u64>,
    begun: bool,
    _seat: OwnedSemaphorePermit,
}

/// The stream's route.
pub(crate) fn router<S: Shown>(shown: S, gate: Gate) -> Router {
    let room = Room { shown, gate, seats: Arc::new(Semaphore::new(STREAMS)) };
    Router::new().route("/v1/events", get(events::<S>)).with_state(room)
}

async fn events<S: Shown>(State(room): State<Room<S>>, Query(about): Query<About>) -> Response {
    let Ok(seat) = Arc::clone(&room.seats).try_acquire_owned() else {
        return teach(StatusCode::SERVICE_UNAVAILABLE, format!("{STREAMS} pages look at this already; close one"));
    };
    let (changes, closing) = (room.shown.changes(), room.shown.closing());
    let told = HashMap::new();
    let teller = Teller { room, about, charted: None, changes, closing, told, begun: false, _seat: seat };
    let told = stream::unfold(teller, |mut teller| async move {
        let news = teller.next().await?;
        let event = Event::default().json_data(&news).unwrap_or_default();
        Some((Ok::<_, Infallible>(event), teller))
    });
    let headers = [(CACHE_CONTROL, "no-store"), (HeaderName::from_static("x-content-type-options"), "nosniff")];
    (headers, Sse::new(told)).into_response()
}

impl<S: Shown> Teller<S> {
    /// `None`: the process closes.
    async fn next(&mut self) -> Option<News> {
        if *self.closing.borrow() {
            return None;
        }
        if !self.begun {
            self.begun = true;
            let (token, looker) = (self.room.gate.token.to_string(), self.room.shown.looker());
            let hello = Hello { token, version: env!("CARGO_PKG_VERSION"), looker };
            return Some(News { hello: Some(hello), ..self.look() });
        }
        let beat = time::Instant::now() + BEAT;
        loop {
            tokio::select! {
                () = time::sleep(PACE) => {}
                _ = self.closing.wait_for(|closing| *closing) => return None,
            }
            let due = tokio::select! {
                changed = self.changes.changed() => { changed.ok()?; false }
                () = time::sleep_until(beat) => true,
                _ = self.closing.wait_for(|closing| *closing) => return None,
            };
            let news = self.look();
            if due || !news.is_empty() {
                return Some(news);
            }
        }
    }

    /// What is not as it was told last.
    fn look(&mut self) -> News {
        self.changes.borrow_and_update();
        let look = self.room.shown.look(&self.about, self.charted);
        let Look { now, splits: all, rollouts, detail, details, fresh, access } = look;
        self.charted = fresh.as_ref().map(|fresh| fresh.known).or(self.charted);
        let before = std::mem::take(&mut self.told);
        let mut is_new = |key: String, value: &dyn Fn() -> serde_json::Result<Vec<u8>>| {
            let hash = value().map_or(0, |json| xxh3_64(&json));
            let new = before.get(&key) != Some(&hash);
            self.told.insert(key, hash);
            new
        };
        let mut news = News { now, series: fresh.map(Told::from), ..News::default() };
        for split in all.splits {
            if is_new(format!("split/{}", split.name), &|| serde_json::to_vec(&split)) {
                news.splits.push(split);
            }
        }
        for view in rollouts {
            if is_new(format!("rollout/{}", view.name), &|| serde_json::to_vec(&view)) {
                news.rollouts.push(view);
            }
        }
        if let Some(detail) = detail
            && is_new("detail".to_owned(), &|| serde_json::to_vec(&detail))
        {
            news.detail = Some(detail);
        }
        for detail in details {
            if is_new(format!("detail/{}", detail.name), &|| serde_json::to_vec(&detail)) {
                news.details.push(detail);
            }
        }
        let store = Store { problems: all.problems, missing: all.missing };
        if is_new("store".to_owned(), &|| serde_json::to_vec(&store)) {
            news.store = Some(store);
        }
        if let Some(access) = access
            && is_new("access".to_owned(), &|| serde_json::to_vec(&access))
        {
            news.access = Some(access);
        }
        news.gone = before.into_keys().filter(|key| !self.told.contains_key(key)).collect();
        news
    }
}

impl News {
    fn is_empty(&self) -> bool {
        let Self { now: _, hello, splits, rollouts, detail, details, series, store, access, gone } = self;
        let one = hello.is_some() || detail.is_some() || series.is_some() || store.is_some() || access.is_some();
        !one && splits.is_empty() && rollouts.is_empty() && details.is_empty() && gone.is_empty()
    }
}
