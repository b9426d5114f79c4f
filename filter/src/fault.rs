//! Deliberate faults, so that tests can show what survives them. Only with the feature `faults`, which no shipped
//! artefact has.
//!
//! The VM's environment variable `SLUICEGATE_FAULT` chooses (several separated by commas):
//!
//! * `version-first`: the version moves before the snapshot is written, which breaks promise 1 on purpose.
//! * `orders`: obeys requests and answers. The request header `x-fault` may say `trap`, `block N` (ms), `seize` (this
//!   VM polls from its next tick on, whatever the lease prefers) or `release`. A split `default/fault-trap` in an
//!   answer traps the VM that polls; one `default/fault-stall` stops it for as many ms as its generation says between
//!   writing the snapshot and moving the version.

use crate::{
    host::{self, Level, Map},
    lease::Candidate,
    root::Root,
    vm::Vm,
};
use sluicegate_core::wire::SyncAnswer;
use std::{cell::Cell, env};

/// How long the snapshot lags behind the version with `version-first`, in ns.
const WRONG_NS: u64 = 200_000;

thread_local! {
    static SEIZED: Cell<bool> = const { Cell::new(false) };
    static STALL_MS: Cell<u64> = const { Cell::new(0) };
}

fn on(fault: &str) -> bool {
    env::var("SLUICEGATE_FAULT").is_ok_and(|all| all.split(',').any(|one| one == fault))
}

fn trap() -> ! {
    host::log(Level::Warn, "fault: trap");
    std::process::abort()
}

fn spin(ns: u64) {
    let end = host::now_nanos() + ns;
    while host::now_nanos() < end {}
}

/// What the request orders.
pub(crate) fn request() {
    if !on("orders") {
        return;
    }
    let order = host::header(Map::Request, "x-fault").unwrap_or_default();
    let order = String::from_utf8_lossy(&order);
    match order.split_once(' ').unwrap_or((&order, "")) {
        ("trap", _) => trap(),
        ("seize", _) => SEIZED.set(true),
        ("release", _) => SEIZED.set(false),
        ("block", ms) => {
            host::log(Level::Info, "fault: blocks");
            spin(ms.parse::<u64>().unwrap_or(0) * 1_000_000);
        }
        _ => {}
    }
}

/// What the answer orders.
pub(crate) fn answer(answer: &SyncAnswer) {
    if !on("orders") {
        return;
    }
    let named = |name| answer.splits.iter().find(|split| split.name == name);
    if named("default/fault-trap").is_some() {
        trap();
    }
    STALL_MS.set(named("default/fault-stall").map_or(0, |split| split.generation));
}

/// A VM that seized the lease looks like the main thread's with a configuration from the future.
pub(crate) fn candidate(me: Candidate) -> Candidate {
    if !SEIZED.get() {
        return me;
    }
    Candidate { worker: false, configured: me.configured + 3_600_000, ..me }
}

/// Before the snapshot is written.
pub(crate) fn before_write(root: &Root) {
    if on("version-first") {
        let _ = root.version.bump();
        spin(WRONG_NS);
    }
}

/// Between snapshot and version; `true`: the version has moved already.
pub(crate) fn after_write() -> bool {
    let ms = STALL_MS.take();
    if ms > 0 {
        host::log(Level::Info, "fault: stalls before the version");
        spin(ms * 1_000_000);
    }
    on("version-first")
}

/// The filter's version, with the kind of VM that polls.
pub(crate) fn version() -> String {
    format!("{} {}", env!("CARGO_PKG_VERSION"), if Vm::is_worker() { "worker" } else { "main" })
}
