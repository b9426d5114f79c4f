//! The HTTP API of a cluster, in JSON. In: a path and perhaps an object. Out: an object, or an error with the API's own words.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use crate::http1;
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Method, Request, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// A way to the API server as one user; clones share the connections.
#[derive(Clone)]
pub struct Api {
    agent: Agent,
    url: String,
    bearer: String,
}

impl fmt::Debug for Api {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Api({})", self.url)
    }
}

impl Api {
    /// Talks to `url` with a bearer token; `ca` is PEM.
    ///
    /// # Errors
    /// When the PEM has no certificate.
    pub fn new(url: &str, token: &str, ca: &[u8]) -> Result<Self> {
        let mut roots = Vec::new();
        for item in parse_pem(ca) {
            if let PemItem::Certificate(one) = item.context("the CA of the API server")? {
                roots.push(one);
            }
        }
        ensure!(!roots.is_empty(), "no certificate in the CA of the API server");
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(Duration::from_secs(30)))
            .tls_config(tls)
            .build();
        Ok(Self { agent: agent.into(), url: url.to_owned(), bearer: format!("Bearer {token}") })
    }

    /// Gets an object or a list.
    ///
    /// # Errors
    /// When there is none, or no answer.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None)
    }

    /// Makes an object.
    ///
    /// # Errors
    /// When the API refuses it; with its message.
    pub fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.call(Method::POST, path, Some((object, "application/json")))
    }

    /// Changes an object by a merge patch.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub fn patch(&self, path: &str, patch: &Value) -> Result<Value> {
        self.call(Method::PATCH, path, Some((patch, "application/merge-patch+json")))
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// As [`Self::post`].
    pub fn delete(&self, path: &str) -> Result<Value> {
        self.call(Method::DELETE, path, None)
    }

    /// The items of a list, and the version of the list from which it can be watched.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn list(&self, path: &str) -> Result<(Vec<Value>, String)> {
        let mut list = self.get(path)?;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let Value::Array(items) = list["items"].take() else { bail!("{path} is no list") };
        Ok((items, version))
    }

    /// Tells `seen` each event (`ADDED`, `MODIFIED`, `DELETED` and the object) after `version`, for at most some seconds.
    ///
    /// # Errors
    /// When the watch is refused or breaks off, or `seen` returns an error.
    pub fn watch(
        &self,
        path: &str,
        version: &str,
        seconds: u32,
        mut seen: impl FnMut(&str, Value) -> Result<()>,
    ) -> Result<()> {
        let path = format!("{path}?watch=1&resourceVersion={version}&timeoutSeconds={seconds}");
        let request = self.request(Method::GET, &path).body(())?;
        let answer = self.agent.run(request).with_context(|| format!("GET {path}"))?;
        ensure!(answer.status() == 200, "GET {path}: status {}", answer.status());
        for line in BufReader::new(answer.into_body().into_reader()).lines() {
            let mut event: Value = serde_json::from_str(&line?)?;
            let (kind, object) = (event["type"].take(), event["object"].take());
            let kind = kind.as_str().unwrap_or_default();
            ensure!(kind != "ERROR", "GET {path}: {object}");
            seen(kind, object)?;
        }
        Ok(())
    }

    /// The text of an answer that is no object, such as `/readyz`.
    ///
    /// # Errors
    /// When there is no 200.
    pub fn text(&self, path: &str) -> Result<String> {
        let mut answer = self.agent.run(self.request(Method::GET, path).body(())?)?;
        let text = answer.body_mut().read_to_string()?;
        ensure!(answer.status() == 200, "GET {path}: status {}: {text}", answer.status());
        Ok(text)
    }

    /// Passes a request of somebody else on, with their credentials: its method, path, head and body. Returns the status,
    /// the content type, and the body as it comes.
    pub(super) fn pass(
        &self,
        method: &str,
        path: &str,
        head: &[u8],
        body: Vec<u8>,
    ) -> Result<(u16, String, impl std::io::Read + use<>)> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        for name in ["authorization", "accept", "content-type", "user-agent"] {
            if let Some(value) = http1::header(head, name) {
                request = request.header(name, value);
            }
        }
        let answer = match body.is_empty() {
            true => self.agent.run(request.body(())?),
            false => self.agent.run(request.body(body)?),
        }?;
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Ok((answer.status().as_u16(), kind.to_owned(), answer.into_body().into_reader()))
    }

    fn request(&self, method: Method, path: &str) -> ureq::http::request::Builder {
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        request.header(header::AUTHORIZATION, &self.bearer).header(header::ACCEPT, "application/json")
    }

    fn call(&self, method: Method, path: &str, body: Option<(&Value, &str)>) -> Result<Value> {
        let what = format!("{method} {path}");
        let request = self.request(method, path);
        let answer = match body {
            Some((object, kind)) => {
                self.agent.run(request.header(header::CONTENT_TYPE, kind).body(object.to_string())?)
            }
            None => self.agent.run(request.body(())?),
        };
        let mut answer = answer.with_context(|| what.clone())?;
        let status = answer.status();
        // A list of everything may be larger than the ten megabytes that are usual.
        let text = answer.body_mut().with_config().limit(256 << 20).read_to_string().with_context(|| what.clone())?;
        let object: Value = serde_json::from_str(&text).with_context(|| format!("{what}: {status}: {text:.300}"))?;
        ensure!(status.is_success(), "{what}: {}: {}", status.as_u16(), object["message"].as_str().unwrap_or(&text));
        Ok(object)
    }
}
