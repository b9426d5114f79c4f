//! Webhooks: other programs are told what a rollout does, and some are asked first.
//!
//! In: a [`Webhook`] and an [`Event`]. Out: an [`Answer`]. Nothing is remembered between calls.
//!
//! * [`message`]: what is sent: body, signature, idempotency key. Pure.
//! * [`send`]: one try. Blocks.
//! * [`backoff`]: how long to wait before the next. Pure.
//!
//! # For authors of receivers
//!
//! A call is a POST of JSON. Any 2xx says yes; any other 4xx says no, and up to 200 characters of its body are shown as the
//! reason; 5xx, 408, 425, 429 and broken connections are tried again. Redirects are not followed.
//!
//! With a `secretFile`, `x-sluicegate-signature: sha256=<hex>` is the HMAC-SHA256 of the body's bytes with the
//! content of that file (without white space at its ends) as the key: compare it, in constant time, before anything
//! else. `idempotency-key` is the same for every repeat of one event, also after a crash of the controller: whoever
//! must not act twice keeps the keys it has seen.

pub mod backoff;
pub mod message;
pub mod send;

pub use crate::api::rollout::{Webhook, WebhookPhase};
use jiff::Timestamp;
use message::Message;
use send::Tried;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use thiserror::Error;
use tokio::{task::spawn_blocking, time::sleep};
use tracing::{info, warn};

/// The weights of one split, in thousandths of a percent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitWeights {
    /// `namespace/name`.
    pub split: String,
    /// The new version.
    pub canary: u32,
    /// The version in production.
    pub main: u32,
    /// The version in production, in as many pods as the canary.
    pub baseline: u32,
}

/// What happens, or is about to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// `namespace/name`.
    pub rollout: String,
    /// Tells one run of a rollout from another; survives restarts. For example when it began, in Unix ms.
    pub run: String,
    /// Which call this is.
    pub phase: WebhookPhase,
    /// The step it is about, counting from 1.
    pub step: Option<u32>,
    /// The version rolled out.
    pub version: String,
    /// Weights that hold, or for a gate: that would hold after a yes.
    pub weights: Vec<SplitWeights>,
    /// `pass`, `fail` or `inconclusive`.
    pub verdict: Option<String>,
    /// What happened, for people.
    pub message: Option<String>,
    /// 0, and one more each time a gate is asked again on purpose.
    pub attempt: u32,
    /// When.
    pub time: Timestamp,
}

/// What became of a call. Only a gate need care.
#[derive(Debug)]
pub enum Answer {
    /// Yes.
    Go,
    /// No: the status and the beginning of the body.
    Refused(String),
    /// Neither: whoever asked a gate must not go on.
    Failed(WebhookError),
}

/// Why there is no answer. Of a URL only the host is shown: the rest of it is a secret of many a service.
#[derive(Debug, Error)]
pub enum WebhookError {
    /// The file with the secret.
    #[error("cannot read the secret {path}: {why}; mend secretFile, or leave it out to send without a signature")]
    Secret {
        /// Which.
        path: String,
        /// Why.
        why: std::io::Error,
    },
    /// A secret that protects nothing.
    #[error("the secret {0} is empty; put at least 32 random characters into it")]
    EmptySecret(String),
    /// The file with the certificates.
    #[error("cannot read the certificates {path}: {why}; caFile is a PEM file")]
    Ca {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// No connection, or no answer in time.
    #[error("no answer from {host} after {tries} tries: {why}")]
    NoAnswer {
        /// Scheme, host and port.
        host: String,
        /// How often it was tried.
        tries: u32,
        /// What went wrong the last time.
        why: String,
    },
    /// An answer that says nothing about the question.
    #[error("{host} answered {answer} after {tries} tries")]
    Status {
        /// Scheme, host and port.
        host: String,
        /// How often it was tried.
        tries: u32,
        /// Status and the beginning of the body, the last time.
        answer: String,
    },
    /// An answer from another place is not taken.
    #[error("{host} redirects ({status}); redirects are not followed: write the final URL")]
    Redirect {
        /// Scheme, host and port.
        host: String,
        /// Its status.
        status: u16,
    },
    /// Not something that can be called at all.
    #[error("cannot call {host}: {why}")]
    Impossible {
        /// Scheme, host and port.
        host: String,
        /// Why.
        why: String,
    },
}

/// Calls a webhook: at most `retries + 1` tries of at most `timeout` each, with pauses that grow between them.
///
/// Dropping this gives up; a try that is under way ends by itself within `timeout`.
pub async fn call(webhook: &Webhook, event: &Event) -> Answer {
    let answer = ask(webhook, event).await;
    let (rollout, phase, host) = (event.rollout.as_str(), event.phase.name(), send::host(&webhook.url));
    match &answer {
        Answer::Go => info!(rollout, phase, host, "webhook said yes"),
        Answer::Refused(reason) => info!(rollout, phase, host, reason, "webhook said no"),
        Answer::Failed(why) => warn!(rollout, phase, host, %why, "webhook failed"),
    }
    answer
}

async fn ask(webhook: &Webhook, event: &Event) -> Answer {
    let (hook, message) = (webhook.clone(), Message::of(event));
    // Files are read and requests are made where blocking does no harm.
    let sender = match spawn_blocking(move || send::Sender::new(&hook, message)).await {
        Ok(Ok(sender)) => Arc::new(sender),
        Ok(Err(why)) => return Answer::Failed(why),
        Err(why) => return Answer::Failed(impossible(webhook, why.to_string())),
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let this = Arc::clone(&sender);
        let tried = spawn_blocking(move || this.try_once()).await;
        let host = || send::host(&webhook.url).to_owned();
        let (failed, after) = match tried {
            Ok(Tried::Go) => return Answer::Go,
            Ok(Tried::Refused(reason)) => return Answer::Refused(reason),
            Ok(Tried::Redirect(status)) => return Answer::Failed(WebhookError::Redirect { host: host(), status }),
            Ok(Tried::Impossible(why)) => return Answer::Failed(impossible(webhook, why)),
            Err(why) => return Answer::Failed(impossible(webhook, why.to_string())),
            Ok(Tried::NoAnswer(why)) => (WebhookError::NoAnswer { host: host(), tries, why }, None),
            Ok(Tried::Later { answer, after }) => (
                WebhookError::Status { host: host(), tries, answer },
                after.and_then(|text| backoff::retry_after(&text, event.time)),
            ),
        };
        if tries > webhook.retries {
            return Answer::Failed(failed);
        }
        sleep(backoff::pause(tries, rand::random(), after)).await;
    }
}

fn impossible(webhook: &Webhook, why: String) -> WebhookError {
    WebhookError::Impossible { host: send::host(&webhook.url).to_owned(), why }
}
