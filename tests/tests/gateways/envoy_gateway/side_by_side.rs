//! Weights of an HTTPRoute, in both shapes that Envoy Gateway gives it, beside those of a TrafficSplit, with few, 200 and 1,000 other
//! routes.

use anyhow::Result;
use serde_json::{Value, json};
use sluicegate_tests::gateways::{Gateways, Site};

use super::{others, service, site};
use crate::side_by_side::{Acks, OURS, Table, Way, measure as measure_ways, subsets};

pub(super) fn measure(gateways: &Gateways, table: &mut Table) -> Result<()> {
    let ours = service(gateways, "bench", true)?;
    let mut ways = vec![
        http_route(gateways, "HTTPRoute", "native", plain)?,
        http_route(gateways, "HTTPRoute, a filter on each backendRef", "filtered", filtered)?,
        Way {
            name: OURS,
            site: ours,
            object: "/apis/sluicegate.dev/v1alpha1/namespaces/default/trafficsplits/bench".to_owned(),
            patch: subsets,
            acks: Some(Acks::of(gateways, "bench", 1)?),
        },
    ];
    let mut there = 0;
    for (setting, routes) in
        [("Envoy Gateway", 0), ("Envoy Gateway, 200 more routes", 200), ("Envoy Gateway, 1,000 more routes", 1000)]
    {
        if routes > there {
            eprintln!("{setting}: they are being made");
            gateways.apply(&others(there..routes, "bench"))?;
            site(gateways, &format!("other-{}", routes - 1), "public")?;
            there = routes;
        }
        measure_ways(gateways, table, setting, &mut ways)?;
    }
    Ok(())
}

/// A route with weights of its own, to the same pods.
fn http_route(gateways: &Gateways, way: &'static str, name: &str, patch: fn(u32) -> Value) -> Result<Way> {
    let mut spec = patch(0)["spec"].take();
    spec["parentRefs"] = json!([{ "name": "public" }]);
    spec["hostnames"] = json!([format!("{name}.example.com")]);
    let metadata = json!({ "name": name, "namespace": "default" });
    let route = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec });
    let routes = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes";
    gateways.cluster.api().post(routes, &route)?;
    let site: Site = site(gateways, name, "public")?;
    Ok(Way { name: way, site, object: format!("{routes}/{name}"), patch, acks: None })
}

fn plain(canary: u32) -> Value {
    let backend = |role: &str, weight| json!({ "name": format!("bench-{role}"), "port": 80, "weight": weight });
    json!({ "spec": { "rules": [{ "backendRefs": [backend("main", 100 - canary), backend("canary", canary)] }] } })
}

/// With what makes Envoy Gateway give each of them a cluster.
fn filtered(canary: u32) -> Value {
    let mut all = plain(canary);
    for backend in all["spec"]["rules"][0]["backendRefs"].as_array_mut().into_iter().flatten() {
        let set = json!([{ "name": "x-backend", "value": backend["name"] }]);
        backend["filters"] = json!([{ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": set } }]);
    }
    all
}
