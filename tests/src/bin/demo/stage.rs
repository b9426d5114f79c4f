//! What is on stage: the pods of the lab, an Envoy, the controller, and the person at the command line.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Listener, Wasm, cluster};
use sluicegate_tests::lab::WEB;
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{paths, poll};

use crate::print::{thousands, typed};

/// The pods of the lab; each name begins with `backend-` and its subset.
pub(crate) const V1: &str = "backend-v1-5558d4d6f7-fx66q";
/// See [`V1`].
pub(crate) const V2: &str = "backend-v2-7d8f9c5b4a-abc12";
/// Workers of the Envoy: each decides by itself.
pub(crate) const WORKERS: u64 = 2;

/// See the module.
pub(crate) struct Stage {
    pub(crate) pods: Upstreams,
    pub(crate) envoy: Envoy,
    pub(crate) controller: Controller,
}

impl Stage {
    /// Starts everything; all requests go to v1.
    pub(crate) fn start() -> Result<Self> {
        let split = split_yaml("backend", &[("v1", 100), ("v2", 0)], "");
        let files = [("backend.yaml", split.as_str())];
        let controller = Controller::start_with(&files, &["--report-interval", "500ms"])?;
        let pods = Upstreams::start(&[V1, V2])?;
        let module = paths::wasm("sluicegate.wasm")?;
        let size = fs::metadata(&module).context("no size of the filter")?.len();
        let config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "split": "default/backend" });
        let listener = Listener::new(WEB, "v1").subset("v2", "v2").filter(Wasm::new(&module, config).filter());
        let clusters = vec![
            cluster("v1", &[pods.addr(V1)]),
            cluster("v2", &[pods.addr(V2)]),
            cluster(CONTROLLER_CLUSTER, &[controller.proxy]),
        ];
        let mut options = Options::new(vec![listener], clusters).workers(WORKERS as usize);
        options.extra = json!({ "node": { "id": "gateway-1", "cluster": "demo" } });
        let envoy = Envoy::start(options)?;
        let stage = Self { pods, envoy, controller };
        stage.settled("the first weights in Envoy", |_| true)?;
        let version = stage.envoy.ask("/server_info")?.json()?["version"].as_str().unwrap_or_default().to_owned();
        let version = version.split('/').nth(1).unwrap_or("?");
        println!("  envoy       {version} with {WORKERS} workers and the filter ({} bytes)", thousands(size));
        println!("  controller  sluicegate serve --dir splits");
        println!("  pods        {V1}, {V2}");
        Ok(stage)
    }

    /// Where requests go.
    pub(crate) fn web(&self) -> Result<SocketAddr> {
        self.envoy.listener(WEB)
    }

    /// Runs the CLI, shows what was typed and what it printed.
    pub(crate) fn sluicegate(&self, args: &[&str]) -> Result<()> {
        typed(&format!("sluicegate {}", args.join(" ")));
        print!("{}", self.controller.cli(args)?);
        Ok(())
    }

    /// Sets the weights of v1 and v2 by the CLI, and makes sure that it says they are acked.
    pub(crate) fn set_weight(&self, v1: u64, v2: u64) -> Result<()> {
        let args = ["set-weight", "backend", &format!("v1={v1}"), &format!("v2={v2}")];
        typed(&format!("sluicegate {}", args.join(" ")));
        let said = self.controller.cli(&args)?;
        print!("{said}");
        ensure!(said.contains("acked by 1/1 proxies"), "set-weight does not say that the proxy acked: {said}");
        Ok(())
    }

    /// Edits the file as a person would, and waits until Envoy obeys.
    pub(crate) fn edit(&self, what: &str, v1: u64, v2: u64, extra: &str) -> Result<()> {
        let before = self.split()?["generation"].as_u64();
        typed(&format!("vi splits/backend.yaml   # {what}"));
        self.controller.write_split("backend", &[("v1", v1), ("v2", v2)], extra)?;
        let split = self.settled("Envoy to obey the edited file", |split| split["generation"].as_u64() > before)?;
        println!("backend: generation {}, acked, {}", split["generation"], split["assignment"].as_str().unwrap_or("?"));
        Ok(())
    }

    /// The split as the admin port shows it.
    pub(crate) fn split(&self) -> Result<Value> {
        self.controller.json("/v1/splits/default/backend")
    }

    /// Waits until the one proxy has acked, and more is so.
    pub(crate) fn settled(&self, what: &str, more: impl Fn(&Value) -> bool) -> Result<Value> {
        poll::until(what, poll::LONG, || {
            let split = self.split().map_err(|why| format!("{why:#}"))?;
            let acked = split["live"] == 1 && split["acked"] == 1;
            if acked && more(&split) { Ok(split) } else { Err(split["conditions"].to_string()) }
        })
    }

    /// Requests that the pods have received so far.
    pub(crate) fn received(&self) -> u64 {
        self.pods.received().values().map(|pod| pod.requests).sum()
    }

    /// Waits until so many more requests have come to the pods.
    pub(crate) fn await_requests(&self, more: u64) -> Result<()> {
        let until = self.received() + more;
        poll::until(&format!("{more} requests"), poll::LONG, || {
            let now = self.received();
            if now >= until { Ok(()) } else { Err(format!("{} to go", until - now)) }
        })
    }

    /// Waits until the controller has counted every request that the pods received.
    pub(crate) fn await_counts(&self) -> Result<()> {
        let sent = self.received();
        poll::until("the controller to count what the pods received", poll::LONG, || {
            let split = self.split().map_err(|why| format!("{why:#}"))?;
            let counts = split["subsets"].as_array().into_iter().flatten();
            let counted: u64 = counts.filter_map(|subset| subset["counts"]["requests"].as_u64()).sum();
            if counted == sent { Ok(()) } else { Err(format!("{counted} of {sent}")) }
        })
    }
}
