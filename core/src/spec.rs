//! A split as it travels: on the wire and in Envoy's shared data.
//!
//! Plain data, not yet checked; [`crate::split::Split`] is made from it and cannot be wrong.

use crate::codec::{Damaged, Reader, Writer};
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
        let mut content = Writer::default();
        self.write_content(&mut content);
        xxhash_rust::xxh3::xxh3_64(&content.finish()) as u32
    }

    /// Writes the fields of a record (see [`crate::codec`]).
    pub fn write(&self, to: &mut Writer) {
        to.number(self.generation);
        self.write_content(to);
    }

    fn write_content(&self, to: &mut Writer) {
        to.string(&self.name);
        to.list(self.subsets.iter(), |w, s| {
            w.string(&s.name);
            w.number(s.weight.into());
        });
        to.string(&self.default);
        to.list(self.hosts.iter(), |w, host| w.string(host));
        to.record(|w| self.assignment.write(w));
        to.list(self.overrides.iter(), |w, o| {
            let (kind, name) = match &o.source {
                OverrideSource::Header(name) => (0, name),
                OverrideSource::Cookie(name) => (1, name),
            };
            w.number(kind);
            w.string(name);
            w.string(&o.value);
            w.string(&o.subset);
        });
        to.number(self.trust_upstream.into());
        to.number(self.write_default.into());
        to.number(self.protocol as u64);
    }

    /// Reads the fields of a record. What this version does not know is an error where ignoring it would decide
    /// requests differently.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self {
            generation: from.number()?,
            name: from.string()?,
            subsets: from.list(|r| Ok(SubsetSpec { name: r.string()?, weight: r.small()? }))?,
            default: from.string()?,
            hosts: from.list(Reader::string)?,
            assignment: Assignment::read(&mut from.record()?)?,
            overrides: from.list(|r| {
                let source = match (r.number()?, r.string()?) {
                    (0, name) => OverrideSource::Header(name),
                    (1, name) => OverrideSource::Cookie(name),
                    _ => return Err(Damaged),
                };
                Ok(Override { source, value: r.string()?, subset: r.string()? })
            })?,
            trust_upstream: from.flag()?,
            write_default: from.flag()?,
            protocol: match from.number()? {
                0 => Protocol::Http,
                1 => Protocol::Grpc,
                _ => return Err(Damaged),
            },
        })
    }
}

impl Assignment {
    fn write(&self, to: &mut Writer) {
        let Self::Sticky(sticky) = self else {
            to.number(matches!(self, Self::Random).into());
            return;
        };
        to.number(2);
        to.string(&sticky.salt);
        match &sticky.key {
            StickyKey::Header(name) => {
                to.number(0);
                to.string(name);
            }
            StickyKey::Cookie { name, ttl } => {
                to.number(1);
                to.string(name);
                // 0 is "no ttl", so a ttl of n is n + 1.
                to.number(ttl.map_or(0, |seconds| u64::from(seconds) + 1));
            }
            StickyKey::SourceAddress => to.number(2),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        match from.number()? {
            0 => return Ok(Self::Even),
            1 => return Ok(Self::Random),
            2 => {}
            _ => return Err(Damaged),
        }
        let salt = from.string()?;
        let key = match from.number()? {
            0 => StickyKey::Header(from.string()?),
            1 => {
                let name = from.string()?;
                let ttl = from.number()?.checked_sub(1).map(u32::try_from).transpose().map_err(|_| Damaged)?;
                StickyKey::Cookie { name, ttl }
            }
            2 => StickyKey::SourceAddress,
            _ => return Err(Damaged),
        };
        Ok(Self::Sticky(Sticky { key, salt }))
    }
}
