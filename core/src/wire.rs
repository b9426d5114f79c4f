//! What filter and controller say to each other over HTTP: `POST /v1/sync` and `POST /v1/report`.
//!
//! Filters speak the compact encoding ([`crate::message`]), people and tests JSON; the media type tells. Fields unknown
//! to a reader are ignored either way, so that filter and controller can be upgraded in any order. An answer is believed only with status 200 and our own mark at
//! its head, because Envoy's own error pages look like answers too.

use crate::{counts::Counts, sorted::Sorted, spec::SplitSpec};
use serde::{Deserialize, Serialize};

/// Version of this protocol, sent as `sluicegate` in every message.
pub const PROTOCOL: u32 = 1;
/// Path of the long poll.
pub const SYNC_PATH: &str = "/v1/sync";
/// Path of the counts.
pub const REPORT_PATH: &str = "/v1/report";
/// What the answer to a report begins with.
pub const REPORT_ANSWER: &[u8] = b"{\"sluicegate\":1";
/// A sync answer longer than this is refused.
pub const MAX_ANSWER: usize = 16 << 20;

/// A place in one controller process's sequence of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cursor {
    /// Random per controller process.
    #[serde(with = "hex")]
    pub instance: u64,
    /// Counts the changes that process has published.
    pub seq: u64,
}

/// Who is asking: one filter configuration in one Envoy process.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProxyId {
    /// Random per Envoy process and plugin, kept in shared data, so that a restarted Envoy is a new proxy.
    #[serde(with = "hex")]
    pub epoch: u64,
    /// Envoy's node id, for people.
    pub node: String,
    /// The plugin's name in Envoy's configuration, for people.
    pub plugin: String,
}

/// What a filter wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Subscription {
    /// One split by name.
    Split(String),
    /// Every split that lists hosts.
    Hosts,
}

/// What a build of the filter can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abilities {
    /// Observes outcomes and reports them.
    pub counts: bool,
    /// Issues sticky cookies.
    pub cookies: bool,
}

/// The generation a proxy runs, with the digest of its content (see [`SplitSpec::digest`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack(pub u64, pub u32);

/// `POST /v1/sync`: acks what the proxy runs and waits for what is newer than `cursor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// [`PROTOCOL`].
    pub sluicegate: u32,
    /// Who is asking.
    pub proxy: ProxyId,
    /// Version of the filter, for people.
    pub version: String,
    /// What this build can do.
    pub abilities: Abilities,
    /// What it wants to know.
    pub subscription: Subscription,
    /// `None`: knows nothing yet.
    pub cursor: Option<Cursor>,
    /// Milliseconds the controller may hold the answer.
    pub hold: u32,
    /// True: `acks` names all the proxy runs. False: only what the last answer touched.
    pub full: bool,
    /// By split name.
    pub acks: Sorted<String, Ack>,
}

/// A split that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// `namespace/name`.
    pub name: String,
    /// Of the deletion; higher than any generation of its content.
    pub generation: u64,
}

/// Answer to a sync: a delta, or a full snapshot when the cursor was unknown. Both are merged the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// [`PROTOCOL`].
    pub sluicegate: u32,
    /// Where the proxy is once it has merged this.
    pub cursor: Cursor,
    /// New or changed.
    pub splits: Vec<SplitSpec>,
    /// Deleted.
    pub removed: Vec<Removed>,
    /// Milliseconds between two reports.
    pub report: u32,
}

/// `POST /v1/report`: cumulative counts since this proxy's epoch began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`PROTOCOL`].
    pub sluicegate: u32,
    /// Who reports.
    pub proxy: ProxyId,
    /// Those that changed since the last report that was answered with 200.
    pub series: Vec<Series>,
}

/// Cumulative counts of one subset of one split at one sampling rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// `namespace/name`.
    pub split: String,
    /// Subset name.
    pub subset: String,
    /// Outcomes and latencies were observed of one in this many requests; a power of two.
    pub sample: u32,
    /// The numbers.
    pub counts: Counts,
}

/// Answer to a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportAnswer {
    /// [`PROTOCOL`].
    pub sluicegate: u32,
}

/// Random ids as 16 hex digits, since JSON numbers stop being exact at 2^53 for some readers.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(id: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format!("{id:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        u64::from_str_radix(&text, 16).map_err(|_| D::Error::custom(format!("\"{text}\" is not 16 hex digits")))
    }
}
