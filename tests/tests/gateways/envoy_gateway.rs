//! Envoy Gateway, installed by its own chart, and Sluicegate on it as docs/KUBERNETES.md tells.

mod policies;
mod rollouts;
mod side_by_side;
mod trouble;
mod weights;

use std::ops::Range;

use anyhow::{Context as _, Result};
use sluicegate_tests::gateways::{Gateways, Site};
use sluicegate_tests::paths;

use crate::documented::{self, canary, deployment};
use crate::{Suite, splits};

pub(crate) const SUITE: Suite = Suite {
    name: "envoy_gateway",
    install,
    cases: cases![
        weights::requests_follow_the_weights_once_they_are_acked,
        weights::a_client_chooses_nothing_on_any_rule,
        rollouts::the_document_leads_from_nothing_to_a_promoted_version,
        rollouts::a_rollback_under_load_costs_no_request,
        rollouts::a_canary_test_is_made_weighed_again_and_destroyed_under_load,
        trouble::a_restart_of_envoy_gateway_costs_no_request,
        trouble::requests_go_to_main_while_no_module_is_to_be_had_and_a_touch_of_the_route_heals_it,
        trouble::a_module_of_another_digest_is_not_run_and_the_right_one_is,
        policies::one_policy_serves_a_whole_gateway_and_that_of_a_route_comes_before_it,
        policies::a_second_policy_for_a_route_is_refused_and_the_first_goes_on,
        policies::two_filters_of_one_policy_leave_each_other_alone,
        policies::two_hundred_other_routes_change_nothing,
        policies::ext_proc_does_the_same_in_place_of_the_filter,
    ],
    measure: side_by_side::measure,
};

/// Envoy Gateway as its documentation says, Sluicegate and the service `hello-app` as ours does.
fn install() -> Result<Gateways> {
    let gateways = Gateways::start()?;
    let chart = paths::envoy_gateway()?.join("chart");
    let helm = "--namespace envoy-gateway-system --create-namespace --wait --timeout 3m";
    gateways
        .sh(&format!("helm install eg {} {helm}", chart.display()))
        .and_then(|_| documented::follow(&gateways, "From nothing to a split, on Envoy Gateway"))
        .with_context(|| gateways.words())?;
    Ok(gateways)
}

/// A file of examples/envoy-gateway for another service than `hello-app`.
fn example(file: &str, name: &str) -> Result<String> {
    documented::example(&format!("envoy-gateway/{file}"), name)
}

/// The routes of a service, for the host `NAME.example.com`.
fn routes(gateways: &Gateways, name: &str, gateway: &str) -> Result<String> {
    gateways.sh(&format!(
        "sluicegate routes --for envoy-gateway {name} --gateway {gateway} --host {name}.example.com --target-port 8080"
    ))
}

/// Routes for the hosts `other-N.example.com` to main of a service; they have the label `other`.
fn others(numbers: Range<u32>, service: &str) -> String {
    let one = |number| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {{ name: other-{number}, labels: {{ other: \"\" }} }}\nspec:\n  parentRefs: [{{ name: public }}]\n  \
             hostnames: [other-{number}.example.com]\n  rules: [{{ backendRefs: [{{ name: {service}-main, port: 80 }}] }}]\n"
        )
    };
    numbers.map(one).collect::<Vec<_>>().join("---\n")
}

/// Where a service is reached, once it is.
fn site(gateways: &Gateways, name: &str, gateway: &str) -> Result<Site> {
    let site = Site { at: gateways.gateway(gateway, 80)?, host: format!("{name}.example.com") };
    site.await_answers()?;
    Ok(site)
}

/// A service beside `hello-app` by the same manifests: main, and when wanted a canary; all requests go to main.
fn service(gateways: &Gateways, name: &str, with_canary: bool) -> Result<Site> {
    let mut all = vec![deployment(name, 2)?, routes(gateways, name, "public")?, example("policy.yaml", name)?];
    all.push(splits::split(name, [("canary", 0), ("main", 100), ("baseline", 0)]));
    if with_canary {
        all.push(canary(name)?);
    }
    gateways.apply(&all.join("---\n"))?;
    let site = site(gateways, name, "public")?;
    splits::await_ack(gateways, name, 1)?;
    Ok(site)
}
