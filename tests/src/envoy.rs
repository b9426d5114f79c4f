//! A real Envoy process. Listeners, clusters and ECDS resources are files it watches, so a test can change them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::envoy_config::{self, Listener, Wasm};
use crate::process::Process;
use crate::{client, paths, poll};

mod admin;

/// How to start an Envoy.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads.
    pub concurrency: usize,
    /// Its listeners.
    pub listeners: Vec<Listener>,
    /// Its clusters, as [`envoy_config::cluster`] makes them.
    pub clusters: Vec<Value>,
    /// Wasm plugins whose configuration comes by ECDS.
    pub ecds: Vec<Wasm>,
    /// Seconds that a replaced filter chain lives on.
    pub drain_s: u32,
    /// Whether a second process can take over, see [`Envoy::hot_restart`].
    pub hot_restart: bool,
    /// Log levels, such as `warning` or `warning,wasm:info`.
    pub log: String,
    /// `stats_config.stats_tags` of the bootstrap.
    pub stats_tags: Value,
    /// More fields of the bootstrap; they win.
    pub extra: Value,
}

impl Options {
    /// One worker, one second of drain, no hot restart.
    #[must_use]
    pub fn new(listeners: Vec<Listener>, clusters: Vec<Value>) -> Self {
        Self {
            concurrency: 1,
            listeners,
            clusters,
            ecds: Vec::new(),
            drain_s: 1,
            hot_restart: false,
            log: "warning,wasm:info".to_owned(),
            stats_tags: json!([]),
            extra: json!({}),
        }
    }

    /// With so many workers.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        self.concurrency = workers;
        self
    }
}

/// A running, live Envoy.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    dir: Arc<TempDir>,
    admin: SocketAddr,
    options: Options,
    epoch: u32,
    version: u64,
}

impl Envoy {
    /// Starts it and waits until it is live with all its listeners.
    ///
    /// # Errors
    /// When it does not get there in time; with the end of its log.
    pub fn start(options: Options) -> Result<Self> {
        let dir = Arc::new(paths::scratch("envoy")?);
        let folder = dir.path();
        // Each watched folder holds only what it is watched for.
        std::fs::create_dir(folder.join("xds"))?;
        let config = envoy_config::bootstrap(&folder.join("xds"), &options.stats_tags, &options.extra);
        paths::write_atomically(&folder.join("bootstrap.json"), config.to_string())?;
        write_resources(folder, &options, 1)?;
        Self::launch(options, dir, 0, 1)
    }

    fn launch(options: Options, dir: Arc<TempDir>, epoch: u32, version: u64) -> Result<Self> {
        let folder = dir.path();
        let address_file = folder.join(format!("admin-{epoch}"));
        let mut command = Command::new(paths::envoy()?);
        command.arg("--config-path").arg(folder.join("bootstrap.json"));
        command.arg("--admin-address-path").arg(&address_file);
        command.args(["--concurrency", &options.concurrency.to_string()]);
        command.args(["--drain-time-s", &options.drain_s.to_string(), "--drain-strategy", "immediate"]);
        command.args(["--parent-shutdown-time-s", &(options.drain_s + 1).to_string()]);
        let (level, components) = options.log.split_once(',').unwrap_or((&options.log, ""));
        command.args(["--log-level", level]);
        if !components.is_empty() {
            command.args(["--component-log-level", components]);
        }
        match (options.hot_restart, epoch) {
            (false, _) => drop(command.arg("--disable-hot-restart")),
            (true, 0) => drop(command.arg("--use-dynamic-base-id").arg("--base-id-path").arg(folder.join("base-id"))),
            (true, _) => {
                let base =
                    std::fs::read_to_string(folder.join("base-id")).context("no base id of the first process")?;
                command.args(["--base-id", base.trim(), "--restart-epoch", &epoch.to_string()]);
            }
        }
        let mut process = Process::start(&format!("envoy-{epoch}"), command, folder)?;
        let admin = poll::until("a live Envoy", poll::LONG, || {
            if let Some(status) = process.exited() {
                return Ok(Err(format!("it ended with {status}:\n{}", process.tail(30))));
            }
            let address = std::fs::read_to_string(&address_file).map_err(|_| process.tail(5))?;
            let address: SocketAddr = address.trim().parse().map_err(|_| format!("half an address: {address}"))?;
            match client::get(address, "/ready") {
                Ok(answer) if answer.status == 200 => Ok(Ok(address)),
                Ok(answer) => Err(format!("/ready says {}; {}", answer.text().trim(), process.tail(5))),
                Err(error) => Err(format!("{error:#}")),
            }
        })?;
        let Ok(admin) = admin.map_err(|why| eprintln!("{why}")) else {
            bail!("Envoy did not start: {}", process.tail(10))
        };
        let envoy = Self { process, dir, admin, options, epoch, version };
        for listener in &envoy.options.listeners {
            poll::until(&format!("listener '{}'", listener.name), poll::LONG, || envoy.find_listener(&listener.name))
                .with_context(|| envoy.process.tail(10))?;
        }
        Ok(envoy)
    }

