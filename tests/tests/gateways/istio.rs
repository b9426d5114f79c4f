//! Istio, installed by its own charts, and Sluicegate on it by the manifests of examples/istio: at the ingress gateway, and in the sidecar
//! of a caller.
//!
//! The Envoy is the plain one, without what Istio compiles in; so its own telemetry and ALPN filters are switched off. There is no
//! iptables either: the sidecar's listeners are called at their ports.

mod side_by_side;

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::gateways::{Gateways, Site};
use sluicegate_tests::paths;

use crate::Suite;
use crate::splits::{await_ack, expect, split};

pub(crate) const SUITE: Suite = Suite {
    name: "istio",
    install,
    cases: &[
        ("callers_inside_and_outside_have_weights_of_their_own", callers_inside_and_outside_have_weights_of_their_own),
        ("nobody_chooses_by_the_header", nobody_chooses_by_the_header),
        (
            "what_the_sidecar_sends_to_other_services_is_left_alone",
            what_the_sidecar_sends_to_other_services_is_left_alone,
        ),
    ],
    measure: side_by_side::measure,
};

/// The gateway and the sidecar.
const PROXIES: u32 = 2;
const INSIDE: &str = "hello-app.default.svc.cluster.local";
const OUTSIDE: &str = "hello.example.com";

const GATEWAY: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: public, namespace: istio-system }
spec:
  selector: { istio: ingressgateway }
  servers: [{ port: { number: 80, name: http, protocol: HTTP }, hosts: [\"*\"] }]
";

/// A pod of one container, of the image `registry.local/hello`; with a sidecar, where `labels` and `annotations` say so.
fn deployment(name: &str, version: &str, labels: &str, annotations: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: 1\n  \
         selector: {{ matchLabels: {{ {labels} }} }}\n  template:\n    \
         metadata: {{ labels: {{ {labels} }}, annotations: {{ {annotations} }} }}\n    \
         spec: {{ containers: [{{ name: app, image: \"registry.local/hello:{version}\" }}] }}\n"
    )
}

fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:\n  selector: {{ app: {name} }}\n  \
         ports: [{{ name: http, port: 80, targetPort: 8080 }}]\n"
    )
}

fn install() -> Result<Gateways> {
    let gateways = Gateways::start()?;
    install_into(&gateways).with_context(|| gateways.words())?;
    Ok(gateways)
}

fn install_into(gateways: &Gateways) -> Result<()> {
    let charts = paths::istio()?.join("charts");
    let place = "--namespace istio-system --create-namespace --wait --timeout 3m";
    // No cluster autoscaler, and no Istio in this Envoy.
    let plain = "--set global.hub=istio --set global.tag=test --set autoscaleEnabled=false --set telemetry.enabled=false \
                 --set meshConfig.enablePrometheusMerge=false --set-string env.PILOT_ENABLE_ALPN_FILTER=false \
                 --set-string env.PILOT_ENABLE_METADATA_EXCHANGE=false";
    let chart = |name: &str| charts.join(name).display().to_string();
    gateways.sh(&format!("helm install istio-base {} {place} --set defaultRevision=default", chart("base")))?;
    gateways.sh(&format!("helm install istiod {} {place} {plain}", chart("istiod")))?;
    gateways.sh(&format!(
        "helm install istio-ingressgateway {} {place} --set autoscaling.enabled=false",
        chart("gateway")
    ))?;
    gateways.sh("helm install sluicegate charts/sluicegate --namespace sluicegate-system --create-namespace --wait
         kubectl apply -f examples/istio/routes.yaml -f examples/istio/plugin.yaml")?;
    gateways.cluster.kubectl_with(&["apply", "-f", "-"], GATEWAY)?;
    let caller = "app: caller, sidecar.istio.io/inject: \"true\"";
    gateways.apply(
        &[
            deployment("hello-app", "v1", "app: hello-app, sluicegate.dev/role: main", ""),
            deployment("hello-app-canary", "v2", "app: hello-app, sluicegate.dev/role: canary", ""),
            deployment("other", "v1", "app: other", ""),
            service("other"),
            deployment("caller", "v1", caller, "sidecar.istio.io/interceptionMode: NONE"),
            hosted("outside", 0, OUTSIDE),
            hosted("inside", 0, INSIDE),
        ]
        .join("---\n"),
    )?;
    gateways.sh("for name in hello-app hello-app-canary other caller; do kubectl rollout status deployment/$name --timeout=2m; done")?;
    outside(gateways)?.await_answers()?;
    for name in ["outside", "inside"] {
        await_ack(gateways, name, PROXIES)?;
    }
    Ok(())
}

/// A split for a host.
fn hosted(name: &str, canary: u32, host: &str) -> String {
    split(name, [("canary", canary), ("main", 100 - canary), ("baseline", 0)]) + &format!("  hosts: [{host}]\n")
}

fn give(gateways: &Gateways, outside: u32, inside: u32) -> Result<()> {
    gateways.apply(&[hosted("outside", outside, OUTSIDE), hosted("inside", inside, INSIDE)].join("---\n"))?;
    await_ack(gateways, "outside", PROXIES)?;
    await_ack(gateways, "inside", PROXIES)
}

fn outside(gateways: &Gateways) -> Result<Site> {
    let address = gateways.sh(
        "kubectl -n istio-system get service istio-ingressgateway -o jsonpath='{.status.loadBalancer.ingress[0].ip}'",
    )?;
    Ok(Site { at: format!("{address}:80").parse().context(address)?, host: OUTSIDE.to_owned() })
}

/// As the caller's program reaches a service, by its sidecar.
fn inside(host: &str) -> Site {
    Site { at: SocketAddr::from(([127, 0, 0, 1], 80)), host: host.to_owned() }
}

fn callers_inside_and_outside_have_weights_of_their_own(gateways: &Gateways) -> Result<()> {
    let outside = outside(gateways)?;
    for (from_outside, from_inside) in [(10, 50), (50, 10), (0, 100), (100, 0)] {
        give(gateways, from_outside, from_inside)?;
        expect(&outside, from_outside, "").context("from outside")?;
        let ask = || expect(&inside(INSIDE), from_inside, "");
        gateways.node.kubelet.within("default", "caller", ask).context("from inside")?;
    }
    Ok(())
}

fn nobody_chooses_by_the_header(gateways: &Gateways) -> Result<()> {
    let outside = outside(gateways)?;
    give(gateways, 10, 0)?;
    for value in ["canary", "baseline", "nobody"] {
        let header = format!("x-sluicegate-subset: {value}\r\n");
        expect(&outside, 10, &header)?;
        gateways.node.kubelet.within("default", "caller", || expect(&inside(INSIDE), 0, &header))?;
    }
    Ok(())
}

fn what_the_sidecar_sends_to_other_services_is_left_alone(gateways: &Gateways) -> Result<()> {
    give(gateways, 0, 50)?;
    let other = inside("other.default.svc.cluster.local");
    let tally = gateways.node.kubelet.within("default", "caller", || other.ask(200, ""))?;
    let fair = tally.failures() == 0 && tally.pods.keys().all(|pod| pod.starts_with("other-"));
    ensure!(fair && tally.subset("") == 200, "{:?}, {:?}, {:?}", tally.statuses, tally.pods, tally.subsets);
    Ok(())
}
