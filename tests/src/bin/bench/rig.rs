//! What stands around the measured Envoy: upstreams on a thread of this process, and real controllers.

use anyhow::Result;
use serde_json::Value;
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, cluster};
use sluicegate_tests::paths;
use sluicegate_tests::upstream::Upstreams;

/// The subsets in the order that users list them; the default is in the middle.
pub(crate) const WEIGHTS: [(&str, u64); 3] = [("canary", 5), ("main", 90), ("baseline", 5)];

/// Numbers of splits that the flatness part compares.
pub(crate) const SPLITS: [usize; 3] = [1, 100, 1000];

pub(crate) struct Rig {
    pub(crate) pods: Upstreams,
    /// One for the splits by name, then one for each of [`SPLITS`].
    pub(crate) controllers: Vec<Controller>,
}

impl Rig {
    pub(crate) fn start() -> Result<Self> {
        let pods = Upstreams::start(&["main", "baseline", "canary"])?;
        let built = paths::controller().and(paths::wasm("sluicegate.wasm")).and(paths::wasm("sluicegate-split.wasm"));
        if let Err(missing) = built {
            eprintln!("our own variants are left out: {missing:#}");
            return Ok(Self { pods, controllers: Vec::new() });
        }
        let even = split(&WEIGHTS, "bench", "");
        let sticky = split(&WEIGHTS, "bench-sticky", "assignment: sticky\nsticky: { header: x-user-id }");
        let resting = split(&[("canary", 0), ("main", 100), ("baseline", 0)], "bench-default", "");
        let mut controllers =
            vec![Controller::start(&[("even.yaml", &even), ("sticky.yaml", &sticky), ("default.yaml", &resting)])?];
        for number in SPLITS {
            let all: Vec<String> =
                (0..number).map(|n| split(&WEIGHTS, &format!("split-{n}"), &format!("hosts: [{}]", host(n)))).collect();
            controllers.push(Controller::start(&[("all.yaml", &all.join("---\n"))])?);
        }
        Ok(Self { pods, controllers })
    }

    /// Whether our filter and controller are built.
    pub(crate) fn ours(&self) -> bool {
        !self.controllers.is_empty()
    }

    pub(crate) fn clusters(&self) -> Vec<Value> {
        let mut clusters: Vec<Value> = WEIGHTS.iter().map(|(name, _)| cluster(name, &[self.pods.addr(name)])).collect();
        let names = std::iter::once(CONTROLLER_CLUSTER.to_owned()).chain(SPLITS.map(hosts_cluster));
        for (index, name) in names.enumerate() {
            let at: Vec<_> = self.controllers.get(index).map(|controller| controller.proxy).into_iter().collect();
            clusters.push(cluster(&name, &at));
        }
        clusters
    }
}

/// The cluster of the controller that serves so many splits by host.
pub(crate) fn hosts_cluster(splits: usize) -> String {
    format!("sluicegate-{splits}")
}

/// The host that split number `n` serves.
pub(crate) fn host(n: usize) -> String {
    format!("service-{n}.example.com")
}

fn split(subsets: &[(&str, u64)], name: &str, extra: &str) -> String {
    split_yaml(name, subsets, extra).replace("default: canary", "default: main")
}
