//! What it runs on, and who gets which core: the controller one, the proxies another.

use std::fs;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Cores of this machine that we may use: the first is the controller's.
pub(crate) type Cores = Vec<usize>;

/// Finds the cores, and puts this thread on the controller's: what it starts next inherits that.
pub(crate) fn share_out() -> Result<Cores> {
    let all = sched_getaffinity(Pid::from_raw(0)).context("which cores are there?")?;
    let cores: Cores = (0..CpuSet::count()).filter(|core| all.is_set(*core).unwrap_or(false)).collect();
    stay_on(cores.first())?;
    Ok(cores)
}

/// Puts this thread, and those it starts from now on, on this core.
pub(crate) fn stay_on(core: Option<&usize>) -> Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut one = CpuSet::new();
    one.set(*core).context("no such core")?;
    sched_setaffinity(Pid::from_raw(0), &one).context("cannot stay on one core")
}

pub(crate) fn describe(cores: &Cores) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpu, kernel, load) = (read("/proc/cpuinfo"), read("/proc/sys/kernel/osrelease"), read("/proc/loadavg"));
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown CPU");
    let load = load.split(' ').next().unwrap_or_default();
    let busy = load.parse().is_ok_and(|load: f64| load > 0.7);
    format!(
        "{} cores of {}, Linux {}; the controller on one core, {}; load average at the start {load}{}",
        cores.len(),
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        if cores.len() > 1 { "all proxies on another" } else { "**shared with all proxies**" },
        if busy { ": **other programs ran, provisional**" } else { "" },
    )
}

/// Memory that the kernel holds for TCP sockets, of all processes and both ends.
pub(crate) fn sockets() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages = text.lines().find(|line| line.starts_with("TCP:")).and_then(|line| line.split("mem ").nth(1));
    pages.and_then(|pages| pages.trim().parse::<u64>().ok()).unwrap_or(0) * 4096
}
