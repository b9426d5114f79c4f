//! The usual set-up of a test: pods of three subsets, the filter in front of them, a controller behind it.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use crate::client::{self, Response};
use crate::envoy::{Envoy, Options};
use crate::envoy_config::{CONTROLLER_CLUSTER, Listener, Wasm, cluster};
use crate::ext_proc::{self, ExtProc};
use crate::load::{Limits, Load, Tally};
use crate::paths;
use crate::upstream::Upstreams;

/// The listener all requests go to.
pub const WEB: &str = "web";
/// The pods, named by subset.
pub const PODS: [&str; 3] = ["v1", "v2", "v3"];

/// Who decides in front of the pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The filter, in Envoy.
    Wasm,
    /// `sluicegate ext-proc`, beside it.
    ExtProc,
}

/// Pods and an Envoy; the controller is whatever listens at the address given.
#[derive(Debug)]
pub struct Lab {
    /// The HTTP filter in front of the pods.
    pub filter: Value,
    /// The service behind that filter, if it is one.
    pub ext_proc: Option<ExtProc>,
    /// One pod per subset v1, v2, v3.
    pub pods: Upstreams,
    /// The Envoy.
    pub envoy: Envoy,
}

/// The filter that counts, for the split `default/backend`, with more fields in its configuration.
///
/// # Errors
/// When `make wasm` has not been run.
pub fn plugin(extra: Value) -> Result<Wasm> {
    let mut config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "split": "default/backend" });
    for (name, value) in extra.as_object().into_iter().flatten() {
        config[name] = value.clone();
        if name == "hosts" {
            config.as_object_mut().map(|fields| fields.remove("split"));
        }
    }
    Ok(Wasm::new(&paths::wasm("sluicegate.wasm")?, config))
}

/// The HTTP filter of a door with more fields in its configuration, and the service behind it, if it is one.
///
/// # Errors
/// When `make wasm` has not been run, or the service does not start.
pub fn open(door: Door, controller: SocketAddr, extra: Value) -> Result<(Value, Option<ExtProc>)> {
    match door {
        Door::Wasm => Ok((plugin(extra)?.filter(), None)),
        Door::ExtProc => Ok((ext_proc::filter(), Some(ExtProc::start(controller, &extra)?))),
    }
}

/// A listener with this filter in front of v1 (default), v2 and v3.
#[must_use]
pub fn listener(name: &str, wasm: &Wasm) -> Listener {
    listener_with(name, wasm.filter())
}

/// The same with any filter.
#[must_use]
pub fn listener_with(name: &str, filter: Value) -> Listener {
    Listener::new(name, "v1").subset("v2", "v2").subset("v3", "v3").filter(filter)
}

/// Options of an Envoy with these listeners and a controller at this address.
#[must_use]
pub fn options(pods: &Upstreams, listeners: Vec<Listener>, controller: SocketAddr, workers: usize) -> Options {
    let mut clusters: Vec<Value> = PODS.iter().map(|pod| cluster(pod, &pods.addrs(pod))).collect();
    clusters.push(cluster(CONTROLLER_CLUSTER, &[controller]));
    Options::new(listeners, clusters).workers(workers)
}

impl Lab {
    /// Two workers and the plain plugin.
    ///
    /// # Errors
    /// When Envoy does not start.
    pub fn start(controller: SocketAddr) -> Result<Self> {
        Self::with(controller, 2, &plugin(json!({}))?)
    }

    /// So many workers and this plugin.
    ///
    /// # Errors
    /// When Envoy does not start.
    pub fn with(controller: SocketAddr, workers: usize, wasm: &Wasm) -> Result<Self> {
        Self::launch(wasm.filter(), None, controller, workers)
    }

    /// So many workers, and this door with more fields in its configuration.
    ///
    /// # Errors
    /// When Envoy or the service does not start.
    pub fn at(door: Door, controller: SocketAddr, workers: usize, extra: Value) -> Result<Self> {
        let (filter, service) = open(door, controller, extra)?;
        Self::launch(filter, service, controller, workers)
    }

    fn launch(filter: Value, ext_proc: Option<ExtProc>, controller: SocketAddr, workers: usize) -> Result<Self> {
        let pods = Upstreams::start(&PODS)?;
        let mut options = options(&pods, vec![listener_with(WEB, filter.clone())], controller, workers);
        options.clusters.extend(ext_proc.as_ref().map(ExtProc::cluster));
        let envoy = Envoy::start(options)?;
        Ok(Self { filter, ext_proc, pods, envoy })
    }

    /// Where requests go.
    ///
    /// # Errors
    /// When the listener is gone.
    pub fn web(&self) -> Result<SocketAddr> {
        self.envoy.listener(WEB)
    }

    /// One request.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, target: &str) -> Result<Response> {
        client::get(self.web()?, target)
    }

    /// So many requests over some connections, with these header lines.
    ///
    /// # Errors
    /// When the listener is gone.
    pub fn load(&self, count: u64, connections: usize, header_lines: &str) -> Result<Tally> {
        Load::new(self.web()?, connections, header_lines)?.run(&Limits::count(count))
    }
}
