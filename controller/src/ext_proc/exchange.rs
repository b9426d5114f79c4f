//! One gRPC stream, which is one HTTP request: the decision, and later how it ended.

use super::{
    gate::{Change, Gate, Observed, Verdict},
    proto::{
        Answer, AppendAction, CommonResponse, Empty, HeaderMap, HeaderMutation, HeaderValue, HeaderValueOption,
        HeadersResponse, Kind, Part, ProcessingMode, ProcessingRequest, ProcessingResponse, SendMode, Struct, Value,
    },
};
use crate::clock::Clock;
use bytes::Bytes;
use sluicegate_core::{counts::Outcome, spec::Protocol};
use std::{sync::Arc, time::Duration};

/// Under which name Envoy hands attributes over.
const ATTRIBUTES: &str = "envoy.filters.http.ext_proc";
/// Namespace of the metadata for access logs.
const METADATA: &str = "sluicegate";

/// What every exchange needs.
#[derive(Debug, Clone)]
pub struct Desk {
    /// Who decides.
    pub gate: Arc<Gate>,
    /// The moment.
    pub clock: Clock,
    /// Envoy is given the subset as dynamic metadata.
    pub access_log: bool,
}

/// One HTTP request.
#[derive(Debug)]
pub struct Exchange {
    desk: Desk,
    /// How it ends is to be told; since when.
    open: Option<(Observed, Duration)>,
    /// For its response.
    cookie: Option<String>,
}

impl Exchange {
    /// Nothing known yet.
    pub fn new(desk: Desk) -> Self {
        Self { desk, open: None, cookie: None }
    }

    /// The answer to the next part. Parts that are none of our business are passed on as they are.
    pub fn answer(&mut self, request: ProcessingRequest) -> ProcessingResponse {
        let ProcessingRequest { attributes, part } = request;
        let attributes = attributes.get(ATTRIBUTES);
        let nothing = HeadersResponse { response: None };
        let answer = match part {
            Some(Part::RequestHeaders(headers)) => return self.begin(&headers.headers.unwrap_or_default(), attributes),
            Some(Part::ResponseHeaders(headers)) => {
                self.headers(&headers.headers.unwrap_or_default(), attributes);
                Answer::ResponseHeaders(
                    self.cookie.take().map_or(nothing, |cookie| set("set-cookie", cookie, AppendAction::Append, false)),
                )
            }
            Some(Part::ResponseTrailers(trailers)) => {
                self.trailers(&trailers.trailers.unwrap_or_default(), attributes);
                Answer::ResponseTrailers(Empty {})
            }
            Some(Part::RequestTrailers(_)) => Answer::RequestTrailers(Empty {}),
            Some(Part::RequestBody(_)) => Answer::RequestBody(Empty {}),
            Some(Part::ResponseBody(_)) => Answer::ResponseBody(Empty {}),
            // A part of a later Envoy's: an answer to no part is taken as none.
            None => return ProcessingResponse::default(),
        };
        ProcessingResponse { answer: Some(answer), ..ProcessingResponse::default() }
    }

    fn begin(&mut self, headers: &HeaderMap, attributes: Option<&Struct>) -> ProcessingResponse {
        // Envoy has one request per stream; whoever has more gives up the one before.
        self.end(Outcome::Abandoned, false);
        let Verdict { subset, header, cookie, observed } = self.desk.gate.decide(headers, attributes);
        let name = self.desk.gate.header();
        let response = match (header, &subset) {
            (Change::Write, Some(subset)) => set(name, subset.clone(), AppendAction::Overwrite, true),
            (Change::Remove, _) => {
                let mutation = HeaderMutation { remove_headers: vec![name.to_string()], ..HeaderMutation::default() };
                changed(mutation, true)
            }
            _ => HeadersResponse { response: None },
        };
        let wanted = |wanted| if wanted { SendMode::Send } else { SendMode::Skip } as i32;
        let grpc = observed.is_some_and(|observed| observed.protocol == Protocol::Grpc);
        let mode = ProcessingMode {
            response_header_mode: wanted(observed.is_some() || cookie.is_some()),
            response_trailer_mode: wanted(grpc),
        };
        self.open = observed.map(|observed| (observed, self.desk.clock.now().at));
        self.cookie = cookie;
        ProcessingResponse {
            dynamic_metadata: subset.filter(|_| self.desk.access_log).map(metadata),
            mode_override: Some(mode),
            answer: Some(Answer::RequestHeaders(response)),
        }
    }

    fn headers(&mut self, headers: &HeaderMap, attributes: Option<&Struct>) {
        let Some((observed, _)) = self.open else { return };
        let status = number(headers.first(":status")).and_then(|status| u16::try_from(status).ok());
        let flags = flags(attributes);
        match (observed.protocol, number(headers.first("grpc-status")), status) {
            (Protocol::Http, _, _) => self.end(Outcome::of_http(status, flags), status.is_some()),
            // Its trailers say how it ended.
            (Protocol::Grpc, None, Some(200)) => {}
            (Protocol::Grpc, told, _) => {
                self.end(Outcome::of_grpc(told.or(status.map(of_status)), flags), status.is_some())
            }
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap, attributes: Option<&Struct>) {
        self.end(Outcome::of_grpc(number(trailers.first("grpc-status")), flags(attributes)), true);
    }

    fn end(&mut self, outcome: Outcome, answered: bool) {
        let Some((observed, since)) = self.open.take() else { return };
        let took = self.desk.clock.now().at.saturating_sub(since).as_micros();
        self.desk.gate.ended(observed, outcome, answered.then(|| u64::try_from(took).unwrap_or(u64::MAX)));
    }
}

impl Drop for Exchange {
    /// The stream is over without a response: the client left.
    fn drop(&mut self) {
        self.end(Outcome::Abandoned, false);
    }
}

/// What a gRPC call that was answered as plain HTTP ended with (grpc.io, "HTTP to gRPC status code mapping").
fn of_status(status: u16) -> u64 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

fn number(value: Option<&[u8]>) -> Option<u64> {
    std::str::from_utf8(value?).ok()?.parse().ok()
}

/// Envoy's response flags; 0 where the configuration does not hand them over.
fn flags(attributes: Option<&Struct>) -> u64 {
    let kind = attributes.and_then(|a| a.fields.get("response.flags")).and_then(|value| value.kind.as_ref());
    match kind {
        Some(Kind::Number(flags)) => *flags as u64,
        _ => 0,
    }
}

fn set(name: &str, value: String, action: AppendAction, reroute: bool) -> HeadersResponse {
    let header = HeaderValue { key: name.to_owned(), raw_value: Bytes::from(value), ..HeaderValue::default() };
    let option = HeaderValueOption { header: Some(header), append_action: action as i32 };
    changed(HeaderMutation { set_headers: vec![option], ..HeaderMutation::default() }, reroute)
}

fn changed(mutation: HeaderMutation, reroute: bool) -> HeadersResponse {
    HeadersResponse { response: Some(CommonResponse { header_mutation: Some(mutation), clear_route_cache: reroute }) }
}

fn metadata(subset: String) -> Struct {
    let of = |name: &str, kind| Struct { fields: [(name.to_owned(), Value { kind: Some(kind) })].into() };
    of(METADATA, Kind::Struct(of("subset", Kind::Text(subset))))
}
