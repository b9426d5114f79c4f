//! An ack is true: after the ack of a generation no worker answers by an older one.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::ack_loop::{AckLoop, Outcome, Plan};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::{Listener, Wasm};
use sluicegate_tests::ext_proc::ExtProc;
use sluicegate_tests::lab::{self, Door, WEB};
use sluicegate_tests::paths;
use sluicegate_tests::upstream::Upstreams;

at_both_doors! {
    after_the_ack_of_a_generation_no_worker_answers_by_an_older_one,
}

const WORKERS: usize = 4;
/// With this many connections a worker without one would be a miracle: below 1 in 100,000.
const PLAN: Plan = Plan { changes: 500, pause: Duration::from_millis(15), busy: 24, waiting: 24 };

/// Runs the plan against an Envoy with this filter and these further settings, and sees to it that all took part.
fn run(plan: &Plan, wasm: &Wasm, extra: Value) -> Result<Outcome> {
    run_at(plan, AckLoop::bind()?, wasm.filter(), None, extra)
}

fn run_at(plan: &Plan, acks: AckLoop, filter: Value, service: Option<ExtProc>, extra: Value) -> Result<Outcome> {
    let pods = Upstreams::start(&lab::PODS)?;
    let listener = Listener::new(WEB, "v1").filter(filter);
    let mut options = Options { extra, ..lab::options(&pods, vec![listener], acks.addr(), WORKERS) };
    options.clusters.extend(service.as_ref().map(ExtProc::cluster));
    let envoy = Envoy::start(options)?;
    let outcome = acks.run(envoy.listener(WEB)?, plan)?;
    println!(
        "{} changes, {} answers, {} fired at an ack, {} violations, {} failures; poll answered to ack: {}",
        outcome.changes, outcome.answers, outcome.bursts, outcome.violations, outcome.failures, outcome.acks
    );
    ensure!(outcome.changes == plan.changes && outcome.failures == 0, "{outcome:?}");
    // Every connection was answered, and every worker has connections.
    ensure!(outcome.fewest > 0, "{outcome:?}");
    let taken = envoy.stats(r"^listener\.127.*\.worker_\d+\.downstream_cx_total$")?;
    ensure!(taken.len() == WORKERS && taken.values().all(|taken| *taken > 0), "{taken:?}");
    Ok(outcome)
}

fn after_the_ack_of_a_generation_no_worker_answers_by_an_older_one(door: Door) -> Result<()> {
    let acks = AckLoop::bind()?;
    let (filter, service) = lab::open(door, acks.addr(), json!({}))?;
    let outcome = run_at(&PLAN, acks, filter, service, json!({}))?;
    ensure!(outcome.violations == 0, "{outcome:?}");
    Ok(())
}

#[test]
fn where_a_stats_matcher_refuses_our_gauges_the_ack_is_true_as_well() -> Result<()> {
    let refused = json!({ "stats_config": { "stats_matcher": { "exclusion_list": {
        "patterns": [{ "contains": "sluicegate.plugin" }],
    }}}});
    let outcome = run(&Plan { changes: 100, ..PLAN }, &lab::plugin(json!({}))?, refused)?;
    ensure!(outcome.violations == 0, "{outcome:?}");
    Ok(())
}

#[test]
fn moving_the_version_before_the_weights_are_written_would_be_caught() -> Result<()> {
    let mut wrong = lab::plugin(json!({}))?;
    wrong.module = paths::wasm("sluicegate-faults.wasm")?;
    wrong.env = vec![("SLUICEGATE_FAULT".into(), "version-first".into())];
    let outcome = run(&Plan { changes: 50, ..PLAN }, &wrong, json!({}))?;
    ensure!(outcome.violations > 0, "this test sees nothing: {outcome:?}");
    Ok(())
}
