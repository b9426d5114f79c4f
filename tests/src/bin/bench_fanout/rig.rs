//! A controller with some splits and a fleet that subscribes to them, and one weight change on it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_core::wire::Subscription;
use sluicegate_tests::client::Client;
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::fleet::{self, Fleet, Seen};
use sluicegate_tests::poll;

use crate::machine::{self, Cores};

/// The split that changes.
pub(crate) const SPLIT: &str = "/v1/splits/default/split-0000";
/// Longest wait for all proxies to get somewhere.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);

pub(crate) struct Rig {
    pub(crate) controller: Controller,
    pub(crate) fleet: Fleet,
    pub(crate) proxies: usize,
    /// From the start of the fleet until all polls were held and all had acked.
    pub(crate) connected: Duration,
    /// Resident memory of the controller before any proxy came.
    pub(crate) empty: u64,
    /// CPU time of the controller until then.
    pub(crate) cpu: Duration,
    changes: usize,
}

/// What one change took, from the moment it was sent.
pub(crate) struct Changed {
    /// Each answer as the fleet read it.
    pub(crate) answers: Vec<Duration>,
    /// The last ack, as the controller heard it.
    pub(crate) acked: Duration,
    /// Somebody who asked to be told of the last ack was told.
    pub(crate) told: Duration,
    /// Of the controller.
    pub(crate) cpu: Duration,
    /// All answers together.
    pub(crate) bytes: usize,
}

impl Rig {
    /// So many splits: one, by name, or more, by host.
    pub(crate) fn start(proxies: usize, splits: usize, cores: &Cores) -> Result<Self> {
        // The controller inherits the limit, and the core; the fleet gets the other core.
        fleet::allow_files(proxies)?;
        machine::stay_on(cores.first())?;
        let name = |index: usize| format!("split-{index:04}");
        let files: Vec<(String, String)> = (0..splits)
            .map(|index| {
                let hosts = if splits > 1 { format!("hosts: [{}.example.com]", name(index)) } else { String::new() };
                let subsets = [("main", 90), ("canary", 5), ("baseline", 5)];
                (format!("{}.yaml", name(index)), split_yaml(&name(index), &subsets, &hosts))
            })
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(file, yaml)| (file.as_str(), yaml.as_str())).collect();
        let mut controller = Controller::start(&files)?;
        machine::stay_on(cores.get(1))?;
        let (empty, cpu) = (controller.process().resident()?, controller.process().cpu()?);
        let subscription =
            if splits > 1 { Subscription::Hosts } else { Subscription::Split("default/split-0000".into()) };
        let began = Instant::now();
        let fleet = Fleet::start(controller.proxy, proxies, &subscription)?;
        let mut rig =
            Self { controller, fleet, proxies, connected: Duration::ZERO, empty, cpu: Duration::ZERO, changes: 0 };
        rig.until_steady()?;
        rig.connected = began.elapsed();
        rig.cpu = rig.controller.process().cpu()? - cpu;
        Ok(rig)
    }

    /// Waits until the controller holds a poll of each proxy, and each has acked. Returns what the fleet saw meanwhile.
    pub(crate) fn until_steady(&self) -> Result<Seen> {
        let mut seen = Seen::default();
        let mut admin = Client::connect(self.controller.admin)?.named("localhost");
        admin.patience(PATIENCE)?;
        poll::until("all polls to be held", PATIENCE, || {
            seen.add(self.fleet.take());
            let held = metric(&mut admin, "sluicegate_sync_polls_open").map_err(|why| format!("{why:#}"))?;
            let (acked, live) = standing(&mut admin).map_err(|why| format!("{why:#}"))?;
            if (held, acked, live) == (self.proxies, self.proxies, self.proxies) {
                return Ok(());
            }
            Err(format!("{held} held, {acked}/{live} acked of {}; {:?}", self.proxies, seen.failures))
        })?;
        Ok(seen)
    }

    /// Changes the weights, and waits until so many proxies have the answer and have acked it.
    pub(crate) fn change(&mut self, reach: usize) -> Result<Changed> {
        let mut admin = Client::connect(self.controller.admin)?.named("localhost");
        admin.patience(PATIENCE)?;
        let mut seen = self.fleet.take();
        ensure!(seen.failures.is_empty(), "polls failed: {:?}", seen.failures);
        seen.news.clear();
        self.changes += 1;
        let canary = 1 + self.changes % 50;
        let weights = json!({ "weights": { "main": 100 - canary, "canary": canary } }).to_string();
        let cpu = self.controller.process().cpu()?;
        let began = Instant::now();
        let headers = [("content-type", "application/json")];
        let answer = admin.request("POST", &format!("{SPLIT}/weights"), &headers, weights.as_bytes())?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        let generation = answer.json()?["generation"].as_u64().context("no generation in the answer")?;
        let told;
        if reach == self.proxies {
            let target = format!("{SPLIT}?wait=acked&generation={generation}&timeout=60");
            let answer = admin.request("GET", &target, &[], b"")?;
            told = began.elapsed();
            ensure!(answer.status == 200, "status {}: {:.300}", answer.status, answer.text());
        } else {
            poll::until("all that read to have acked", PATIENCE, || match standing(&mut admin) {
                Ok((acked, _)) if acked >= reach => Ok(()),
                other => Err(format!("{other:?}")),
            })?;
            told = began.elapsed();
        }
        let cpu = self.controller.process().cpu()? - cpu;
        poll::until("all answers to be read", PATIENCE, || {
            seen.add(self.fleet.take());
            if seen.news.len() >= reach { Ok(()) } else { Err(format!("{}, {:?}", seen.news.len(), seen.failures)) }
        })?;
        ensure!(
            seen.failures.is_empty() && seen.news.len() == reach,
            "{} answers; {:?}",
            seen.news.len(),
            seen.failures
        );
        let answers: Vec<Duration> = seen.news.iter().map(|(at, _)| at.saturating_duration_since(began)).collect();
        let bytes = seen.news.iter().map(|(_, size)| size).sum();
        // The controller counts from the publication, which is not after the first answer was read.
        let first = answers.iter().min().copied().unwrap_or_default();
        let acked = if reach == self.proxies { first + self.spread_took(&mut admin)? } else { told };
        Ok(Changed { answers, acked, told, cpu, bytes })
    }

    /// How long the last generation took from its publication to the last ack, by the controller's clock.
    fn spread_took(&self, admin: &mut Client) -> Result<Duration> {
        let split = listed(admin)?;
        let ms = split["propagatedMs"].as_f64().with_context(|| format!("not acked by all: {split}"))?;
        Ok(Duration::from_secs_f64(ms / 1e3))
    }
}

/// Live proxies that have acked the split that changes, and all live ones.
pub(crate) fn standing(admin: &mut Client) -> Result<(usize, usize)> {
    let split = listed(admin)?;
    let number = |field: &str| split[field].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    Ok((number("acked"), number("live")))
}

/// The split that changes, as the list of all shows it: without its proxies, which costs the controller nothing.
fn listed(admin: &mut Client) -> Result<Value> {
    let answer = admin.request("GET", "/v1/splits", &[], b"")?;
    ensure!(answer.status == 200, "status {}: {:.300}", answer.status, answer.text());
    Ok(answer.json()?["splits"][0].take())
}

/// A number that the controller tells Prometheus.
pub(crate) fn metric(admin: &mut Client, name: &str) -> Result<usize> {
    let answer = admin.request("GET", "/metrics", &[], b"")?;
    let text = answer.text();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("no {name} in the metrics"))
}
