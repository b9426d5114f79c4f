//! Names that are safe to write into a request and to build metric names from.
//!
//! Envoy's host call accepts any header name and value from a filter, and its router then answers 503; so what the
//! router would refuse is refused here, when a configuration or a split is read.

use thiserror::Error;

/// Longest DNS label (RFC 1035 §2.3.4), the limit for subset names and both halves of a split name.
pub const MAX_LABEL: usize = 63;
/// Longest DNS name in text form (RFC 1035 §2.3.4), the limit for hosts.
pub const MAX_HOST: usize = 253;
/// Longest IPv6 address in text form (RFC 4291 §2.2, with an IPv4 tail).
const MAX_ADDRESS: usize = 45;

/// Why a name was refused; the message says what would be accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Not a DNS label.
    #[error("{what} \"{}\" must be 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit", .name.escape_default())]
    Label {
        /// What was being named.
        what: &'static str,
        /// The name as given.
        name: String,
    },
    /// Not `namespace/name`.
    #[error("split name \"{}\" must be NAMESPACE/NAME, for example default/backend", .0.escape_default())]
    SplitName(String),
    /// Not an HTTP field name.
    #[error("{what} \"{}\" is not an HTTP field name (RFC 9110: letters, digits and !#$%&'*+-.^_`|~)", .name.escape_default())]
    Token {
        /// What was being named.
        what: &'static str,
        /// The name as given.
        name: String,
    },
    /// A name that has a meaning of its own in HTTP or in Envoy.
    #[error(
        "{what} \"{name}\" has a meaning of its own in HTTP; choose a name of your own such as x-sluicegate-subset"
    )]
    Reserved {
        /// What was being named.
        what: &'static str,
        /// The name as given.
        name: String,
    },
    /// Envoy Gateway rejects requests whose header names have underscores.
    #[error("header \"{0}\" has an underscore, which Envoy Gateway rejects; use '-'")]
    Underscore(String),
    /// Not a host or `*.` wildcard.
    #[error("host \"{}\" must be a lower-case DNS name, '*.' and a DNS name, or an address, without port", .0.escape_default())]
    Host(String),
}

/// Headers that steer the connection or the request itself; writing or keying on them breaks it.
const RESERVED_HEADERS: [&str; 13] = [
    "host",
    "content-length",
    "content-type",
    "connection",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "keep-alive",
    "proxy-connection",
    "expect",
    "cookie",
    "set-cookie",
];

fn is_label(name: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    bytes.len() <= MAX_LABEL
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// A subset name: a DNS label, so that it is a valid header value, metric label and Kubernetes name suffix.
pub fn subset(name: &str) -> Result<(), NameError> {
    if is_label(name) { Ok(()) } else { Err(NameError::Label { what: "subset name", name: name.to_owned() }) }
}

/// A split name `namespace/name`, both DNS labels.
pub fn split(name: &str) -> Result<(), NameError> {
    let (namespace, own) = name.split_once('/').ok_or_else(|| NameError::SplitName(name.to_owned()))?;
    for (what, part) in [("namespace", namespace), ("name", own)] {
        if !is_label(part) {
            return Err(NameError::Label { what, name: part.to_owned() });
        }
    }
    Ok(())
}

/// A header the filter reads (sticky key, override). Returns it in lower case.
pub fn read_header(name: &str) -> Result<String, NameError> {
    let what = "header";
    let lower = name.to_ascii_lowercase();
    if lower.starts_with(':') || RESERVED_HEADERS.contains(&lower.as_str()) {
        return Err(NameError::Reserved { what, name: name.to_owned() });
    }
    if is_token(&lower) { Ok(lower) } else { Err(NameError::Token { what, name: name.to_owned() }) }
}

/// A header the filter writes (the subset header). Returns it in lower case.
pub fn written_header(name: &str) -> Result<String, NameError> {
    let lower = read_header(name)?;
    if lower.contains('_') { Err(NameError::Underscore(name.to_owned())) } else { Ok(lower) }
}

/// A cookie name (RFC 6265 §4.1.1: a token).
pub fn cookie(name: &str) -> Result<(), NameError> {
    if is_token(name) { Ok(()) } else { Err(NameError::Token { what: "cookie name", name: name.to_owned() }) }
}

/// A host as a split lists it: `www.example.com`, `localhost`, an IP address, or `*.example.com`.
pub fn host(name: &str) -> Result<(), NameError> {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let dns = !rest.is_empty()
        && name.len() <= MAX_HOST
        && rest.split('.').all(|label| {
            (1..=MAX_LABEL).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        });
    let address = name.strip_prefix('[').and_then(|r| r.strip_suffix(']')).is_some_and(|inner| {
        (2..=MAX_ADDRESS).contains(&inner.len())
            && inner.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b':' | b'.'))
    });
    if dns || address { Ok(()) } else { Err(NameError::Host(name.to_owned())) }
}
