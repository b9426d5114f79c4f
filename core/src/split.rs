//! A split that cannot be wrong: names checked, weights summed, subsets by index.

use crate::{
    key, name,
    name::NameError,
    spec::{Assignment, OverrideSource, Protocol, SplitSpec, StickyKey},
};
use thiserror::Error;

/// Most subsets one split may have.
pub const MAX_SUBSETS: usize = 16;
/// Most hosts one split may list.
pub const MAX_HOSTS: usize = 256;
/// Most overrides one split may list; each costs a header read per request.
pub const MAX_OVERRIDES: usize = 16;
/// Main is sampled at most this thin.
pub const MAX_SAMPLE: u32 = 64;

/// Why a split was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SplitError {
    /// A name would not do.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Nothing to pick from, or too much.
    #[error("a split has 1 to {MAX_SUBSETS} subsets, this one has {0}")]
    SubsetCount(usize),
    /// One name, two subsets.
    #[error("subset \"{0}\" is listed twice")]
    Duplicate(String),
    /// Every weight is 0.
    #[error("all weights are 0; give at least one subset a weight above 0")]
    NoWeight,
    /// A subset was named that is not in the list.
    #[error("{what} names subset \"{}\", which is not one of {known}", .subset.escape_default())]
    Unknown {
        /// The field that names it.
        what: &'static str,
        /// The name it gives.
        subset: String,
        /// The subsets there are.
        known: String,
    },
    /// More entries than the filter keeps.
    #[error("{what}: at most {max}, this split has {got}")]
    TooMany {
        /// The field.
        what: &'static str,
        /// Its limit.
        max: usize,
        /// What was given.
        got: usize,
    },
    /// Without the header for main, the next hop cannot tell "main was chosen" from "nobody chose".
    #[error("trustUpstream needs writeDefault: true, or the next hop cannot see that the default subset was chosen")]
    TrustWithoutDefault,
}

/// One subset, ready to pick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subset {
    /// Its name, and the value of the subset header.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// Sum of the weights up to and including this one.
    pub upto: u64,
    /// One of this many requests has its outcome observed; a power of two.
    pub sample: u32,
}

/// Where the key of a sticky split is, with the salt already hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sticky {
    /// Where the key is.
    pub key: StickyKey,
    /// Seed of the hash, made of the salt.
    pub seed: u64,
}

/// How a request without override gets its subset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chooser {
    /// See [`crate::pick::Even`].
    Even,
    /// A fresh random point.
    Random,
    /// By key.
    Sticky(Sticky),
}

/// An override with its subset's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// What to look at.
    pub source: OverrideSource,
    /// Compared byte by byte.
    pub value: Vec<u8>,
    /// Index into [`Split::subsets`].
    pub subset: usize,
}

/// A split, ready to pick from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// `namespace/name`.
    pub name: String,
    /// Of the content.
    pub generation: u64,
    /// In interval order; 1 to [`MAX_SUBSETS`] of them.
    pub subsets: Vec<Subset>,
    /// Sum of all weights, above 0 and below 2^36.
    pub total: u64,
    /// Index of the subset that goes without header.
    pub default: usize,
    /// Exact hosts and wildcards, lower case.
    pub hosts: Vec<String>,
    /// How to pick.
    pub chooser: Chooser,
    /// Before weights, in order.
    pub overrides: Vec<Override>,
    /// Keep an earlier hop's choice.
    pub trust_upstream: bool,
    /// Send the header for the default subset too.
    pub write_default: bool,
    /// How outcomes are read.
    pub protocol: Protocol,
}

impl Split {
    /// Index of the subset with this name.
    pub fn index(&self, name: &[u8]) -> Option<usize> {
        self.subsets.iter().position(|s| s.name.as_bytes() == name)
    }
}

/// How thin a subset of this weight is sampled: down to the size of the smallest other subset that gets traffic, in
/// powers of two, since a comparison is as good as its smaller side.
fn sample_rate(weight: u32, smallest_other: Option<u32>) -> u32 {
    let ratio = match smallest_other {
        Some(other) => weight / other.max(1),
        None => MAX_SAMPLE,
    };
    let ratio = ratio.clamp(1, MAX_SAMPLE);
    1 << (31 - ratio.leading_zeros())
}

impl TryFrom<SplitSpec> for Split {
    type Error = SplitError;

    fn try_from(spec: SplitSpec) -> Result<Self, SplitError> {
        name::split(&spec.name)?;
        if !(1..=MAX_SUBSETS).contains(&spec.subsets.len()) {
            return Err(SplitError::SubsetCount(spec.subsets.len()));
        }
        let mut total = 0_u64;
        let mut subsets: Vec<Subset> = Vec::with_capacity(spec.subsets.len());
        for (i, subset) in spec.subsets.iter().enumerate() {
            name::subset(&subset.name)?;
            if subsets.iter().any(|s| s.name == subset.name) {
                return Err(SplitError::Duplicate(subset.name.clone()));
            }
            total += u64::from(subset.weight);
            let others = spec.subsets.iter().enumerate().filter(|(j, s)| *j != i && s.weight > 0);
            let sample = sample_rate(subset.weight, others.map(|(_, s)| s.weight).min());
            subsets.push(Subset { name: subset.name.clone(), weight: subset.weight, upto: total, sample });
        }
        if total == 0 {
            return Err(SplitError::NoWeight);
        }
        let find = |what, subset: &str| {
            subsets.iter().position(|s| s.name == subset).ok_or_else(|| SplitError::Unknown {
                what,
                subset: subset.to_owned(),
                known: subsets.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", "),
            })
        };
        let default = find("default", &spec.default)?;
        if spec.trust_upstream && !spec.write_default {
            return Err(SplitError::TrustWithoutDefault);
        }
        check_count("hosts", spec.hosts.len(), MAX_HOSTS)?;
        spec.hosts.iter().try_for_each(|h| name::host(h))?;
        check_count("overrides", spec.overrides.len(), MAX_OVERRIDES)?;
        let mut overrides = Vec::with_capacity(spec.overrides.len());
        for o in spec.overrides {
            let source = match o.source {
                OverrideSource::Header(h) => OverrideSource::Header(name::read_header(&h)?),
                OverrideSource::Cookie(c) => {
                    name::cookie(&c)?;
                    OverrideSource::Cookie(c)
                }
            };
            let subset = find("override", &o.subset)?;
            overrides.push(Override { source, value: o.value.into_bytes(), subset });
        }
        let chooser = match spec.assignment {
            Assignment::Even => Chooser::Even,
            Assignment::Random => Chooser::Random,
            Assignment::Sticky(s) => {
                let key = match s.key {
                    StickyKey::Header(h) => StickyKey::Header(name::read_header(&h)?),
                    StickyKey::Cookie { name, ttl } => {
                        name::cookie(&name)?;
                        StickyKey::Cookie { name, ttl }
                    }
                    StickyKey::SourceAddress => StickyKey::SourceAddress,
                };
                Chooser::Sticky(Sticky { key, seed: key::seed(&s.salt) })
            }
        };
        Ok(Self {
            name: spec.name,
            generation: spec.generation,
            subsets,
            total,
            default,
            hosts: spec.hosts,
            chooser,
            overrides,
            trust_upstream: spec.trust_upstream,
            write_default: spec.write_default,
            protocol: spec.protocol,
        })
    }
}

fn check_count(what: &'static str, got: usize, max: usize) -> Result<(), SplitError> {
    if got > max { Err(SplitError::TooMany { what, max, got }) } else { Ok(()) }
}
