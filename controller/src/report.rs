//! `POST /v1/report`: a proxy says what it counted.

use crate::{context::Context, push::understood};
use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use sluicegate_core::wire::{PROTOCOL, Report, ReportAnswer};

/// Handles a report.
pub async fn report(State(context): State<Context>, request: Request) -> Response {
    let report = match understood(request, Report::decode, |r| r.sluicegate).await {
        Ok(report) => report,
        Err(refusal) => {
            context.lock().totals.refused += 1;
            return refusal;
        }
    };
    let now = context.clock.now();
    let mut inner = context.lock();
    inner.totals.reports += 1;
    inner.hub.heard(&report.proxy, now);
    inner.tally.take(report, now.at);
    context.announce(inner);
    Json(ReportAnswer { sluicegate: PROTOCOL }).into_response()
}
