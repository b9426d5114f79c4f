//! The plugin configuration: JSON from EnvoyExtensionPolicy, WasmPlugin or envoy.yaml. Parsed once; a field that is
//! wrong is named.

use crate::json::{NotJson, Value};
use sluicegate_core::{
    name,
    spec::{Assignment, Protocol, SplitSpec, SubsetSpec},
    split::Split,
    wire::Subscription,
};
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
    /// Not JSON.
    #[error("plugin configuration: {0}")]
    Json(#[from] NotJson),
    /// A field is not known, or has a value that would not do.
    #[error("plugin configuration, field {field}: {why}")]
    Field {
        /// Path of the field.
        field: String,
        /// What is wrong, and what to do.
        why: String,
    },
}

fn wrong<T>(field: &str, why: impl ToString) -> Result<T, ConfigError> {
    Err(ConfigError::Field { field: field.to_owned(), why: why.to_string() })
}

/// The fields of an object, each taken once; what nobody took is unknown.
struct Fields {
    /// Path of the object with its dot; empty for the whole.
    path: &'static str,
    known: &'static [&'static str],
    fields: Vec<(String, Value)>,
}

impl Fields {
    fn of(value: Value, path: &'static str, known: &'static [&'static str]) -> Result<Self, ConfigError> {
        let Value::Object(fields) = value else {
            let whole = if path.is_empty() { "(all of it)" } else { path.trim_end_matches('.') };
            return wrong(whole, format!("must be an object with {}, not {}", known.join(", "), value.kind()));
        };
        match fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                wrong(&format!("{path}{}", name.escape_default()), format!("unknown; there are {}", known.join(", ")))
            }
            None => Ok(Self { path, known, fields }),
        }
    }

    /// A field; `null` is the same as absent.
    fn take(&mut self, name: &str) -> Option<Value> {
        debug_assert!(self.known.contains(&name), "{name} is missing in the list of fields");
        let at = self.fields.iter().position(|(known, _)| known == name)?;
        Some(self.fields.swap_remove(at).1).filter(|value| *value != Value::Null)
    }

    fn string(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => wrong(&format!("{}{name}", self.path), format!("must be a string, not {}", other.kind())),
        }
    }

    fn required(&mut self, name: &str) -> Result<String, ConfigError> {
        match self.string(name)? {
            Some(text) if !text.is_empty() => Ok(text),
            _ => wrong(&format!("{}{name}", self.path), "is missing or empty"),
        }
    }

    fn flag(&mut self, name: &str) -> Result<bool, ConfigError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => {
                wrong(&format!("{}{name}", self.path), format!("must be true or false, not {}", other.kind()))
            }
        }
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
        const KNOWN: &[&str] =
            &["controller", "split", "hosts", "fallback", "on_loss", "header", "token_env", "access_log"];
        if json.trim_ascii().is_empty() {
            return Err(ConfigError::Missing);
        }
        let mut fields = Fields::of(Value::parse(json)?, "", KNOWN)?;
        let Some(controller) = fields.take("controller") else {
            return wrong(
                "controller",
                "is missing; give {\"cluster\": NAME}, a cluster of Envoy that reaches the controller",
            );
        };
        let mut controller = Fields::of(controller, "controller.", &["cluster", "authority"])?;
        let cluster = controller.required("cluster")?;
        let authority = controller.string("authority")?.unwrap_or_else(|| "sluicegate".to_owned());
        if authority.is_empty() || !authority.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong("controller.authority", "must be a host name such as sluicegate.sluicegate-system");
        }
        let subscription = subscription(&mut fields)?;
        let header = fields.string("header")?;
        let header = name::written_header(header.as_deref().unwrap_or(DEFAULT_HEADER));
        let token_env = fields.string("token_env")?;
        if token_env.as_ref().is_some_and(|t| t.is_empty() || t.contains(['=', '\0'])) {
            return wrong("token_env", "must be the name of an environment variable");
        }
        Ok(Self {
            cluster,
            authority,
            token_env,
            fallback: fields.take("fallback").map(|value| fallback(value, &subscription)).transpose()?,
            subscription,
            revert: fields.take("on_loss").map_or(Ok(None), revert)?,
            header: header.or_else(|why| wrong("header", why))?,
            access_log: fields.flag("access_log")?,
        })
    }
}

