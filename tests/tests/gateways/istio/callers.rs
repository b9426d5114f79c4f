//! Callers of services in the mesh: from outside, by the gateway; from inside, by the sidecar of their own pod.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::gateways::{Gateways, Site};

use super::{INSIDE, OUTSIDE, PROXIES, hosted, outside};
use crate::documented::{self, ROLLOUT};
use crate::splits::{await_ack, each_had_requests, expect};

fn give(gateways: &Gateways, outside: u32, inside: u32) -> Result<()> {
    gateways.apply(&[hosted("outside", outside, OUTSIDE), hosted("inside", inside, INSIDE)].join("---\n"))?;
    await_ack(gateways, "outside", PROXIES)?;
    await_ack(gateways, "inside", PROXIES)
}

/// As the caller's program reaches a service, by its sidecar.
fn inside(host: &str) -> Site {
    Site { at: SocketAddr::from(([127, 0, 0, 1], 80)), host: host.to_owned() }
}

pub(super) fn the_document_leads_from_nothing_to_a_promoted_version(gateways: &Gateways) -> Result<()> {
    let site = Site { host: "hello.example.com".to_owned(), ..outside(gateways)? };
    let load = site.load(200.0)?;
    documented::follow(gateways, ROLLOUT)?;
    each_had_requests(&load.stop_clean()?)
}

pub(super) fn those_inside_and_outside_have_weights_of_their_own(gateways: &Gateways) -> Result<()> {
    let outside = outside(gateways)?;
    for (from_outside, from_inside) in [(10, 50), (50, 10), (0, 100), (100, 0)] {
        give(gateways, from_outside, from_inside)?;
        expect(&outside, from_outside, "").context("from outside")?;
        let ask = || expect(&inside(INSIDE), from_inside, "");
        gateways.node.kubelet.within("default", "caller", ask).context("from inside")?;
    }
    Ok(())
}

pub(super) fn nobody_chooses_by_the_header(gateways: &Gateways) -> Result<()> {
    let outside = outside(gateways)?;
    give(gateways, 10, 0)?;
    for value in ["canary", "baseline", "nobody"] {
        let header = format!("x-sluicegate-subset: {value}\r\n");
        expect(&outside, 10, &header)?;
        gateways.node.kubelet.within("default", "caller", || expect(&inside(INSIDE), 0, &header))?;
    }
    Ok(())
}

pub(super) fn what_a_sidecar_sends_to_other_services_is_left_alone(gateways: &Gateways) -> Result<()> {
    give(gateways, 0, 50)?;
    let other = inside("other.default.svc.cluster.local");
    let tally = gateways.node.kubelet.within("default", "caller", || other.ask(200, ""))?;
    let fair = tally.failures() == 0 && tally.pods.keys().all(|pod| pod.starts_with("other-"));
    ensure!(fair && tally.subset("") == 200, "{:?}, {:?}, {:?}", tally.statuses, tally.pods, tally.subsets);
    Ok(())
}
