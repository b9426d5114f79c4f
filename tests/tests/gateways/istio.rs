//! Istio, installed by its own charts, and Sluicegate on it as docs/KUBERNETES.md tells: at the ingress gateway, and in the sidecar
//! of a caller.
//!
//! The Envoy is the plain one, without what Istio compiles in; so its own telemetry and ALPN filters are switched off. There is no
//! iptables either: the sidecar's listeners are called at their ports.

mod callers;
mod side_by_side;

use anyhow::{Context as _, Result};
use sluicegate_tests::gateways::{Gateways, Site};
use sluicegate_tests::paths;

use crate::Suite;
use crate::documented::{self, canary, deployment, example};
use crate::splits::{await_ack, split};

pub(crate) const SUITE: Suite = Suite {
    name: "istio",
    install,
    cases: cases![
        callers::the_document_leads_from_nothing_to_a_promoted_version,
        callers::those_inside_and_outside_have_weights_of_their_own,
        callers::nobody_chooses_by_the_header,
        callers::what_a_sidecar_sends_to_other_services_is_left_alone,
    ],
    measure: side_by_side::measure,
};

/// The gateway and the sidecar of the caller.
const PROXIES: u32 = 2;
const INSIDE: &str = "meshed.default.svc.cluster.local";
const OUTSIDE: &str = "meshed.example.com";

/// A service that is no business of ours, and a pod with a sidecar.
const OTHERS: &str = "apiVersion: v1
kind: Service
metadata: { name: other }
spec:
  selector: { app: other }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: caller }
spec:
  replicas: 1
  selector: { matchLabels: { app: caller } }
  template:
    metadata:
      labels: { app: caller, sidecar.istio.io/inject: \"true\" }
      annotations: { sidecar.istio.io/interceptionMode: NONE }
    spec: { containers: [{ name: app, image: \"registry.local/hello:v1\" }] }
";

fn install() -> Result<Gateways> {
    let gateways = Gateways::start()?;
    install_into(&gateways).with_context(|| gateways.words())?;
    Ok(gateways)
}

/// Istio as its documentation says, Sluicegate and the service `hello-app` as ours does.
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
    documented::follow(gateways, "From nothing to a split, on Istio")?;
    more(gateways)
}

/// The service `meshed`, which has a split for those outside and one for those inside, and [`OTHERS`].
fn more(gateways: &Gateways) -> Result<()> {
    gateways.apply(
        &[
            deployment("meshed", 1)?,
            canary("meshed")?,
            example("istio/routes.yaml", "meshed")?,
            hosted("outside", 0, OUTSIDE),
            hosted("inside", 0, INSIDE),
            deployment("other", 1)?,
            OTHERS.to_owned(),
        ]
        .join("---\n"),
    )?;
    gateways.sh(
        "for name in meshed meshed-canary other caller; do kubectl rollout status deployment/$name --timeout=2m; done",
    )?;
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

fn outside(gateways: &Gateways) -> Result<Site> {
    let address = gateways.sh(
        "kubectl -n istio-system get service istio-ingressgateway -o jsonpath='{.status.loadBalancer.ingress[0].ip}'",
    )?;
    Ok(Site { at: format!("{address}:80").parse().context(address)?, host: OUTSIDE.to_owned() })
}
