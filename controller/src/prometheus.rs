//! Asks a Prometheus (or what speaks like one: Thanos, Mimir, VictoriaMetrics) for one series over a window.
//!
//! In: a query with placeholders ([`query`]), who stands behind them, and a [`Window`] of time: no clock is read here. Out:
//! a point per step, or an error that says what to change ([`answer`]). Whatever goes wrong is an error, and an error is
//! never a pass: [`Prometheus::samples`] makes it a metric that cannot be judged.
//!
//! Blocking; inside the runtime call it in `tokio::task::spawn_blocking`.

pub mod answer;
pub mod query;

use answer::AnswerError;
use jiff::Timestamp;
use query::{QueryError, Subject};
use sluicegate_core::judge::metrics::Samples;
use std::time::Duration;
use thiserror::Error;
use ureq::{
    Agent,
    http::StatusCode,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

/// The longest answer that is read: eleven thousand points are half a megabyte.
const LARGEST: u64 = 8 << 20;
/// The most points that Prometheus gives per series.
const MOST_POINTS: i64 = 11_000;

/// Where a Prometheus is, and how to talk to it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its address without `/api/v1`, for example `http://prometheus.monitoring:9090`.
    pub url: String,
    /// Sent as `authorization: Bearer`.
    pub token: Option<String>,
    /// Certificates (PEM) of those who may vouch for it, instead of the public ones.
    pub ca: Option<Vec<u8>>,
    /// The longest that one query may take.
    pub timeout: Duration,
}

/// The times at which a metric is looked at: from `start`, every `step`, not beyond `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    start_ms: i64,
    step_ms: i64,
    points: usize,
}

/// Why a query has no points.
#[derive(Debug, Error)]
pub enum PrometheusError {
    /// Its address.
    #[error(
        "prometheus url \"{0}\" is not usable; write for example http://prometheus.monitoring:9090, credentials apart"
    )]
    Url(String),
    /// The bearer token.
    #[error("the bearer token has characters that no header may have; is there a line end in it?")]
    Token,
    /// The certificates.
    #[error("the CA certificates for {0} are not PEM, or none is in there")]
    Ca(String),
    /// The window.
    #[error("{0}")]
    Window(String),
    /// The query.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// Both sides would be the same.
    #[error(
        "the query is the same for canary and baseline: use {{{{subset}}}} or {{{{version}}}} in it, to tell them apart"
    )]
    SameQuery,
    /// No answer.
    #[error("prometheus at {url} does not answer: {why}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        why: String,
    },
    /// No answer in time.
    #[error(
        "prometheus at {url} took longer than {limit:?}; simplify the query, record it by a rule, or raise the timeout"
    )]
    Slow {
        /// Where.
        url: String,
        /// Longer than this.
        limit: Duration,
    },
    /// Too much of an answer.
    #[error("prometheus at {0} answers with more than {limit} MiB; does the query give many series? aggregate with sum()", limit = LARGEST >> 20)]
    Large(String),
    /// An answer that is none.
    #[error("prometheus at {url}: {why}")]
    Answer {
        /// Where.
        url: String,
        /// What is wrong with it.
        why: AnswerError,
    },
}

impl Window {
    /// A window; all three are whole milliseconds, what is below is cut off.
    pub fn new(start: Timestamp, end: Timestamp, step: Duration) -> Result<Self, PrometheusError> {
        let (start_ms, end_ms) = (start.as_millisecond(), end.as_millisecond());
        let wrong = |why: String| Err(PrometheusError::Window(why));
        let step_ms = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        if step_ms == 0 {
            return wrong(format!("a step of {step:?} between points is too short; 15s is usual"));
        }
        if end_ms < start_ms {
            return wrong(format!("the window ends ({end}) before it starts ({start})"));
        }
        let points = (end_ms - start_ms) / step_ms + 1;
        if points > MOST_POINTS {
            return wrong(format!("{points} points are more than Prometheus gives ({MOST_POINTS}); raise the step"));
        }
        Ok(Self { start_ms, step_ms, points: points as usize })
    }

    /// How many points it has.
    pub fn points(&self) -> usize {
        self.points
    }

