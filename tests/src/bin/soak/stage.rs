//! What is soaked: pods, an Envoy with two workers and the filter, a controller; and what is done to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::client::Client;
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::{Listener, Wasm};
use sluicegate_tests::lab::{self, PODS, WEB};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{paths, poll};

const SPLIT: &str = "/v1/splits/default/backend";

pub(crate) struct Stage {
    pub(crate) envoy: Envoy,
    pub(crate) controller: Controller,
    _pods: Upstreams,
    /// Requests that were answered, so that they must be counted.
    pub(crate) answered: u64,
    /// Which of two configurations Envoy has.
    variant: bool,
    /// Which pod gets everything.
    second: bool,
    /// The worker that polls, by a connection to it.
    seized: Option<Client>,
}

/// One change of weights.
pub(crate) struct Changed {
    /// Sent to the controller.
    pub(crate) began: Instant,
    /// Every proxy is known to run it.
    pub(crate) acked: Instant,
    /// The pod that gets everything.
    pub(crate) pod: &'static str,
}

impl Stage {
    pub(crate) fn start() -> Result<Self> {
        let pods = Upstreams::start(&PODS)?;
        let controller = Controller::start(&[("backend.yaml", &split_yaml("backend", &[("v1", 1), ("v2", 0)], ""))])?;
        let envoy = Envoy::start(lab::options(&pods, vec![listener(false)?], controller.proxy, 2))?;
        let stage = Self { envoy, controller, _pods: pods, answered: 0, variant: false, second: false, seized: None };
        stage.all_acked()?;
        Ok(stage)
    }

    pub(crate) fn web(&self) -> Result<SocketAddr> {
        self.envoy.listener(WEB)
    }

    /// Waits until the one proxy there is has acked.
    pub(crate) fn all_acked(&self) -> Result<()> {
        poll::until("the proxy to have acked", poll::LONG, || match self.controller.json(SPLIT) {
            Ok(split) if split["live"] == 1 && split["acked"] == 1 => Ok(()),
            Ok(split) => Err(split.to_string()),
            Err(why) => Err(format!("{why:#}")),
        })
    }

    /// All requests to the other pod, until it is acked.
    pub(crate) fn change(&mut self) -> Result<Changed> {
        self.second = !self.second;
        let weights = json!({ "weights": { "v1": u8::from(!self.second), "v2": u8::from(self.second) } }).to_string();
        let mut admin = Client::connect(self.controller.admin)?.named("localhost");
        let began = Instant::now();
        let json = [("content-type", "application/json")];
        let answer = admin.request("POST", &format!("{SPLIT}/weights"), &json, weights.as_bytes())?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        let generation = answer.json()?["generation"].as_u64().context("no generation in the answer")?;
        let wait = format!("{SPLIT}?wait=acked&generation={generation}&timeout=15");
        admin.request("GET", &wait, &[], b"")?;
        // A controller that was just started knows of no proxy yet, and waits for none.
        self.all_acked()?;
        Ok(Changed { began, acked: Instant::now(), pod: if self.second { "v2" } else { "v1" } })
    }

    /// As a crash, and again.
    pub(crate) fn restart_controller(&mut self) -> Result<()> {
        self.controller.kill();
        self.controller.restart()
    }

    /// Another configuration of the filter; the listener before it drains.
    pub(crate) fn update_envoy(&mut self) -> Result<()> {
        self.variant = !self.variant;
        self.envoy.set_listeners(vec![listener(self.variant)?])
    }

    /// A worker takes the lease, so that it is the one that polls.
    pub(crate) fn seize(&mut self) -> Result<()> {
        let mut client = Client::connect(self.web()?)?;
        let answer = client.request("GET", "/", &[("x-fault", "seize")], b"")?;
        ensure!(answer.status == 200, "{}", answer.status);
        self.answered += 1;
        self.seized = Some(client);
        Ok(())
    }

    /// That worker's VM traps: the poller is gone, and what the VM had counted since its last flush.
    pub(crate) fn trap(&mut self) -> Result<()> {
        let Some(mut client) = self.seized.take() else { return Ok(()) };
        client.send(b"GET / HTTP/1.1\r\nhost: test\r\nx-fault: trap\r\n\r\n")?;
        // Whatever it answers: this request was made to fail.
        drop(client.read());
        Ok(())
    }

    /// Requests as the controller has counted them.
    pub(crate) fn counted(&self) -> Result<u64> {
        let split: Value = self.controller.json(SPLIT)?;
        let subsets = split["subsets"].as_array().into_iter().flatten();
        Ok(subsets.filter_map(|subset| subset["counts"]["requests"].as_u64()).sum())
    }

    /// Waits until the controller has counted this many, or as many as it ever will.
    pub(crate) fn settled(&self, wanted: u64) -> Result<u64> {
        let (mut last, mut since) = (0, Instant::now());
        poll::until("the counts", poll::LONG, || {
            let counted = self.counted().map_err(|why| format!("{why:#}"))?;
            if counted != last {
                (last, since) = (counted, Instant::now());
            }
            // Two flushes and two reports without news.
            if counted == wanted || since.elapsed() > Duration::from_secs(7) {
                Ok(counted)
            } else {
                Err(counted.to_string())
            }
        })
    }
}

/// The filter that obeys `x-fault`, in one of two configurations.
fn listener(variant: bool) -> Result<Listener> {
    let mut wasm: Wasm = lab::plugin(json!({ "fallback": if variant { "v2" } else { "v1" } }))?;
    wasm.module = paths::wasm("sluicegate-faults.wasm")?;
    wasm.env = vec![("SLUICEGATE_FAULT".into(), "orders".into())];
    wasm.failure_policy = "FAIL_RELOAD".into();
    Ok(lab::listener(WEB, &wasm))
}
