//! Our manifests on the gateways that they are for: the real Envoy Gateway and the real Istio with the Envoys that they configure, each
//! in a cluster whose pods are processes (`make test-gateways`).
//!
//! It runs in namespaces of its own, into which only a process with one thread can go, so it has no test harness of Rust's. Arguments:
//! parts of names; only tests whose name has one of them are run. The tests of a gateway share it, and run one after the other. With
//! `--side-by-side` no tests are run, but what is measured on each gateway (`make bench-gateways`).
#![allow(clippy::disallowed_methods, reason = "tests measure real time")]

/// The names of functions beside them.
macro_rules! cases {
    ($($module:ident::$case:ident),* $(,)?) => { &[$((concat!(stringify!($module), "::", stringify!($case)), $module::$case)),*] };
}

mod documented;
mod envoy_gateway;
mod istio;
mod side_by_side;
mod splits;

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::Result;
use side_by_side::Table;
use sluicegate_tests::gateways::Gateways;
use sluicegate_tests::node::net;

/// A test of a gateway.
type Case = (&'static str, fn(&Gateways) -> Result<()>);

/// A gateway: its name, its installation, its tests.
struct Suite {
    name: &'static str,
    install: fn() -> Result<Gateways>,
    cases: &'static [Case],
    measure: fn(&Gateways, &mut Table) -> Result<()>,
}

/// Set for the process that runs one suite: each has a node for itself, of which nothing is left when the next one begins.
const SUITE: &str = "SLUICEGATE_SUITE";

fn main() -> ExitCode {
    let suites = [envoy_gateway::SUITE, istio::SUITE];
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    let chosen = |suite: &Suite| -> Vec<&'static Case> {
        suite.cases.iter().filter(|(case, _)| asked(&format!("{}::{case}", suite.name))).collect()
    };
    if std::env::args().any(|arg| arg == "--list") {
        for suite in &suites {
            chosen(suite).iter().for_each(|(case, _)| println!("{}::{case}: test", suite.name));
        }
        return ExitCode::SUCCESS;
    }
    let own = std::env::var(SUITE).ok();
    if let Some(suite) = suites.iter().find(|suite| own.as_deref() == Some(suite.name)) {
        return inside(suite, &chosen(suite));
    }
    let mut all = true;
    for suite in suites.iter().filter(|suite| !chosen(suite).is_empty()) {
        let again = std::env::current_exe()
            .and_then(|own| Command::new(own).args(std::env::args_os().skip(1)).env(SUITE, suite.name).status());
        all &= again.is_ok_and(|status| status.success());
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs a suite in namespaces of its own, or says why not.
fn inside(suite: &Suite, cases: &[&Case]) -> ExitCode {
    match net::enter() {
        Ok(None) => {}
        Ok(Some(status)) => return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        Err(why) => {
            println!("{} is skipped, since this machine gives us no namespaces: {why:#}", suite.name);
            println!("test result: ok. 0 passed; 0 failed; {} ignored", cases.len());
            return ExitCode::SUCCESS;
        }
    }
    if std::env::args().any(|arg| arg == "--side-by-side") {
        return measure(suite);
    }
    let failed = run(suite, cases);
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {} passed; {failed} failed; 0 ignored", cases.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How many failed.
fn run(suite: &Suite, cases: &[&Case]) -> usize {
    let began = Instant::now();
    let gateways = match (suite.install)() {
        Ok(gateways) => gateways,
        Err(why) => {
            println!("{} could not be installed: {why:#}", suite.name);
            return cases.len();
        }
    };
    println!("{} is installed ({:.1} s)", suite.name, began.elapsed().as_secs_f64());
    let mut failed = 0;
    for (case, test) in cases {
        let began = Instant::now();
        let outcome = test(&gateways);
        let took = began.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => println!("test {}::{case} ... ok ({took:.1} s)", suite.name),
            Err(why) => {
                println!("test {}::{case} ... FAILED ({took:.1} s)\n{why:#}\n{}", suite.name, gateways.words());
                failed += 1;
            }
        }
    }
    failed
}

fn measure(suite: &Suite) -> ExitCode {
    eprintln!("{} is being installed", suite.name);
    let mut table = Table::new(side_by_side::rounds());
    let outcome = (suite.install)().and_then(|gateways| (suite.measure)(&gateways, &mut table));
    table.print();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{}: {why:#}", suite.name);
            ExitCode::FAILURE
        }
    }
}