    fn end_ms(&self) -> i64 {
        self.start_ms + self.step_ms * (self.points as i64 - 1)
    }

    /// Which point of the window is at this time, in seconds; `None` when none is.
    fn index(&self, seconds: f64) -> Option<usize> {
        let offset = (seconds * 1e3).round() - self.start_ms as f64;
        let at = offset / self.step_ms as f64;
        (at >= 0.0 && at < self.points as f64 && at.fract() == 0.0).then_some(at as usize)
    }
}

/// A Prometheus.
#[derive(Debug, Clone)]
pub struct Prometheus {
    url: String,
    authorization: Option<ureq::http::HeaderValue>,
    timeout: Duration,
    agent: Agent,
}

impl Prometheus {
    /// Makes ready to ask; nothing is sent yet.
    pub fn new(settings: Settings) -> Result<Self, PrometheusError> {
        let url = settings.url.trim_end_matches('/').to_owned();
        let address: Result<ureq::http::Uri, _> = url.parse();
        let usable = address.is_ok_and(|uri| {
            let host = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
            host && uri.query().is_none() && matches!(uri.scheme_str(), Some("http" | "https"))
        });
        if !usable {
            // What stands before an @ may be a password.
            let shown = url.rsplit_once('@').map_or(url.clone(), |(_, host)| format!("…@{host}"));
            return Err(PrometheusError::Url(shown));
        }
        let authorization = match &settings.token {
            Some(token) => {
                let value = ureq::http::HeaderValue::from_str(&format!("Bearer {}", token.trim()));
                let mut value = value.map_err(|_| PrometheusError::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let mut config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(settings.timeout));
        // A token goes to the address that it was given for, and nowhere else.
        config = config.max_redirects(0);
        if let Some(pem) = &settings.ca {
            let items = parse_pem(pem).filter_map(Result::ok);
            let certificates = items.filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            });
            let certificates: Vec<_> = certificates.collect();
            if certificates.is_empty() {
                return Err(PrometheusError::Ca(url));
            }
            config =
                config.tls_config(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build());
        }
        Ok(Self { url, authorization, timeout: settings.timeout, agent: config.build().into() })
    }

    /// One series of a query without placeholders: a point per step, `None` where there is none.
    pub fn series(&self, query: &str, window: Window) -> Result<Vec<Option<f64>>, PrometheusError> {
        let seconds = |ms: i64| format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000));
        let mut request = self.agent.get(format!("{}/api/v1/query_range", self.url));
        request = request.query("query", query).query("start", seconds(window.start_ms));
        request = request.query("end", seconds(window.end_ms())).query("step", seconds(window.step_ms));
        // So that it does not go on working for nobody.
        request = request.query("timeout", format!("{}ms", self.timeout.as_millis().max(1)));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.call().map_err(|why| self.failed(why))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(LARGEST).read_to_vec().map_err(|why| self.failed(why))?;
        let points = if status == StatusCode::OK {
            answer::points(&body, window)
        } else {
            Err(answer::refusal(status.as_u16(), &body))
        };
        points.map_err(|why| PrometheusError::Answer { url: self.url.clone(), why })
    }

    /// What canary and baseline show of a query with placeholders, ready to be judged.
    pub fn samples(&self, template: &str, canary: &Subject, baseline: &Subject, window: Window) -> Samples {
        let both = || {
            let (for_canary, for_baseline) = (query::fill(template, canary)?, query::fill(template, baseline)?);
            if for_canary == for_baseline {
                return Err(PrometheusError::SameQuery);
            }
            Ok((self.series(&for_canary, window)?, self.series(&for_baseline, window)?))
        };
        match both() {
            Ok((canary, baseline)) => Samples::Series { canary, baseline },
            Err(why) => Samples::Failed(why.to_string()),
        }
    }

    fn failed(&self, why: ureq::Error) -> PrometheusError {
        let url = self.url.clone();
        match why {
            ureq::Error::Timeout(_) => PrometheusError::Slow { url, limit: self.timeout },
            ureq::Error::BodyExceedsLimit(_) => PrometheusError::Large(url),
            why => PrometheusError::Unreachable { url, why: why.to_string() },
        }
    }
}
