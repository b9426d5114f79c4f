//! The plugin configuration: JSON from EnvoyExtensionPolicy, WasmPlugin or envoy.yaml. Parsed once; a field that is
//! wrong is named.

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use sluicegate_core::{
    name::{self, NameError},
    spec::{Assignment, Protocol, SplitSpec, SubsetSpec},
    split::{Split, SplitError},
    wire::Subscription,
};
use std::{fmt, marker::PhantomData};
use thiserror::Error;

/// The subset header unless configured otherwise.
pub const DEFAULT_HEADER: &str = "x-sluicegate-subset";

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Nothing given.
    #[error(
        "the plugin has no configuration; give at least \
         {{\"controller\": {{\"cluster\": \"sluicegate\"}}, \"split\": \"default/backend\"}}"
    )]
    Missing,
    /// Not JSON, or not these fields.
    #[error("plugin configuration: {0}")]
    Json(#[from] serde_json::Error),
    /// A field has a value that would not do.
    #[error("plugin configuration, field {field}: {why}")]
    Field {
        /// Path of the field.
        field: &'static str,
        /// What is wrong, and what to do.
        why: String,
    },
}

fn wrong(field: &'static str) -> impl Fn(NameError) -> ConfigError {
    move |why| ConfigError::Field { field, why: why.to_string() }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    controller: RawController,
    split: Option<String>,
    #[serde(default)]
    hosts: bool,
    fallback: Option<WordOr<RawWeights>>,
    on_loss: Option<WordOr<RawRevert>>,
    header: Option<String>,
    token_env: Option<String>,
    #[serde(default)]
    access_log: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawController {
    cluster: String,
    authority: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWeights {
    subsets: Vec<SubsetSpec>,
    default: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRevert {
    revert: String,
    after: String,
}

/// A single word, or an object that says more.
enum WordOr<T> {
    Word(String),
    Object(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WordOr<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(WordOrVisitor(PhantomData))
    }
}

struct WordOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WordOrVisitor<T> {
    type Value = WordOr<T>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a string or an object")
    }

    fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
        Ok(WordOr::Word(word.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(WordOr::Object)
    }
}

/// What to do when the controller has been out of reach for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// All requests go to this subset.
    pub subset: String,
    /// After this many milliseconds without an answer.
    pub after: u64,
}

/// One plugin configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Envoy cluster of the controller.
    pub cluster: String,
    /// `:authority` of the calls.
    pub authority: String,
    /// Environment variable with the bearer token.
    pub token_env: Option<String>,
    /// Which splits.
    pub subscription: Subscription,
    /// Used until the proxy has had weights for the first time.
    pub fallback: Option<Split>,
    /// `None`: hold the last weights for as long as it takes.
    pub revert: Option<Revert>,
    /// The subset header, lower case.
    pub header: String,
    /// Set filter state `wasm.subset` for access logs.
    pub access_log: bool,
}

impl Config {
    /// From the JSON of the plugin configuration.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        if json.trim_ascii().is_empty() {
            return Err(ConfigError::Missing);
        }
        let raw: Raw = serde_json::from_slice(json)?;
        let field = |field, why: &str| Err(ConfigError::Field { field, why: why.to_owned() });
        if raw.controller.cluster.is_empty() {
            return field("controller.cluster", "must name a cluster of Envoy that reaches the controller");
        }
        let authority = raw.controller.authority.unwrap_or_else(|| "sluicegate".to_owned());
        if authority.is_empty() || !authority.bytes().all(|b| b.is_ascii_graphic()) {
            return field("controller.authority", "must be a host name such as sluicegate.sluicegate-system");
        }
        let subscription = match (raw.split, raw.hosts) {
            (Some(_), true) => return field("hosts", "give either split or hosts: true, not both"),
            (None, false) => {
                return field("split", "give split: \"NAMESPACE/NAME\", or hosts: true to serve every host");
            }
            (Some(split), false) => {
                let split = if split.contains('/') { split } else { format!("default/{split}") };
                name::split(&split).map_err(wrong("split"))?;
                Subscription::Split(split)
            }
            (None, true) => Subscription::Hosts,
        };
        let header = name::written_header(raw.header.as_deref().unwrap_or(DEFAULT_HEADER)).map_err(wrong("header"))?;
        if raw.token_env.as_ref().is_some_and(|t| t.is_empty() || t.contains(['=', '\0'])) {
            return field("token_env", "must be the name of an environment variable");
        }
        let fallback = raw.fallback.map(|f| fallback(f, &subscription)).transpose()?;
        let revert = raw.on_loss.map(revert).transpose()?.flatten();
        Ok(Self {
            cluster: raw.controller.cluster,
            authority,
            token_env: raw.token_env,
            subscription,
            fallback,
            revert,
            header,
            access_log: raw.access_log,
        })
    }
}

fn fallback(raw: WordOr<RawWeights>, subscription: &Subscription) -> Result<Split, ConfigError> {
    let (subsets, default, write_default) = match raw {
        // Which subset the routes take as default is unknown here, so the header is always written.
        WordOr::Word(name) => (vec![SubsetSpec { name: name.clone(), weight: 1 }], name, true),
        WordOr::Object(w) => {
            let first = w.subsets.iter().find(|s| s.name == "main").or(w.subsets.first());
            let default = w.default.or_else(|| first.map(|s| s.name.clone())).unwrap_or_default();
            (w.subsets, default, false)
        }
    };
    let name = match subscription {
        Subscription::Split(name) => name.clone(),
        Subscription::Hosts => "default/fallback".to_owned(),
    };
    let spec = SplitSpec {
        name,
        generation: 0,
        subsets,
        default,
        hosts: Vec::new(),
        assignment: Assignment::Even,
        overrides: Vec::new(),
        trust_upstream: false,
        write_default,
        protocol: Protocol::Http,
    };
    Split::try_from(spec).map_err(|why: SplitError| ConfigError::Field { field: "fallback", why: why.to_string() })
}

fn revert(raw: WordOr<RawRevert>) -> Result<Option<Revert>, ConfigError> {
    match raw {
        WordOr::Word(word) if word == "hold" => Ok(None),
        WordOr::Word(word) => Err(ConfigError::Field {
            field: "on_loss",
            why: format!("{word:?} is neither \"hold\" nor {{\"revert\": SUBSET, \"after\": \"5m\"}}"),
        }),
        WordOr::Object(r) => {
            name::subset(&r.revert).map_err(wrong("on_loss.revert"))?;
            let after = duration(&r.after).ok_or_else(|| ConfigError::Field {
                field: "on_loss.after",
                why: format!("{:?} is not a duration of at least 1s such as 30s, 5m or 1h", r.after),
            })?;
            Ok(Some(Revert { subset: r.revert, after }))
        }
    }
}

/// `30s`, `5m`, `1h` or `1500ms` in milliseconds, at least a second.
fn duration(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|ms| *ms >= 1_000)
}
