//! From a TrafficSplit as written to what it means, or why it was refused and at which field.

use super::{
    nearest::hint,
    traffic_split::{AssignmentKind, OverrideEntry, ProtocolKind, StickySpec, TrafficSplitSpec},
    tree::Step,
};
use sluicegate_core::{
    name::{self, NameError},
    spec::{Assignment, Override, OverrideSource, Protocol, SplitSpec, Sticky, StickyKey, SubsetSpec},
    split::{Split, SplitError},
};
use std::time::Duration;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The field, from the top of the document.
    pub path: Vec<Step>,
    /// What is wrong and what to do.
    pub message: String,
}

pub(super) fn refuse<T, const N: usize>(path: [Step; N], message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { path: path.into(), message: message.into() })
}

/// The split this document means, with generation 0: the store gives it one.
pub fn split(name: String, written: &TrafficSplitSpec) -> Result<SplitSpec, Refusal> {
    let default = match &written.default {
        Some(default) => default.clone(),
        None => {
            let main = written.subsets.iter().find(|s| s.name == "main");
            main.or(written.subsets.first()).map(|s| s.name.clone()).unwrap_or_default()
        }
    };
    let trust_upstream = written.trust_upstream.unwrap_or(false);
    if trust_upstream && written.write_default == Some(false) {
        return refuse(
            ["spec".into(), "writeDefault".into()],
            "trustUpstream needs the header for the default subset too, or the next hop cannot see that it was \
             chosen; leave writeDefault out",
        );
    }
    let spec = SplitSpec {
        generation: 0,
        subsets: written.subsets.iter().map(|s| SubsetSpec { name: s.name.clone(), weight: s.weight }).collect(),
        default,
        hosts: written.hosts.clone(),
        assignment: assignment(&name, written)?,
        overrides: written.overrides.iter().enumerate().map(override_entry).collect::<Result<_, _>>()?,
        trust_upstream,
        write_default: written.write_default.unwrap_or(trust_upstream),
        protocol: match written.protocol.unwrap_or_default() {
            ProtocolKind::Http => Protocol::Http,
            ProtocolKind::Grpc => Protocol::Grpc,
        },
        name,
    };
    for (i, host) in spec.hosts.iter().enumerate() {
        if spec.hosts.iter().take(i).any(|h| h == host) {
            return refuse(["spec".into(), "hosts".into(), i.into()], format!("host {host:?} is listed twice"));
        }
    }
    match Split::try_from(spec.clone()) {
        Ok(_) => Ok(spec),
        Err(why) => Err(Refusal { path: place(&why, &spec), message: explain(&why, &spec) }),
    }
}

fn assignment(split: &str, written: &TrafficSplitSpec) -> Result<Assignment, Refusal> {
    match (written.assignment.unwrap_or_default(), &written.sticky) {
        (AssignmentKind::Even, None) => Ok(Assignment::Even),
        (AssignmentKind::Random, None) => Ok(Assignment::Random),
        (AssignmentKind::Sticky, Some(sticky)) => Ok(Assignment::Sticky(Sticky {
            key: sticky_key(sticky)?,
            salt: sticky.salt.clone().unwrap_or_else(|| split.to_owned()),
        })),
        (AssignmentKind::Sticky, None) => refuse(
            ["spec".into(), "assignment".into()],
            "assignment: sticky needs to know by what; add for example sticky: { header: x-user-id }",
        ),
        (_, Some(_)) => refuse(
            ["spec".into(), "sticky".into()],
            "sticky has no effect with this assignment; set assignment: sticky, or leave sticky out",
        ),
    }
}

fn sticky_key(sticky: &StickySpec) -> Result<StickyKey, Refusal> {
    let source_address = match sticky.source_address {
        Some(false) => {
            return refuse(
                ["spec".into(), "sticky".into(), "sourceAddress".into()],
                "sourceAddress can only be true; leave it out instead",
            );
        }
        given => given.map(|_| StickyKey::SourceAddress),
    };
    let cookie = match &sticky.cookie {
        Some(cookie) => {
            Some(StickyKey::Cookie { name: cookie.name.clone(), ttl: cookie.ttl.as_deref().map(ttl).transpose()? })
        }
        None => None,
    };
    let keys = [sticky.header.clone().map(StickyKey::Header), cookie, source_address];
    let mut keys = keys.into_iter().flatten();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Ok(key),
        (None, _) => refuse(
            ["spec".into(), "sticky".into()],
            "sticky needs one of header, cookie and sourceAddress, for example sticky: { header: x-user-id }",
        ),
        _ => refuse(
            ["spec".into(), "sticky".into()],
            "sticky goes by one of header, cookie and sourceAddress; keep one and leave the others out",
        ),
    }
}

