//! The real `sluicegate ext-proc` as a child process, and the Envoy configuration that goes with it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::controller::address;
use crate::envoy_config::cluster;
use crate::process::Process;
use crate::{paths, poll};

/// The Envoy cluster of the service.
pub const CLUSTER: &str = "ext-proc";

/// A running `sluicegate ext-proc`.
#[derive(Debug)]
pub struct ExtProc {
    process: Process,
    _dir: TempDir,
    /// Where Envoy calls.
    pub addr: SocketAddr,
}

impl ExtProc {
    /// Starts it with what a plugin configuration would say: `split` (`default/backend`, unless given), `hosts`, `fallback`,
    /// `on_loss`, `header`, `access_log`.
    ///
    /// # Errors
    /// When it does not start; with the end of its log.
    pub fn start(controller: SocketAddr, config: &Value) -> Result<Self> {
        let args = arguments(config);
        Self::start_with(controller, &args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts it with these arguments.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(controller: SocketAddr, args: &[&str]) -> Result<Self> {
        Self::start_at(&format!("http://{controller}"), args)
    }

    /// The same with any address of the controller.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_at(url: &str, args: &[&str]) -> Result<Self> {
        let dir = paths::scratch("ext-proc")?;
        let mut command = Command::new(paths::controller()?);
        command.args(["ext-proc", "--controller", url, "--listen", "127.0.0.1:0"]).args(args).env("NO_COLOR", "1");
        let mut process = Process::start("ext-proc", command, dir.path())?;
        let addr = address(&process.wait_log("listening for Envoy", poll::LONG)?, "listen=")?;
        Ok(Self { process, _dir: dir, addr })
    }

    /// CPU time since it started.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> Result<Duration> {
        self.process.cpu()
    }

    /// The process: its log, signals.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

fn arguments(config: &Value) -> Vec<String> {
    let mut args = Vec::new();
    let mut say = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
    match config["split"].as_str() {
        Some(split) => say("--split", split.to_owned()),
        None if config["hosts"] == true => {}
        None => say("--split", "default/backend".to_owned()),
    }
    match &config["fallback"] {
        Value::String(subset) => say("--fallback", subset.clone()),
        Value::Object(fallback) => {
            let subsets = fallback["subsets"].as_array().into_iter().flatten();
            let weights = subsets.map(|s| format!("{}={}", s["name"].as_str().unwrap_or_default(), s["weight"]));
            say("--fallback", weights.collect::<Vec<_>>().join(","));
        }
        _ => {}
    }
    if let Some(header) = config["header"].as_str() {
        say("--header", header.to_owned());
    }
    if let (Some(revert), Some(after)) = (config["on_loss"]["revert"].as_str(), config["on_loss"]["after"].as_str()) {
        say("--on-loss-revert", revert.to_owned());
        say("--on-loss-after", after.to_owned());
    }
    for (field, flag) in [("hosts", "--hosts"), ("access_log", "--access-log")] {
        if config[field] == true {
            args.push(flag.to_owned());
        }
    }
    args
}

/// The HTTP filter, as xDS JSON. It fails closed, so that no test takes a failure of ours for the default route.
#[must_use]
pub fn filter() -> Value {
    filter_to(CLUSTER)
}

/// The same with its services in this cluster.
#[must_use]
pub fn filter_to(cluster: &str) -> Value {
    json!({ "name": "envoy.filters.http.ext_proc", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor",
        "grpc_service": { "envoy_grpc": { "cluster_name": cluster } },
        "failure_mode_allow": false,
        "allow_mode_override": true,
        "message_timeout": "5s",
        "processing_mode": { "request_header_mode": "SEND", "response_header_mode": "SKIP" },
        "request_attributes": ["source.address"],
        "response_attributes": ["response.flags"],
        "metadata_options": { "receiving_namespaces": { "untyped": ["sluicegate"] } },
    }})
}

/// The cluster of these services, as xDS JSON.
#[must_use]
pub fn service(addresses: &[SocketAddr]) -> Value {
    service_named(CLUSTER, addresses)
}

/// The same by another name.
#[must_use]
pub fn service_named(name: &str, addresses: &[SocketAddr]) -> Value {
    let mut cluster = cluster(name, addresses);
    cluster["typed_extension_protocol_options"] = json!({ "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http2_protocol_options": {} },
    }});
    cluster
}

impl ExtProc {
    /// The cluster of this one.
    #[must_use]
    pub fn cluster(&self) -> Value {
        service(&[self.addr])
    }

    /// Stops it as a supervisor would, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end in time, or not well.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.stop(poll::LONG)?;
        anyhow::ensure!(status.success(), "{status}: {}", self.process.tail(10));
        Ok(())
    }

    /// What it says on this path of `--metrics-listen`.
    ///
    /// # Errors
    /// When it was started without, or does not answer.
    pub fn monitored(&mut self, path: &str) -> Result<crate::client::Response> {
        let line = self.process.wait_log("metrics_listen=", poll::LONG).context("started without --metrics-listen")?;
        crate::client::get(address(&line, "metrics_listen=")?, path)
    }
}
