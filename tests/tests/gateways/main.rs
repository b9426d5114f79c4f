//! Our manifests on the gateways that they are for: the real Envoy Gateway and the real Istio with the Envoys that they configure, each
//! in a cluster whose pods are processes (`make test-gateways`).
//!
//! It runs in namespaces of its own, into which only a process with one thread can go, so it has no test harness of Rust's. Arguments:
//! parts of names; only tests whose name has one of them are run. The tests of a gateway share it, and run one after the other.
#![allow(clippy::disallowed_methods, reason = "tests measure real time")]

/// The names of functions beside them.
macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => { &[$((concat!(stringify!($module), "::", stringify!($case)), $module::$case)),*] };
}

mod envoy_gateway;
mod istio;
mod splits;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use sluicegate_tests::gateways::Gateways;
use sluicegate_tests::node::net;

/// A test of a gateway.
type Case = (&'static str, fn(&Gateways) -> Result<()>);

/// A gateway: its name, its installation, its tests.
struct Suite {
    name: &'static str,
    install: fn() -> Result<Gateways>,
    cases: &'static [Case],
}

fn main() -> ExitCode {
    let suites = [envoy_gateway::SUITE, istio::SUITE];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let all =
        suites.iter().flat_map(|suite| suite.cases.iter().map(move |(case, _)| format!("{}::{case}", suite.name)));
    let (chosen, others): (Vec<String>, Vec<String>) = all.partition(|name| asked(name));
    if std::env::args().any(|arg| arg == "--list") {
        chosen.iter().for_each(|name| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    match net::enter() {
        Ok(None) => {}
        Ok(Some(status)) => return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        Err(why) => {
            println!("skipped, since this machine gives us no namespaces: {why:#}");
            println!("test result: ok. 0 passed; 0 failed; {} ignored; {} filtered out", chosen.len(), others.len());
            return ExitCode::SUCCESS;
        }
    }
    let (mut passed, mut failed) = (0, Vec::new());
    for suite in &suites {
        let cases: Vec<_> =
            suite.cases.iter().filter(|(case, _)| chosen.contains(&format!("{}::{case}", suite.name))).collect();
        if !cases.is_empty() {
            run(suite, &cases, &mut passed, &mut failed);
        }
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; 0 ignored; {} filtered out",
        failed.len(),
        others.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(suite: &Suite, cases: &[&Case], passed: &mut u32, failed: &mut Vec<String>) {
    let began = Instant::now();
    let gateways = match (suite.install)() {
        Ok(gateways) => gateways,
        Err(why) => {
            println!("{} could not be installed: {why:#}", suite.name);
            failed.extend(cases.iter().map(|(case, _)| format!("{}::{case}", suite.name)));
            return;
        }
    };
    println!("{} is installed ({:.1} s)", suite.name, began.elapsed().as_secs_f64());
    for (case, test) in cases {
        let began = Instant::now();
        let outcome = test(&gateways);
        let took = began.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                println!("test {}::{case} ... ok ({took:.1} s)", suite.name);
                *passed += 1;
            }
            Err(why) => {
                println!("test {}::{case} ... FAILED ({took:.1} s)\n{why:#}\n{}", suite.name, gateways.words());
                failed.push(format!("{}::{case}", suite.name));
            }
        }
    }
}