/// Seconds of a lifetime such as `90s`, `24h` or `30d`.
fn ttl(text: &str) -> Result<u32, Refusal> {
    let path = || ["spec".into(), "sticky".into(), "cookie".into(), "ttl".into()];
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let parsed = match days {
        Some(days) => Some(u64::from(days) * 86_400),
        None => text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()).map(|d| d.as_secs()),
    };
    match parsed.map(u32::try_from) {
        Some(Ok(seconds)) if seconds > 0 => Ok(seconds),
        Some(_) => refuse(path(), format!("ttl {text:?} must be between 1s and 49710d")),
        None => refuse(path(), format!("ttl {text:?} is not a duration; write for example 90s, 30m, 24h or 30d")),
    }
}

fn override_entry((i, entry): (usize, &OverrideEntry)) -> Result<Override, Refusal> {
    let source = match (&entry.header, &entry.cookie) {
        (Some(header), None) => OverrideSource::Header(header.clone()),
        (None, Some(cookie)) => OverrideSource::Cookie(cookie.clone()),
        _ => {
            return refuse(
                ["spec".into(), "overrides".into(), i.into()],
                "an override looks at one of header and cookie: give exactly one of them",
            );
        }
    };
    Ok(Override { source, value: entry.value.clone(), subset: entry.subset.clone() })
}

/// The field a complaint of the core is about.
fn place(why: &SplitError, spec: &SplitSpec) -> Vec<Step> {
    let subset = |wrong: &str| spec.subsets.iter().rposition(|s| s.name == wrong);
    match why {
        SplitError::Duplicate(wrong) => match subset(wrong) {
            Some(i) => vec!["spec".into(), "subsets".into(), i.into(), "name".into()],
            None => vec!["spec".into(), "subsets".into()],
        },
        SplitError::SubsetCount(_) | SplitError::NoWeight => vec!["spec".into(), "subsets".into()],
        SplitError::Unknown { what: "default", .. } => vec!["spec".into(), "default".into()],
        SplitError::Unknown { subset, .. } => {
            let at = spec.overrides.iter().position(|o| o.subset == *subset).unwrap_or(0);
            vec!["spec".into(), "overrides".into(), at.into(), "subset".into()]
        }
        SplitError::TooMany { what, .. } => vec!["spec".into(), (*what).into()],
        SplitError::TrustWithoutDefault => vec!["spec".into(), "trustUpstream".into()],
        SplitError::Name(wrong) => name_place(wrong, spec),
    }
}

fn name_place(wrong: &NameError, spec: &SplitSpec) -> Vec<Step> {
    match wrong {
        NameError::Label { what: "subset name", name } => {
            let at = spec.subsets.iter().position(|s| s.name == *name).unwrap_or(0);
            vec!["spec".into(), "subsets".into(), at.into(), "name".into()]
        }
        NameError::Label { what: "namespace", .. } => vec!["metadata".into(), "namespace".into()],
        NameError::Label { .. } | NameError::SplitName(_) => vec!["metadata".into(), "name".into()],
        NameError::Host(host) => {
            let at = spec.hosts.iter().position(|h| h == host).unwrap_or(0);
            vec!["spec".into(), "hosts".into(), at.into()]
        }
        NameError::Token { .. } | NameError::Reserved { .. } | NameError::Underscore(_) => {
            let wrong_source = |o: &Override| match &o.source {
                OverrideSource::Header(h) => name::read_header(h).is_err(),
                OverrideSource::Cookie(c) => name::cookie(c).is_err(),
            };
            match spec.overrides.iter().position(wrong_source) {
                Some(at) => vec!["spec".into(), "overrides".into(), at.into()],
                None => vec!["spec".into(), "sticky".into()],
            }
        }
    }
}

fn explain(why: &SplitError, spec: &SplitSpec) -> String {
    match why {
        SplitError::Unknown { subset, .. } => {
            format!("{why}{}", hint(subset, spec.subsets.iter().map(|s| s.name.as_str())))
        }
        _ => why.to_string(),
    }
}
