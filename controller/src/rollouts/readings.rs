//! Judging a step by metrics of Prometheus: asked beside the engine when the step's time is over, judged once.
//!
//! A source that fails and points that are too few are no judgment: then it is asked again. A judgment of all metrics
//! stands, whatever it says; looking again until it pleases would make the chance of error larger with each look.

use super::{
    job::{Job, Progress},
    machine::Machine,
};
use crate::{
    api::accept_rollout::{self, Deploy},
    prometheus::{Prometheus, Settings, Window, query::Subject},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sluicegate_core::{
    judge::{
        Verdict,
        metrics::{Judgment, Metrics, Samples},
    },
    rollout::{Role, deploy::Phase},
};
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::spawn_blocking};

/// What metrics said of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// When the step's hold began, Unix ms: whose reading this is.
    pub since: u64,
    /// It stands; otherwise something was missing, and it is asked again.
    pub stands: bool,
    /// What they said.
    pub judgment: Judgment,
}

/// Asks for readings.
#[derive(Debug)]
pub struct Readings {
    wake: Arc<Notify>,
    job: Option<Job<Result<Reading, String>>>,
    ask_at: Duration,
    /// What is wrong with what was asked for.
    pub trouble: Option<String>,
}

/// Everything a reading needs, and no clock.
struct Question {
    prometheus: accept_rollout::Prometheus,
    queries: Vec<String>,
    metrics: Metrics,
    canary: Subject,
    baseline: Subject,
    since: u64,
    end: Timestamp,
}

impl Readings {
    /// Nothing asked.
    pub fn new(wake: Arc<Notify>) -> Self {
        Self { wake, job: None, ask_at: Duration::ZERO, trouble: None }
    }

    /// A new reading, when there is one; asks for one when it is time.
    pub fn turn(&mut self, machine: &Machine, folder: &Path, now: crate::clock::Now) -> Option<Reading> {
        let Some((deploy, since)) = due(machine, now.wall) else {
            (self.job, self.ask_at, self.trouble) = (None, Duration::ZERO, None);
            return None;
        };
        match self.job.take().map(Job::look) {
            Some(Progress::Busy(job)) => self.job = Some(job),
            Some(Progress::Done(Ok(reading))) => {
                self.trouble = None;
                return Some(reading).filter(|reading| reading.since == since);
            }
            Some(Progress::Done(Err(why))) => self.trouble = Some(why),
            Some(Progress::Lost) => self.trouble = Some("asking for metrics ended with a panic, a bug".to_owned()),
            None if now.at >= self.ask_at => match question(machine, deploy, since, now.wall, folder) {
                Ok(question) => {
                    self.ask_at = now.at + question.prometheus.interval;
                    self.job = Some(Job::start(&self.wake, async move {
                        spawn_blocking(move || ask(&question)).await.map_err(|why| why.to_string())?
                    }));
                }
                Err(why) => self.trouble = Some(why),
            },
            None => {}
        }
        None
    }
}

/// The rollout whose step's time is over and whose metrics have not said anything that stands, and when its hold began.
fn due(machine: &Machine, now: Timestamp) -> Option<(&Deploy, u64)> {
    let Machine::CanaryDeploy { spec, state, reading, .. } = machine else { return None };
    let Phase::Hold { step } = state.phase else { return None };
    let over = state.elapsed(now.as_millisecond().max(0) as u64) >= spec.steps.get(step)?.hold;
    let stands = reading.as_ref().is_some_and(|r| r.stands && r.since == state.entered);
    (over && !stands && !spec.judging.metrics.is_empty()).then_some((spec, state.entered))
}

fn question(machine: &Machine, deploy: &Deploy, since: u64, end: Timestamp, folder: &Path) -> Result<Question, String> {
    let Machine::CanaryDeploy { state, .. } = machine else { return Err("metrics are for a CanaryDeploy".to_owned()) };
    let mut prometheus = deploy.judging.prometheus.clone().ok_or("no Prometheus is given")?;
    for file in [&mut prometheus.token_file, &mut prometheus.ca_file].into_iter().flatten() {
        *file = folder.join(&*file);
    }
    let split = deploy.splits.first().map_or("", |(name, _)| name);
    let (namespace, split) = split.split_once('/').unwrap_or(("", split));
    let version = state.rollout.as_ref().map_or("", |rollout| &rollout.version);
    let subject = |role: Role, version: &str| Subject {
        namespace: namespace.to_owned(),
        split: split.to_owned(),
        subset: role.name().to_owned(),
        version: version.to_owned(),
    };
    Ok(Question {
        metrics: deploy.judging.metrics().map_err(|why| why.to_string())?,
        queries: deploy.judging.metrics.iter().map(|metric| metric.query.clone()).collect(),
        canary: subject(Role::Canary, version),
        baseline: subject(Role::Baseline, &state.stable),
        prometheus,
        since,
        end,
    })
}

/// Blocks for as long as Prometheus takes.
fn ask(question: &Question) -> Result<Reading, String> {
    let accept_rollout::Prometheus { url, timeout, interval, token_file, ca_file } = &question.prometheus;
    let read = |path: &Path| fs::read(path).map_err(|why| format!("cannot read {}: {why}", path.display()));
    let token = token_file.as_deref().map(read).transpose()?;
    let token = token.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let ca = ca_file.as_deref().map(read).transpose()?;
    let source = Prometheus::new(Settings { url: url.clone(), token, ca, timeout: *timeout });
    let source = source.map_err(|why| why.to_string())?;
    let start = i64::try_from(question.since).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let window = Window::new(start.unwrap_or(question.end), question.end, *interval).map_err(|why| why.to_string())?;
    let one = |query: &String| source.samples(query, &question.canary, &question.baseline, window);
    let samples: Vec<Samples> = question.queries.iter().map(one).collect();
    let judgment = question.metrics.judge(&samples);
    let missing = judgment.score.is_none() || judgment.metrics.iter().any(|m| m.class.is_none() || m.too_few);
    // A critical metric fails whatever the others have.
    let stands = judgment.verdict == Verdict::Fail || !missing;
    Ok(Reading { since: question.since, stands, judgment })
}
