//! `make demo`: the founding lab (weights 90/10, 50/50, 0/100 behind a gateway) on a real Envoy with two workers, the
//! real controller and its CLI; then what the lab could not show; then whole rollouts. Each thing it prints it has checked: otherwise it
//! says what was wrong and exits with 1. On a terminal, what was rolled out can then be looked at, see [`look`]. `demo kube` is `make demo-kube`,
//! see [`kube`]; `demo manual` is the last rollout alone.
#![allow(clippy::disallowed_methods, reason = "a demonstration measures real time")]

mod changes;
mod crash;
mod kube;
mod kubectl;
mod look;
mod print;
mod rollouts;
mod stage;
mod steps;
mod sticky;
mod theatre;
mod weights;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};

use look::Terminal;
use print::{bad, good, step};
use stage::Stage;
use theatre::Theatre;

fn main() -> ExitCode {
    let began = Instant::now();
    match Terminal::listen().and_then(|terminal| run(terminal, began)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\n{} {why:#}", bad("demo: failed:"));
            ExitCode::FAILURE
        }
    }
}

fn run(terminal: Option<Terminal>, began: Instant) -> Result<()> {
    let theatre = match std::env::args().nth(1).as_deref() {
        None => {
            lab()?;
            Some(rollouts()?)
        }
        Some("manual") => Some(last_rollout(theatre()?)?),
        Some("kube") => {
            kube::run()?;
            None
        }
        Some(other) => bail!("there is no demo {other:?}: give nothing, manual, or kube"),
    };
    println!("\n{} ({:.0} s)", good("demo: ok"), began.elapsed().as_secs_f64());
    match (terminal, &theatre) {
        (Some(terminal), Some(theatre)) => terminal.look(theatre.lab.controller.admin),
        _ => Ok(()),
    }
}

/// What the founding lab shows, and what it could not.
fn lab() -> Result<()> {
    step("An Envoy, a controller, two pods");
    let mut stage = Stage::start()?;
    step("The lab: 90/10, 50/50, 0/100");
    weights::run(&stage)?;
    step("Sticky users: 10 %, 25 %, 75 %, and nobody moves back");
    sticky::run(&stage)?;
    step("20 changes under load");
    changes::run(&stage)?;
    step("The controller is killed, and comes back");
    crash::run(&mut stage)?;
    step("What the controller knows");
    stage.await_counts()?;
    stage.sluicegate(&["describe", "backend"])
}

fn theatre() -> Result<Theatre> {
    step("Rollouts: pods that come and go, and a judge");
    Theatre::start()
}

fn rollouts() -> Result<Theatre> {
    let theatre = theatre()?;
    step("A good version: 1 %, 10 %, 25 %, 50 %, promoted");
    rollouts::good_version(&theatre)?;
    step("A bad version: 5 % of its answers are 500");
    rollouts::failing_version(&theatre)?;
    step("A slow version: 10 % of its answers take 150 ms longer");
    rollouts::slow_version(&theatre)?;
    last_rollout(theatre)
}

fn last_rollout(theatre: Theatre) -> Result<Theatre> {
    step("A step that waits for a person");
    rollouts::manual_step(&theatre)?;
    Ok(theatre)
}
