//! The messages of Envoy's `envoy.service.ext_proc.v3.ExternalProcessor` (api/envoy/service/ext_proc/v3/external_processor.proto),
//! as far as a decision needs them; what is not here is skipped unread. The whole API as generated code is eight megabytes of source
//! for these sixteen messages.

use bytes::Bytes;
use std::collections::HashMap;

/// What Envoy says on a stream; there is one stream per HTTP request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProcessingRequest {
    /// Attributes of the request, by filter; those that the filter's configuration lists.
    #[prost(map = "string, message", tag = "9")]
    pub attributes: HashMap<String, Struct>,
    /// Which part of the exchange.
    #[prost(oneof = "Part", tags = "2, 3, 4, 5, 6, 7")]
    pub part: Option<Part>,
}

/// A part of an HTTP exchange.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Part {
    /// The headers of the request.
    #[prost(message, tag = "2")]
    RequestHeaders(HttpHeaders),
    /// The headers of the response.
    #[prost(message, tag = "3")]
    ResponseHeaders(HttpHeaders),
    /// Some of the request's body.
    #[prost(message, tag = "4")]
    RequestBody(Empty),
    /// Some of the response's body.
    #[prost(message, tag = "5")]
    ResponseBody(Empty),
    /// The trailers of the request.
    #[prost(message, tag = "6")]
    RequestTrailers(Empty),
    /// The trailers of the response.
    #[prost(message, tag = "7")]
    ResponseTrailers(HttpTrailers),
}

/// Headers of a request or a response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpHeaders {
    /// In the order in which they came.
    #[prost(message, optional, tag = "1")]
    pub headers: Option<HeaderMap>,
}

/// Trailers of a response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpTrailers {
    /// In the order in which they came.
    #[prost(message, optional, tag = "1")]
    pub trailers: Option<HeaderMap>,
}

/// Headers; a name may be there more than once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderMap {
    /// In the order in which they came.
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<HeaderValue>,
}

/// One header.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderValue {
    /// Its name, lower case.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value, where it is not given as bytes.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// Its value as bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub raw_value: Bytes,
}

impl HeaderMap {
    /// The values of a header, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers.iter().filter(move |header| header.key == name).map(HeaderValue::bytes)
    }

    /// The first value of a header.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }
}

impl HeaderValue {
    fn bytes(&self) -> &[u8] {
        if self.raw_value.is_empty() { &self.value } else { &self.raw_value }
    }
}

/// `google.protobuf.Struct`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Struct {
    /// By name.
    #[prost(map = "string, message", tag = "1")]
    pub fields: HashMap<String, Value>,
}

/// `google.protobuf.Value`, as far as attributes have it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// What it is.
    #[prost(oneof = "Kind", tags = "2, 3, 5")]
    pub kind: Option<Kind>,
}

/// Kinds of values.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    /// A number.
    #[prost(double, tag = "2")]
    Number(f64),
    /// Text.
    #[prost(string, tag = "3")]
    Text(String),
    /// More values by name.
    #[prost(message, tag = "5")]
    Struct(Struct),
}

/// What Envoy is told.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ProcessingResponse {
    /// For `%DYNAMIC_METADATA(…)%`, by namespace.
    #[prost(message, optional, tag = "8")]
    pub dynamic_metadata: Option<Struct>,
    /// Which parts of the exchange are wanted from here on; heard only where the configuration allows it.
    #[prost(message, optional, tag = "9")]
    pub mode_override: Option<ProcessingMode>,
    /// To which part this is the answer.
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6")]
    pub answer: Option<Answer>,
}

/// The answer to a part.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    /// To the headers of the request.
    #[prost(message, tag = "1")]
    RequestHeaders(HeadersResponse),
    /// To the headers of the response.
    #[prost(message, tag = "2")]
    ResponseHeaders(HeadersResponse),
    /// To some of the request's body.
    #[prost(message, tag = "3")]
    RequestBody(Empty),
    /// To some of the response's body.
    #[prost(message, tag = "4")]
    ResponseBody(Empty),
    /// To the trailers of the request.
    #[prost(message, tag = "5")]
    RequestTrailers(Empty),
    /// To the trailers of the response.
    #[prost(message, tag = "6")]
    ResponseTrailers(Empty),
}

/// What becomes of headers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeadersResponse {
    /// Nothing, unless given.
    #[prost(message, optional, tag = "1")]
    pub response: Option<CommonResponse>,
}

/// What becomes of a part.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CommonResponse {
    /// Changes to the headers.
    #[prost(message, optional, tag = "2")]
    pub header_mutation: Option<HeaderMutation>,
    /// The route is to be searched again.
    #[prost(bool, tag = "5")]
    pub clear_route_cache: bool,
}

/// Changes to headers.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderMutation {
    /// To be written.
    #[prost(message, repeated, tag = "1")]
    pub set_headers: Vec<HeaderValueOption>,
    /// To be removed.
    #[prost(string, repeated, tag = "2")]
    pub remove_headers: Vec<String>,
}

/// A header to be written.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeaderValueOption {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    /// What if it is there already.
    #[prost(enumeration = "AppendAction", tag = "3")]
    pub append_action: i32,
}

/// What to do with a header that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum AppendAction {
    /// It stays, and the other one comes behind it.
    Append = 0,
    /// It goes.
    Overwrite = 2,
}

/// Which parts of an exchange are wanted.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ProcessingMode {
    /// The headers of the response.
    #[prost(enumeration = "SendMode", tag = "2")]
    pub response_header_mode: i32,
    /// The trailers of the response.
    #[prost(enumeration = "SendMode", tag = "6")]
    pub response_trailer_mode: i32,
}

/// Whether a part is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub enum SendMode {
    /// As configured.
    Default = 0,
    /// Yes.
    Send = 1,
    /// No.
    Skip = 2,
}

/// Nothing that we would read or write.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Empty {}
