//! Percents and durations as people write them, exactly.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, time::Duration};

/// 100 %, in the thousandths of a percent that weights of rollouts are counted in.
pub use sluicegate_core::rollout::WHOLE;
/// Longest duration: a year.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// A number of percent as it was written: `10`, `0.5` or `0.5%`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Percent(String);

impl Percent {
    /// As somebody typed it.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Thousandths of a percent, exactly, at most [`WHOLE`]; or what is wrong, to be read after "weight 0.0001".
    pub fn thousandths(&self) -> Result<u32, &'static str> {
        const NO_NUMBER: &str = "is not a number of percent; write for example 10 or 0.5";
        let text = self.0.trim();
        let text = text.strip_suffix('%').map_or(text, str::trim_end);
        if let Some(rest) = text.strip_prefix('-') {
            let number = !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            return Err(if number { "is below 0" } else { NO_NUMBER });
        }
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) {
            return Err(NO_NUMBER);
        }
        let part = part.trim_end_matches('0');
        if part.len() > 3 {
            return Err("is finer than a thousandth of a percent, 0.001");
        }
        // Up to three digits, filled up to three.
        let part: u32 = format!("{part:0<3}").parse().map_err(|_| NO_NUMBER)?;
        let sum = whole.parse::<u32>().ok().and_then(|w| w.checked_mul(1000)).and_then(|w| w.checked_add(part));
        sum.filter(|sum| *sum <= WHOLE).ok_or("is above 100")
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// From numbers by their shortest text, which for everything that people write is what they wrote.
impl From<f64> for Percent {
    fn from(number: f64) -> Self {
        Self(number.to_string())
    }
}

impl From<u64> for Percent {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (self.0.parse::<u64>(), self.0.parse::<f64>()) {
            (Ok(whole), _) => to.serialize_u64(whole),
            (_, Ok(number)) if number.is_finite() => to.serialize_f64(number),
            _ => to.serialize_str(&self.0),
        }
    }
}

pub(super) struct PercentVisitor;

impl de::Visitor<'_> for PercentVisitor {
    type Value = Percent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of percent, such as 10 or 0.5")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Percent, E> {
        Ok(number.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Percent, E> {
        Ok(Percent(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Percent, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Percent, E> {
        Ok(Percent(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PercentVisitor)
    }
}

/// The schema of values of more than one shape, which Kubernetes has no type for; the controller checks them.
pub(super) fn any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// A list of those.
pub(super) fn list_of_any(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "minItems": 1, "maxItems": 100, "items": { "x-kubernetes-preserve-unknown-fields": true } })
}

/// An object with whatever is in it.
pub(super) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

/// Reads a duration such as `250ms`, `90s`, `1h30m` or `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    let parsed = match days {
        Some(days) => Some(Duration::from_secs(u64::from(days) * 86_400)),
        None => text.parse::<jiff::SignedDuration>().ok().and_then(|d| Duration::try_from(d).ok()),
    };
    parsed.filter(|d| *d <= LONGEST)
}
