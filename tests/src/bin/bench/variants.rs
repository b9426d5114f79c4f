//! What is compared: each variant is one listener of the same Envoy.

use std::ops::Range;
use std::path::Path;

use serde_json::json;
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Listener, Wasm, lua, to_weighted};
use sluicegate_tests::paths;

use crate::rig::{Rig, SPLITS, hosts_cluster};

/// One row of the table.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    pub(crate) listener: Listener,
    /// The variant without a filter that it is compared with.
    pub(crate) none: &'static str,
    /// Whether its requests are split 90/5/5 or all stay on the default; checked, unless unknown.
    pub(crate) splits: Option<bool>,
    /// Requests rotate over the hosts with these numbers.
    pub(crate) hosts: Range<usize>,
}

pub(crate) const NONE: &str = "none";
pub(crate) const NONE_200: &str = "none, 200 routes";
pub(crate) const NATIVE: &str = "native weighted_clusters";
pub(crate) const SDK: &str = "SDK no-op";
pub(crate) const RAW: &str = "raw no-op";
pub(crate) const LUA: &str = "Lua splitter";
pub(crate) const SPLIT: &str = "ours, split only";
pub(crate) const COUNTS: &str = "ours, counting";
pub(crate) const STICKY: &str = "ours, sticky by header, counting";
pub(crate) const STICKY_SPLIT: &str = "ours, sticky by header, split only";
pub(crate) const SPLIT_200: &str = "ours, split only, 200 routes";
pub(crate) const DEFAULT: &str = "ours, split only, all default";
pub(crate) const DEFAULT_200: &str = "ours, split only, all default, 200 routes";
pub(crate) const NOBODYS: &str = "ours, 1000 splits by host, a host of none";
pub(crate) const FLAT: [&str; 3] = ["ours, 1 split by host", "ours, 100 splits by host", "ours, 1000 splits by host"];

pub(crate) fn one_worker(rig: &Rig) -> Vec<Variant> {
    let mut all = rivals();
    if rig.ours() {
        let by_name = |name, artefact, split| ours(name, artefact, json!({ "split": split }), CONTROLLER_CLUSTER);
        all.push(by_name(SPLIT, "sluicegate-split.wasm", "default/bench"));
        all.push(by_name(COUNTS, "sluicegate.wasm", "default/bench"));
        all.push(by_name(STICKY_SPLIT, "sluicegate-split.wasm", "default/bench-sticky"));
        all.push(by_name(STICKY, "sluicegate.wasm", "default/bench-sticky"));
        all.push(routes_200(by_name(SPLIT_200, "sluicegate-split.wasm", "default/bench")));
        let resting =
            |name| Variant { splits: Some(false), ..by_name(name, "sluicegate-split.wasm", "default/bench-default") };
        all.push(resting(DEFAULT));
        all.push(routes_200(resting(DEFAULT_200)));
        let [.., most] = SPLITS;
        let by_host = ours(NOBODYS, "sluicegate.wasm", json!({ "hosts": true }), &hosts_cluster(most));
        all.push(Variant { splits: Some(false), hosts: most..most + 1, ..by_host });
    }
    all
}

pub(crate) fn two_workers(rig: &Rig) -> Vec<Variant> {
    one_worker(rig).into_iter().filter(|one| [NONE, NATIVE, SDK, RAW, LUA, SPLIT, COUNTS].contains(&one.name)).collect()
}

pub(crate) fn flat(rig: &Rig) -> Vec<Variant> {
    let mut all = vec![plain(NONE)];
    if rig.ours() {
        for (name, splits) in FLAT.into_iter().zip(SPLITS) {
            let one = ours(name, "sluicegate.wasm", json!({ "hosts": true }), &hosts_cluster(splits));
            all.push(Variant { hosts: 0..splits, ..one });
        }
    }
    all
}

fn rivals() -> Vec<Variant> {
    let mut native = plain(NATIVE);
    native.splits = Some(true);
    native.listener.default = to_weighted(&[("main", 90), ("baseline", 5), ("canary", 5)]);
    let mut in_lua = plain(LUA);
    in_lua.splits = Some(true);
    in_lua.listener = in_lua.listener.filter(lua(include_str!("../../../../bench/lua/split.lua")));
    let mut all = vec![plain(NONE), routes_200(plain(NONE_200)), native, in_lua];
    for (name, file) in [(SDK, "bench-sdk-noop.wasm"), (RAW, "bench-raw-noop.wasm")] {
        match paths::wasm(file) {
            Ok(module) => {
                let mut one = plain(name);
                one.listener =
                    one.listener.filter(Wasm { vm_id: name.into(), ..Wasm::new(&module, json!(null)) }.filter());
                all.push(one);
            }
            Err(missing) => eprintln!("'{name}' is left out: {missing:#}"),
        }
    }
    all
}

/// A listener without a filter, but with the route table that a splitting filter needs.
pub(crate) fn plain(name: &'static str) -> Variant {
    let listener = Listener::new(name, "main").subset("canary", "canary").subset("baseline", "baseline");
    Variant { name, listener, none: NONE, splits: Some(false), hosts: 0..1 }
}

fn ours(name: &'static str, artefact: &str, config: serde_json::Value, cluster: &str) -> Variant {
    filter(name, &paths::wasm(artefact).expect("the rig has checked that it is built"), config, cluster)
}

/// A module measured beside the variants, configured as ours.
pub(crate) fn also(module: &Path) -> Variant {
    // As many as the command line names, once per run.
    let name = module.with_extension("").display().to_string().leak();
    Variant { splits: None, ..filter(name, module, json!({ "split": "default/bench" }), CONTROLLER_CLUSTER) }
}

fn filter(name: &'static str, module: &Path, mut config: serde_json::Value, cluster: &str) -> Variant {
    config["controller"] = json!({ "cluster": cluster });
    // Each in a VM of its own: one variant's weights and counts are not another's.
    let plugin = Wasm { name: name.replace([',', ' ', '/'], "-"), vm_id: name.into(), ..Wasm::new(module, config) };
    let mut one = plain(name);
    one.splits = Some(true);
    one.listener = one.listener.filter(plugin.filter());
    one
}

fn routes_200(mut one: Variant) -> Variant {
    one.listener.filler_routes = 200;
    one.none = NONE_200;
    one
}
