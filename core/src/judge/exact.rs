//! A number that comes back from text with the same bits, whatever reads the JSON.
//!
//! JSON readers may lose the last bit of a float, Kubernetes and browsers any integer above 2^53; a decimal in a string
//! is read by us alone, and Rust prints the shortest decimal that reads back to the same bits.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Finite and not negative; in JSON a string like `"2.5e-3"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Exact(f64);

impl Exact {
    /// The number, held within 0 and [`f64::MAX`]; not a number becomes 0.
    pub fn new(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, f64::MAX) })
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:e}", self.0))
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(Self(value)),
            _ => Err(D::Error::custom(format_args!("{text:?} is not a finite number of at least 0"))),
        }
    }
}
