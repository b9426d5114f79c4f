//! How the controller is reached: its address, a token, whom to trust.

use anyhow::{Context as _, Result, bail};
use sluicegate_core::{message::MEDIA_TYPE, wire::MAX_ANSWER};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};
use ureq::{Agent, http::header, tls::TlsConfig};

/// Where the controller is.
#[derive(Debug, Clone)]
pub struct Address {
    /// Its proxy port.
    pub url: String,
    /// Its certificate is checked against these, PEM; `None`: against those of the web.
    pub ca_file: Option<PathBuf>,
    /// The bearer token, read again for each call.
    pub token_file: Option<PathBuf>,
}

/// Calls the controller.
#[derive(Debug, Clone)]
pub struct Link(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    agent: Agent,
    base: String,
    token_file: Option<PathBuf>,
}

impl Link {
    /// Reads the certificates.
    pub fn new(address: Address) -> Result<Self> {
        let Address { url, ca_file, token_file } = address;
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            bail!("--controller {url} is no address; write for example http://127.0.0.1:7070");
        }
        let mut tls = TlsConfig::builder();
        if let Some(path) = &ca_file {
            let shown = || format!("cannot use --ca-file {}", path.display());
            let pem = fs::read(path).with_context(shown)?;
            tls = tls.root_certs(crate::webhooks::send::roots(&pem).map_err(anyhow::Error::msg).with_context(shown)?);
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls.build())
            .build();
        let link = Inner { agent: agent.into(), base: url.trim_end_matches('/').to_owned(), token_file };
        link.authorization()?;
        Ok(Self(Arc::new(link)))
    }

    /// Posts a message; the answer's body when its status is 200, or why not.
    pub async fn post(&self, path: &'static str, body: Vec<u8>, patience: Duration) -> Result<Vec<u8>> {
        let link = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || link.post(path, &body, patience)).await.context("a call panicked")?
    }
}

impl Inner {
    fn authorization(&self) -> Result<Option<String>> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let token = fs::read_to_string(path).with_context(|| format!("cannot read --token-file {}", path.display()))?;
        // The controller's file may list several; any of them will do.
        match token.lines().map(str::trim).find(|line| !line.is_empty()) {
            Some(token) => Ok(Some(format!("Bearer {token}"))),
            None => bail!("--token-file {} is empty", path.display()),
        }
    }

    fn post(&self, path: &str, body: &[u8], patience: Duration) -> Result<Vec<u8>> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let request = request.config().timeout_global(Some(patience)).build();
        let mut request = request.header(header::CONTENT_TYPE, MEDIA_TYPE).header(header::ACCEPT, MEDIA_TYPE);
        if let Some(authorization) = self.authorization()? {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let mut answer = request.send(body)?;
        if answer.status() != 200 {
            bail!("it answers with status {}", answer.status());
        }
        Ok(answer.body_mut().with_config().limit(MAX_ANSWER as u64).read_to_vec()?)
    }
}
