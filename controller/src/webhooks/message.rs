//! What is sent: the body, its signature, and the key by which a receiver knows a repeat. Pure.

use super::{Event, SplitWeights};
use crate::api::API_VERSION;
use ring::{digest, hmac};
use serde::Serialize;
use std::fmt::Write;

/// An event, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The bytes of the body; the signature is of exactly these.
    pub body: Vec<u8>,
    /// The same for every repeat of this event, different for every other event.
    pub idempotency_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'a str,
    kind: &'a str,
    rollout: &'a str,
    run: &'a str,
    phase: &'a str,
    step: Option<u32>,
    version: &'a str,
    weights: Vec<Weights<'a>>,
    verdict: Option<&'a str>,
    message: Option<&'a str>,
    attempt: u32,
    time: String,
}

#[derive(Serialize)]
struct Weights<'a> {
    split: &'a str,
    canary: f64,
    main: f64,
    baseline: f64,
}

impl Message {
    /// Of this event.
    pub fn of(event: &Event) -> Self {
        let weights = event.weights.iter().map(|SplitWeights { split, canary, main, baseline }| Weights {
            split,
            canary: percent(*canary),
            main: percent(*main),
            baseline: percent(*baseline),
        });
        let body = Body {
            api_version: API_VERSION,
            kind: "RolloutEvent",
            rollout: &event.rollout,
            run: &event.run,
            phase: event.phase.name(),
            step: event.step,
            version: &event.version,
            weights: weights.collect(),
            verdict: event.verdict.as_deref(),
            message: event.message.as_deref(),
            attempt: event.attempt,
            time: event.time.to_string(),
        };
        // Strings and finite numbers: there is nothing in it that could fail.
        Self { body: serde_json::to_vec(&body).unwrap_or_default(), idempotency_key: key(event) }
    }

    /// The value of `x-sluicegate-signature`.
    pub fn signature(&self, secret: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        format!("sha256={}", hex(hmac::sign(&key, &self.body).as_ref()))
    }
}

/// Thousandths of a percent are exact in binary floating point up to printing: 12345 is 12.345 again.
fn percent(thousandths: u32) -> f64 {
    f64::from(thousandths) / 1000.0
}

/// What makes an event this event. Weights, verdict and time may have moved on when it is repeated after a crash,
/// except where they are all it is about.
fn key(event: &Event) -> String {
    let (step, attempt) = (event.step.map(|s| s.to_string()).unwrap_or_default(), event.attempt.to_string());
    let mut parts = vec![&event.rollout, &event.run, &event.version, &step, &attempt];
    let told = [event.verdict.clone().unwrap_or_default(), event.message.clone().unwrap_or_default()];
    if !event.phase.is_gate() {
        parts.extend(&told);
    }
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(event.phase.name().as_bytes());
    for part in parts {
        // With its length, so that no two lists of parts look the same.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let whole = hex(context.finish().as_ref());
    whole.get(..32).unwrap_or(&whole).to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
