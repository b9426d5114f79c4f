//! One try to call a webhook. Blocks for at most its timeout.

use super::{Webhook, WebhookError, message::Message};
use std::{fs, io::Read};
use ureq::{
    Agent, Body,
    http::{HeaderMap, Response, StatusCode, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

/// Bytes of an answer that are read, and characters that are shown.
const MAX_ANSWER: u64 = 4 << 10;
const MAX_SHOWN: usize = 200;
/// Bytes of an answer's headers.
const MAX_HEADERS: usize = 16 << 10;

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    /// Yes.
    Go,
    /// No, for good.
    Refused(String),
    /// The answer is elsewhere.
    Redirect(u16),
    /// Not now.
    Later {
        /// Status and the beginning of the body.
        answer: String,
        /// `Retry-After`, as it was sent.
        after: Option<String>,
    },
    /// The connection failed, or the time was over.
    NoAnswer(String),
    /// It will not work the next time either.
    Impossible(String),
}

/// Everything that a try needs.
#[derive(Debug)]
pub struct Sender {
    agent: Agent,
    url: String,
    message: Message,
    signature: Option<String>,
}

impl Sender {
    /// Reads the files; they may have changed since the last call.
    pub fn new(webhook: &Webhook, message: Message) -> Result<Self, WebhookError> {
        let signature = match &webhook.secret_file {
            None => None,
            Some(path) => {
                let shown = || path.display().to_string();
                let secret = fs::read(path).map_err(|why| WebhookError::Secret { path: shown(), why })?;
                match secret.trim_ascii() {
                    [] => return Err(WebhookError::EmptySecret(shown())),
                    secret => Some(message.signature(secret)),
                }
            }
        };
        let mut tls = TlsConfig::builder();
        if let Some(path) = &webhook.ca_file {
            let failed = |why: String| WebhookError::Ca { path: path.display().to_string(), why };
            let pem = fs::read(path).map_err(|why| failed(why.to_string()))?;
            tls = tls.root_certs(roots(&pem).map_err(failed)?);
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADERS)
            .max_idle_connections(0)
            .timeout_global(Some(webhook.timeout))
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        Ok(Self { agent: agent.into(), url: webhook.url.clone(), message, signature })
    }

    /// Calls.
    pub fn try_once(&self) -> Tried {
        let mut request = self
            .agent
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header("idempotency-key", &self.message.idempotency_key);
        if let Some(signature) = &self.signature {
            request = request.header("x-sluicegate-signature", signature);
        }
        match request.send(&self.message.body[..]) {
            Ok(answer) => read(answer),
            Err(why) => failed(&why),
        }
    }
}

fn read(mut answer: Response<Body>) -> Tried {
    let status = answer.status();
    if status.is_success() {
        // What it says beyond yes is nobody's business.
        return Tried::Go;
    }
    if status.is_redirection() {
        return Tried::Redirect(status.as_u16());
    }
    let after = retry_after(answer.headers());
    let mut body = Vec::new();
    // As much as there is: a body that breaks off does not change what the status says.
    let _ = answer.body_mut().as_reader().take(MAX_ANSWER).read_to_end(&mut body);
    let said = said(status, &body);
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Tried::Later { answer: said, after }
        }
        _ if status.is_client_error() => Tried::Refused(said),
        _ => Tried::Later { answer: said, after },
    }
}

fn retry_after(headers: &HeaderMap) -> Option<String> {
    headers.get(header::RETRY_AFTER)?.to_str().ok().map(str::to_owned)
}

/// Status and the beginning of the body, on one line.
fn said(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty());
    let line: String = words.collect::<Vec<_>>().join(" ").chars().take(MAX_SHOWN).collect();
    match line.as_str() {
        "" => status.to_string(),
        line => format!("{}: {line}", status.as_u16()),
    }
}

fn failed(why: &ureq::Error) -> Tried {
    match why {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::InvalidProxyUrl | ureq::Error::Tls(_) => {
            Tried::Impossible(why.to_string())
        }
        other => Tried::NoAnswer(other.to_string()),
    }
}

/// The certificates of a PEM file, as those to trust.
pub fn roots(pem: &[u8]) -> Result<RootCerts, String> {
    let mut found: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|why| why.to_string())? {
            found.push(certificate);
        }
    }
    match found.is_empty() {
        true => Err("there is no certificate in it".to_owned()),
        false => Ok(RootCerts::new_with_certs(&found)),
    }
}

/// Scheme, host and port of a URL: what of it may be shown.
pub fn host(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(start..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| start + at);
    let authority = url.get(start..end).unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, without_login)) => without_login,
        None => url.get(..end).unwrap_or_default(),
    }
}