fn subscription(fields: &mut Fields) -> Result<Subscription, ConfigError> {
    match (fields.string("split")?, fields.flag("hosts")?) {
        (Some(_), true) => wrong("hosts", "give either split or hosts: true, not both"),
        (None, false) => wrong("split", "give split: \"NAMESPACE/NAME\", or hosts: true to serve every host"),
        (None, true) => Ok(Subscription::Hosts),
        (Some(split), false) => {
            let split = if split.contains('/') { split } else { format!("default/{split}") };
            name::split(&split).or_else(|why| wrong("split", why))?;
            Ok(Subscription::Split(split))
        }
    }
}

/// `"v1"`, or `{"subsets": [{"name": "v1", "weight": 90}, …], "default": "v1"}`.
fn fallback(value: Value, subscription: &Subscription) -> Result<Split, ConfigError> {
    let (subsets, default, write_default) = match value {
        // Which subset the routes take as default is unknown here, so the header is always written.
        Value::String(name) => (vec![SubsetSpec { name: name.clone(), weight: 1 }], name, true),
        value => {
            let mut fields = Fields::of(value, "fallback.", &["subsets", "default"])?;
            let Some(Value::List(items)) = fields.take("subsets") else {
                return wrong("fallback.subsets", "must be a list of {\"name\": …, \"weight\": …}");
            };
            let subsets = items.into_iter().map(weight).collect::<Result<Vec<_>, _>>()?;
            let first = subsets.iter().find(|s| s.name == "main").or(subsets.first()).map(|s| s.name.clone());
            let default = fields.string("default")?.or(first).unwrap_or_default();
            (subsets, default, false)
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
    Split::try_from(spec).or_else(|why| wrong("fallback", why))
}

fn weight(item: Value) -> Result<SubsetSpec, ConfigError> {
    let mut fields = Fields::of(item, "fallback.subsets.", &["name", "weight"])?;
    let name = fields.required("name")?;
    // Istio hands numbers over as floating point.
    let weight = match fields.take("weight") {
        Some(Value::Number(text)) => text.strip_suffix(".0").unwrap_or(&text).parse().ok(),
        _ => None,
    };
    match weight {
        Some(weight) => Ok(SubsetSpec { name, weight }),
        None => wrong("fallback.subsets.weight", format!("of {name} must be a whole number from 0 to {}", u32::MAX)),
    }
}

/// `"hold"`, or `{"revert": "v1", "after": "5m"}`.
fn revert(value: Value) -> Result<Option<Revert>, ConfigError> {
    if value == Value::String("hold".to_owned()) {
        return Ok(None);
    }
    if let Value::String(word) = value {
        let word = word.escape_default();
        return wrong(
            "on_loss",
            format!("\"{word}\" is neither \"hold\" nor {{\"revert\": SUBSET, \"after\": \"5m\"}}"),
        );
    }
    let mut fields = Fields::of(value, "on_loss.", &["revert", "after"])?;
    let (subset, after) = (fields.required("revert")?, fields.required("after")?);
    name::subset(&subset).or_else(|why| wrong("on_loss.revert", why))?;
    match duration(&after) {
        Some(after) => Ok(Some(Revert { subset, after })),
        None => wrong(
            "on_loss.after",
            format!("\"{}\" is not a duration of at least 1s such as 30s, 5m or 1h", after.escape_default()),
        ),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(json: &str) -> String {
        Config::parse(json.as_bytes()).err().map_or_else(|| format!("{json} was taken"), |why| why.to_string())
    }

    #[test]
    fn the_shortest_configuration_has_sensible_defaults() {
        let config = Config::parse(br#"{"controller":{"cluster":"sluicegate"},"split":"backend"}"#).expect("taken");
        assert_eq!(config.subscription, Subscription::Split("default/backend".to_owned()));
        assert_eq!((config.header.as_str(), config.authority.as_str()), (DEFAULT_HEADER, "sluicegate"));
        assert!(config.fallback.is_none() && config.revert.is_none() && !config.access_log);
    }

    #[test]
    fn everything_can_be_said_at_once() {
        let json =
            br#"{"controller":{"cluster":"c","authority":"a.b:70"},"hosts":true,"header":"X-Mine","token_env":"T",
            "fallback":{"subsets":[{"name":"v1","weight":9},{"name":"main","weight":1.0}]},"access_log":true,
            "on_loss":{"revert":"main","after":"2m"}}"#;
        let config = Config::parse(json).expect("taken");
        assert_eq!((config.subscription, config.header.as_str()), (Subscription::Hosts, "x-mine"));
        let fallback = config.fallback.expect("fallback");
        assert_eq!((fallback.total, fallback.default, fallback.write_default), (10, 1, false));
        assert_eq!(config.revert, Some(Revert { subset: "main".to_owned(), after: 120_000 }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let with = |field: &str| refused(&format!(r#"{{"controller":{{"cluster":"c"}},"split":"a/b",{field}}}"#));
        for (message, named) in [
            (refused(""), "at least {\"controller\""),
            (refused("{"), "byte 1"),
            (refused("[]"), "must be an object with controller"),
            (refused(r#"{"split":"a/b"}"#), "field controller: is missing"),
            (refused(r#"{"controller":{},"split":"a/b"}"#), "field controller.cluster: is missing"),
            (refused(r#"{"controller":{"clutser":"c"}}"#), "field controller.clutser: unknown; there are cluster"),
            (refused(r#"{"controller":{"cluster":"c"}}"#), "field split: give split"),
            (with(r#""hosts":true"#), "field hosts: give either"),
            (with(r#""splitt":"a""#), "field splitt: unknown; there are controller, split"),
            (with(r#""header":":path""#), "field header: header \":path\" has a meaning"),
            (with(r#""header":"x_y""#), "underscore"),
            (with(r#""header":7"#), "field header: must be a string, not a number"),
            (with(r#""fallback":{"subsets":[{"name":"v1","weight":-1}]}"#), "field fallback.subsets.weight: of v1"),
            (with(r#""fallback":{"subsets":[{"name":"v1","weight":0}]}"#), "field fallback: all weights are 0"),
            (with(r#""fallback":"V 1""#), "field fallback: subset name"),
            (with(r#""on_loss":"revert""#), "field on_loss: \"revert\" is neither"),
            (with(r#""on_loss":{"revert":"v1","after":"0s"}"#), "field on_loss.after: \"0s\""),
            (with(r#""token_env":"A=B""#), "field token_env"),
            (with(r#""access_log":"yes""#), "field access_log: must be true or false, not a string"),
        ] {
            assert!(message.contains(named), "{message}\n  does not say {named}");
        }
    }

    /// Damages a valid configuration: bytes changed, put in, cut out, or two places swapped.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let valid = [
            r#"{"controller":{"cluster":"c","authority":"a.b:70"},"hosts":true,"header":"X-Mine","token_env":"T"}"#,
            r#"{"controller":{"cluster":"c"},"split":"a/b","fallback":{"subsets":[{"name":"v1","weight":9}]}}"#,
            r#"{"controller":{"cluster":"c"},"split":"a/b","on_loss":{"revert":"main","after":"2m"},"access_log":true}"#,
        ];
        let place = || any::<prop::sample::Index>();
        let piece = prop::sample::select(vec![
            "\"", "{", "}", "[", "]", ",", ":", "\\u", "-", "9", "e9", "null", "\0", "\u{ff}",
        ]);
        let damage = (0..4_u8, place(), place(), piece);
        (prop::sample::select(valid.to_vec()), prop::collection::vec(damage, 1..5)).prop_map(|(text, damages)| {
            let mut text = text.as_bytes().to_vec();
            for (how, at, other, piece) in damages {
                let (at, other) = (at.index(text.len().max(1)), other.index(text.len().max(1)));
                match how {
                    0 => drop(text.splice(at..at, piece.bytes())),
                    1 if !text.is_empty() => text[at] = piece.as_bytes()[0],
                    2 => drop(text.drain(at.min(other)..at.max(other))),
                    _ if !text.is_empty() => text.swap(at, other),
                    _ => {}
                }
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_damaged_configuration_is_taken_or_refused_with_a_message_and_never_panics(text in damaged()) {
            match Config::parse(&text) {
                Ok(config) => {
                    prop_assert!(!config.cluster.is_empty() && name::written_header(&config.header).is_ok());
                    prop_assert!(config.fallback.is_none_or(|f| f.total > 0));
                }
                Err(why) => {
                    let why = why.to_string();
                    prop_assert!(why.contains("plugin") && !why.contains(char::is_control), "{why:?}");
                }
            }
        }
    }
}
