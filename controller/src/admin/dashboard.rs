//! The dashboard: a page in the browser over the JSON of this port. What it is made of lies beside this file and is part of the
//! program; nothing is fetched from elsewhere, and the page may not either.
//!
//! In: `GET /`, `GET /dashboard/{file}`. Out: the files, with a policy that runs nothing else.

use super::browser::Gate;
use crate::listen::teach;
use axum::{
    Router,
    extract::{Path, State},
    http::{
        HeaderName, StatusCode,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse, Response},
    routing::get,
};

/// Scripts, styles and connections of our own; no frames around it, no forms, nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// Name, kind and content of each file.
const FILES: [(&str, &str, &str); 18] = [
    ("index.html", HTML, include_str!("dashboard/index.html")),
    ("style.css", STYLE, include_str!("dashboard/style.css")),
    ("detail.css", STYLE, include_str!("dashboard/detail.css")),
    ("charts.css", STYLE, include_str!("dashboard/charts.css")),
    ("icon.svg", IMAGE, include_str!("dashboard/icon.svg")),
    ("app.js", SCRIPT, include_str!("dashboard/app.js")),
    ("stream.js", SCRIPT, include_str!("dashboard/stream.js")),
    ("dom.js", SCRIPT, include_str!("dashboard/dom.js")),
    ("words.js", SCRIPT, include_str!("dashboard/words.js")),
    ("list.js", SCRIPT, include_str!("dashboard/list.js")),
    ("rollout.js", SCRIPT, include_str!("dashboard/rollout.js")),
    ("evidence.js", SCRIPT, include_str!("dashboard/evidence.js")),
    ("charts.js", SCRIPT, include_str!("dashboard/charts.js")),
    ("times.js", SCRIPT, include_str!("dashboard/times.js")),
    ("judgments.js", SCRIPT, include_str!("dashboard/judgments.js")),
    ("split.js", SCRIPT, include_str!("dashboard/split.js")),
    ("actions.js", SCRIPT, include_str!("dashboard/actions.js")),
    ("trial.js", SCRIPT, include_str!("dashboard/trial.js")),
];

/// The page and its files.
pub(crate) fn router(gate: Gate) -> Router {
    Router::new()
        .route("/", get(async |State(gate): State<Gate>| serve(&gate, "index.html")))
        .route("/dashboard/{file}", get(async |State(gate): State<Gate>, Path(file): Path<String>| serve(&gate, &file)))
        .with_state(gate)
}

fn serve(gate: &Gate, file: &str) -> Response {
    if let Some(why) = gate.shut {
        return teach(StatusCode::NOT_FOUND, why);
    }
    let Some((_, kind, content)) = FILES.iter().find(|(name, ..)| *name == file) else {
        return teach(StatusCode::NOT_FOUND, format!("the dashboard has no file {file:?}"));
    };
    let headers = [
        (CONTENT_TYPE, *kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // Another program may answer here next time.
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    (headers, *content).into_response()
}
