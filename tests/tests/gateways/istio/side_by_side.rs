//! Weights of a VirtualService beside those of a TrafficSplit, in quiet and while another VirtualService changes all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use sluicegate_tests::gateways::{Gateways, Site};
use sluicegate_tests::kube::api::Api;

use super::{INSIDE, PROXIES, outside};
use crate::side_by_side::{Acks, OURS, Table, Way, measure as measure_ways, subsets};

const SERVICES: &str = "/apis/networking.istio.io/v1/namespaces/default/virtualservices";
/// Between two changes of the other one.
const PAUSE: Duration = Duration::from_millis(1000 / 15);

pub(super) fn measure(gateways: &Gateways, table: &mut Table) -> Result<()> {
    let ours = outside(gateways)?;
    let native = Site { host: "native.example.com".to_owned(), ..ours.clone() };
    let api = gateways.cluster.api();
    for (name, patch) in [("native", weighted(0)), ("restless", restless(0))] {
        api.post(SERVICES, &virtual_service(name, patch))?;
    }
    native.await_answers()?;
    let mut ways = vec![
        Way { name: "VirtualService", site: native, object: format!("{SERVICES}/native"), patch: weighted, acks: None },
        Way {
            name: OURS,
            site: ours,
            object: "/apis/sluicegate.dev/v1alpha1/namespaces/default/trafficsplits/outside".to_owned(),
            patch: subsets,
            acks: Some(Acks::of(gateways, "outside", PROXIES)?),
        },
    ];
    measure_ways(gateways, table, "Istio", &mut ways)?;
    let churn = Churn::start(api);
    measure_ways(gateways, table, "Istio, another VirtualService changes 15 times a second", &mut ways)?;
    let changes = churn.stop()?;
    eprintln!("the other VirtualService has changed {changes} times");
    Ok(())
}

fn virtual_service(name: &str, mut patch: Value) -> Value {
    let mut spec = patch["spec"].take();
    spec["hosts"] = json!([format!("{name}.example.com")]);
    spec["gateways"] = json!(["istio-system/public"]);
    let metadata = json!({ "name": name, "namespace": "default" });
    json!({ "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec })
}

fn weighted(canary: u32) -> Value {
    let to = |subset: &str, weight| json!({ "destination": { "host": INSIDE, "subset": subset }, "weight": weight });
    json!({ "spec": { "http": [{ "route": [to("main", 100 - canary), to("canary", canary)] }] } })
}

/// Another timeout each time.
fn restless(number: u32) -> Value {
    let route = json!([{ "destination": { "host": INSIDE, "subset": "main" } }]);
    json!({ "spec": { "http": [{ "route": route, "timeout": format!("{}s", 10 + number % 50) }] } })
}

/// Changes of a VirtualService that nobody asks for, until it is stopped.
struct Churn {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<u32>>,
}

impl Churn {
    fn start(api: &Api) -> Self {
        let (api, stop) = (api.clone(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut number = 0;
            while !ends.load(Ordering::Relaxed) {
                number += 1;
                api.patch(&format!("{SERVICES}/restless"), &restless(number))?;
                thread::sleep(PAUSE);
            }
            Ok(number)
        });
        Self { stop, thread }
    }

    fn stop(self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("it panicked"))?
    }
}
