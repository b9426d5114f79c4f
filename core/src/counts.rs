//! What came back: cumulative counts of one series, and how one outcome is classed.

use crate::{
    codec::{Damaged, Reader, Writer},
    latency::Histogram,
};
use serde::{Deserialize, Serialize};

/// How one observed request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// 1xx, an upgrade.
    Informational,
    /// 2xx; for gRPC status 0.
    Success,
    /// 3xx.
    Redirect,
    /// 4xx; for gRPC a status that blames the caller.
    ClientError,
    /// 5xx of the upstream itself; for gRPC a status that blames the server.
    ServerError,
    /// No answer from the upstream, or a broken one: reset, timeout, overflow.
    LocalFailure,
    /// The client left before there was an answer: says nothing about the subset.
    Abandoned,
    /// No upstream to send it to: no healthy host, connection refused, no cluster, no route.
    Unreached,
}

/// All outcomes, in the order of their counters.
pub const OUTCOMES: [Outcome; 8] = [
    Outcome::Informational,
    Outcome::Success,
    Outcome::Redirect,
    Outcome::ClientError,
    Outcome::ServerError,
    Outcome::LocalFailure,
    Outcome::Abandoned,
    Outcome::Unreached,
];

/// Envoy's response flags that mean an upstream was not, or not wholly, heard: UT 4, LR 8, UR 0x10, UC 0x40, UO 0x80,
/// UPE 0x800000.
const LOCAL_FAILURE: u64 = 4 | 8 | 0x10 | 0x40 | 0x80 | 0x80_0000;
/// Those that mean that there was none: LH 1, UH 2, UF 0x20, NR 0x100, NC 0x1000000.
const UNREACHED: u64 = 1 | 2 | 0x20 | 0x100 | 0x100_0000;

impl Outcome {
    /// Its name in metrics and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirect => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::LocalFailure => "local",
            Self::Abandoned => "abandoned",
            Self::Unreached => "unreached",
        }
    }

    /// Counts against the subset.
    pub fn is_error(self) -> bool {
        matches!(self, Self::ServerError | Self::LocalFailure | Self::Unreached)
    }

    /// Of an HTTP request: its status, if there was one, and Envoy's response flags (asked for only when the status
    /// is missing or 5xx; 0 otherwise).
    pub fn of_http(status: Option<u16>, flags: u64) -> Self {
        match status {
            Some(100..200) => Self::Informational,
            _ if flags & UNREACHED != 0 => Self::Unreached,
            _ if flags & LOCAL_FAILURE != 0 => Self::LocalFailure,
            Some(200..300) => Self::Success,
            Some(300..400) => Self::Redirect,
            Some(400..500) => Self::ClientError,
            Some(_) => Self::ServerError,
            None => Self::Abandoned,
        }
    }

    /// Of a gRPC call (status codes: grpc.io/docs/guides/status-codes): unknown 2, deadline 4, unimplemented 12,
    /// internal 13, unavailable 14 and data loss 15 blame the server.
    pub fn of_grpc(grpc_status: Option<u64>, flags: u64) -> Self {
        match grpc_status {
            _ if flags & UNREACHED != 0 => Self::Unreached,
            _ if flags & LOCAL_FAILURE != 0 => Self::LocalFailure,
            Some(0) => Self::Success,
            Some(2 | 4 | 12 | 13 | 14 | 15) => Self::ServerError,
            Some(_) => Self::ClientError,
            None => Self::Abandoned,
        }
    }
}

/// Cumulative counts of one series.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests sent to the subset, every one, whatever the sampling rate.
    pub requests: u64,
    /// Observed outcomes, in the order of [`OUTCOMES`]: one in `sample` requests.
    #[serde(deserialize_with = "outcomes")]
    pub outcomes: [u64; OUTCOMES.len()],
    /// Chosen for observation but not followed to their end, because too many were under way at once.
    pub unobserved: u64,
    /// Latency of observed requests that had an answer, in µs buckets (see [`crate::latency`]).
    pub latency: Histogram,
}

/// Those that are not there are 0, and those not known yet are left out, as in [`Counts::read`].
fn outcomes<'de, D: serde::Deserializer<'de>>(from: D) -> Result<[u64; OUTCOMES.len()], D::Error> {
    let mut outcomes = [0; OUTCOMES.len()];
    let read = Vec::<u64>::deserialize(from)?;
    outcomes.iter_mut().zip(read).for_each(|(own, read)| *own = read);
    Ok(outcomes)
}

impl Counts {
    /// Writes the fields of a record (see [`crate::codec`]).
    pub fn write(&self, to: &mut Writer) {
        to.number(self.requests);
        to.number(self.unobserved);
        to.list(self.outcomes.iter(), |w, count| w.number(*count));
        to.list(self.latency.0.iter(), |w, (bucket, count)| {
            w.number((*bucket).into());
            w.number(*count);
        });
    }

    /// Reads the fields of a record.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut counts = Self { requests: from.number()?, unobserved: from.number()?, ..Self::default() };
        let outcomes = from.list(Reader::number)?;
        counts.outcomes.iter_mut().zip(outcomes).for_each(|(own, read)| *own = read);
        for (bucket, count) in from.list(|r| Ok((r.small()?, r.number()?)))? {
            counts.latency.add(bucket as usize, count);
        }
        Ok(counts)
    }

    /// How many had this outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome as usize).copied().unwrap_or(0)
    }

    /// How many were observed to their end.
    pub fn observed(&self) -> u64 {
        self.outcomes.iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// How many of the observed count against the subset.
    pub fn errors(&self) -> u64 {
        OUTCOMES.iter().filter(|o| o.is_error()).fold(0, |sum, o| sum.saturating_add(self.outcome(*o)))
    }

    /// Adds other counts.
    pub fn merge(&mut self, other: &Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.unobserved = self.unobserved.saturating_add(other.unobserved);
        for (own, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *own = own.saturating_add(more);
        }
        self.latency.merge(&other.latency);
    }

    /// What came on top of an earlier state of the same series; `None` when any count went backwards, which means the
    /// series began anew.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let mut outcomes = [0; OUTCOMES.len()];
        for (delta, (now, then)) in outcomes.iter_mut().zip(self.outcomes.iter().zip(earlier.outcomes)) {
            *delta = now.checked_sub(then)?;
        }
        Some(Self {
            requests: self.requests.checked_sub(earlier.requests)?,
            outcomes,
            unobserved: self.unobserved.checked_sub(earlier.unobserved)?,
            latency: self.latency.since(&earlier.latency)?,
        })
    }

    /// Nothing counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
