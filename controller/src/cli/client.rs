//! Asks the controller.

use crate::admin::model::Failure;
use anyhow::{Context, Result, anyhow, bail};
use serde::{Serialize, de::DeserializeOwned};
use std::time::Duration;
use ureq::{Agent, Body, http::Response};

/// Beyond what the controller itself may wait.
const MARGIN: Duration = Duration::from_secs(10);

/// A controller's admin port.
pub(super) struct Client {
    base: String,
    agent: Agent,
}

impl Client {
    pub(super) fn new(admin: &str) -> Self {
        let agent = Agent::config_builder().http_status_as_error(false).build().into();
        Self { base: admin.trim_end_matches('/').to_owned(), agent }
    }

    /// Asks; `wait` is how long the controller may take by itself.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.get(&url).config().timeout_global(Some(wait + MARGIN)).build();
        self.read(request.call())
    }

    /// Asks for something that may not be there.
    pub(super) fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let url = format!("{}{path}", self.base);
        let answer = self.agent.get(&url).config().timeout_global(Some(MARGIN)).build().call();
        match answer {
            Ok(answer) if answer.status() == 404 => Ok(None),
            answer => self.read(answer).map(Some),
        }
    }

    pub(super) fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.post(&url).config().timeout_global(Some(MARGIN)).build();
        self.read(request.send_json(body))
    }

    fn read<T: DeserializeOwned>(&self, answer: Result<Response<Body>, ureq::Error>) -> Result<T> {
        let mut answer = answer.map_err(|why| self.unreachable(&why))?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string().with_context(|| format!("reading from {}", self.base))?;
        if !status.is_success() {
            match serde_json::from_str::<Failure>(&text) {
                Ok(failure) => bail!("{}", failure.error),
                Err(_) => bail!("{} answers {status}; is that the admin port of a Sluicegate controller?", self.base),
            }
        }
        serde_json::from_str(&text).with_context(|| {
            format!("{} does not answer like a Sluicegate controller of this release ({})", self.base, crate_version())
        })
    }

    fn unreachable(&self, why: &ureq::Error) -> anyhow::Error {
        let base = &self.base;
        match why {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::TlsRequired => {
                anyhow!("{base} is no usable address ({why}); write for example --admin http://127.0.0.1:7071")
            }
            _ => anyhow!(
                "no controller answers at {base} ({why}); start one with `sluicegate serve --dir DIR`, or give its \
                 address with --admin URL"
            ),
        }
    }
}

fn crate_version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