    /// The address of a listener.
    ///
    /// # Errors
    /// When there is none with this name.
    pub fn listener(&self, name: &str) -> Result<SocketAddr> {
        self.find_listener(name).map_err(anyhow::Error::msg)
    }

    /// The address of the admin port.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process: its log, its CPU time, signals.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// CPU time of the whole process so far.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }

    /// The folder of its files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where the watched files are; for [`Wasm::filter_by_ecds`].
    #[must_use]
    pub fn xds(&self) -> PathBuf {
        self.dir.path().join("xds")
    }

    /// Replaces the listeners (LDS) and waits until Envoy has taken them. An unchanged listener is not drained.
    ///
    /// # Errors
    /// When Envoy refuses them: then it keeps the old ones, and the message says why.
    pub fn set_listeners(&mut self, listeners: Vec<Listener>) -> Result<()> {
        let mut next = self.options.clone();
        next.listeners = listeners;
        self.update("lds", "listener_manager.lds", &next)?;
        self.options = next;
        for listener in &self.options.listeners {
            poll::until(&format!("listener '{}'", listener.name), poll::LONG, || self.find_listener(&listener.name))?;
        }
        Ok(())
    }

    /// Replaces the clusters (CDS) and waits until Envoy has taken them.
    ///
    /// # Errors
    /// As [`Self::set_listeners`].
    pub fn set_clusters(&mut self, clusters: Vec<Value>) -> Result<()> {
        let mut next = self.options.clone();
        next.clusters = clusters;
        self.update("cds", "cluster_manager.cds", &next)?;
        self.options = next;
        Ok(())
    }

    /// Replaces the configuration of one plugin that comes by ECDS, and waits until Envoy has taken it.
    ///
    /// # Errors
    /// As [`Self::set_listeners`].
    pub fn set_ecds(&mut self, plugin: Wasm) -> Result<()> {
        let mut next = self.options.clone();
        let stat = format!("extension_config_discovery.http_filter.{}", plugin.name);
        let place =
            next.ecds.iter_mut().find(|one| one.name == plugin.name).context("this plugin does not come by ECDS")?;
        *place = plugin;
        self.update("ecds", &stat, &next)?;
        self.options = next;
        Ok(())
    }

    fn update(&mut self, what: &str, stat: &str, next: &Options) -> Result<()> {
        let before = self.taken(stat)?;
        self.version += 1;
        write_resources(self.dir.path(), next, self.version)?;
        poll::until(&format!("Envoy to take the new {what}"), poll::LONG, || {
            let now = self.taken(stat).map_err(|error| format!("{error:#}"))?;
            if now.1 > before.1 {
                return Ok(Err(self.process.tail(3)));
            }
            if now.0 > before.0 { Ok(Ok(())) } else { Err(format!("taken, refused: {now:?}")) }
        })?
        .or_else(|why: String| bail!("Envoy refused the new {what}: {why}"))
    }

    fn taken(&self, stat: &str) -> Result<(u64, u64)> {
        // ECDS counts what the extension made of it, the others what the subscription did.
        let (good, bad) = if stat.starts_with("extension") {
            ("config_reload", "config_fail")
        } else {
            ("update_success", "update_rejected")
        };
        let stats = self.stats(&format!("{stat}.*({good}|{bad}|update_rejected)$"))?;
        let sum =
            |end: &str| stats.iter().filter(|(name, _)| name.ends_with(end)).map(|(_, value)| *value).sum::<u64>();
        Ok((sum(good), sum(bad) + if bad == "update_rejected" { 0 } else { sum("update_rejected") }))
    }

    /// Starts a second process that takes over the listeners; both run until the first has drained.
    ///
    /// # Errors
    /// When it was not started with `hot_restart`, or the new process does not become live.
    pub fn hot_restart(&self) -> Result<Self> {
        ensure!(self.options.hot_restart, "start it with hot_restart: true");
        Self::launch(self.options.clone(), Arc::clone(&self.dir), self.epoch + 1, self.version)
    }
}

fn write_resources(dir: &Path, options: &Options, version: u64) -> Result<()> {
    let xds = dir.join("xds");
    let changed = |file: &str, resources: &[Value]| -> Result<()> {
        let path = xds.join(file);
        // The version is not compared: a rename alone makes Envoy count an update.
        let old = std::fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok());
        if old.is_some_and(|old| old["resources"].as_array().is_some_and(|old| old == resources)) {
            return Ok(());
        }
        paths::write_atomically(&path, envoy_config::resources(version, resources))
    };
    for plugin in &options.ecds {
        changed(&plugin.ecds_file(), &[plugin.ecds()])?;
    }
    changed("cds.json", &options.clusters)?;
    let listeners: Vec<Value> = options.listeners.iter().map(Listener::to_json).collect();
    changed("lds.json", &listeners)
}
