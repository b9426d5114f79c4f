//! A split as it travels: on the wire (JSON) and in Envoy's shared data (postcard).
//!
//! Plain data, not yet checked; [`crate::split::Split`] is made from it and cannot be wrong. No field may be skipped
//! when written, because postcard does not name its fields.

use serde::{Deserialize, Serialize};

/// One split with the generation its content has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitSpec {
    /// `namespace/name`.
    pub name: String,
    /// Monotone per split; a proxy never goes back to a smaller one.
    pub generation: u64,
    /// In interval order: rollouts list canary, main, baseline, so that main gives way in the middle.
    pub subsets: Vec<SubsetSpec>,
    /// The subset whose requests go out without the subset header.
    pub default: String,
    /// Lower-case hosts, exact or `*.` wildcard; for filters that serve many splits.
    pub hosts: Vec<String>,
    /// How a request without override gets its subset.
    pub assignment: Assignment,
    /// Looked at before weights; the first match wins.
    pub overrides: Vec<Override>,
    /// Keep a subset header set by an earlier hop when it names a subset of this split.
    pub trust_upstream: bool,
    /// Send the header for the default subset too.
    pub write_default: bool,
    /// How outcomes are read.
    pub protocol: Protocol,
}

/// A subset and its share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubsetSpec {
    /// A DNS label.
    pub name: String,
    /// Relative to the sum of all weights.
    pub weight: u32,
}

/// How a request without override gets its subset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Assignment {
    /// Low discrepancy: counts track the weights at every moment.
    Even,
    /// Independent draws.
    Random,
    /// By a key of the request; even when the request has none.
    Sticky(Sticky),
}

/// What stickiness hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sticky {
    /// Where the key is.
    pub key: StickyKey,
    /// Different salts pick different users. The split's name unless the user says otherwise.
    pub salt: String,
}

/// Where the sticky key of a request is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StickyKey {
    /// The value of this header.
    Header(String),
    /// The value of this cookie; issued when missing.
    Cookie {
        /// Cookie name.
        name: String,
        /// Seconds the issued cookie lives; `None`: until the browser closes.
        ttl: Option<u32>,
    },
    /// The client's address as Envoy trusts it, without port.
    SourceAddress,
}

/// A request that matches gets this subset whatever the weights are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// What to look at.
    pub source: OverrideSource,
    /// Compared byte by byte.
    pub value: String,
    /// The subset of a request that matches.
    pub subset: String,
}

/// What an override looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OverrideSource {
    /// A request header.
    Header(String),
    /// A cookie.
    Cookie(String),
}

/// How the outcome of a request is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// By `:status`.
    #[default]
    Http,
    /// By gRPC status; failures of gRPC are HTTP 200.
    Grpc,
}

impl SplitSpec {
    /// A fingerprint of everything but the generation: two controllers that use one generation for different
    /// content are told apart by it.
    pub fn digest(&self) -> u32 {
        let mut content = self.clone();
        content.generation = 0;
        // Writing to a Vec cannot fail for this type; an empty vector would only make digests equal.
        let bytes = postcard::to_allocvec(&content).unwrap_or_default();
        xxhash_rust::xxh3::xxh3_64(&bytes) as u32
    }
}
