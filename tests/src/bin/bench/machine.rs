//! What the numbers were measured on, for whoever reads them later.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use sluicegate_tests::paths;

/// How much of the machine processes other than ours and Envoy used, between two looks.
pub(crate) struct Others {
    at: Instant,
    busy: Duration,
    ours: Duration,
}

impl Others {
    /// Begins; `envoy` is its CPU time so far.
    pub(crate) fn watch(envoy: Duration) -> Self {
        let own: Duration = ClockId::CLOCK_PROCESS_CPUTIME_ID.now().map(Into::into).unwrap_or_default();
        Self { at: Instant::now(), busy: busy(), ours: own + envoy }
    }

    /// Their share of all cores since then, 0 to 1; known to about 1/100 for a second.
    pub(crate) fn share(&self, envoy: Duration) -> f64 {
        let now = Self::watch(envoy);
        let theirs = now.busy.saturating_sub(self.busy).saturating_sub(now.ours.saturating_sub(self.ours));
        theirs.as_secs_f64() / (now.at - self.at).as_secs_f64().max(0.001) / cores() as f64
    }
}

/// Time all cores have spent on anything, in steps of 10 ms.
fn busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal …: all but idle and iowait.
    let used =
        ticks.iter().take(8).enumerate().filter(|(n, _)| ![3, 4].contains(n)).map(|(_, ticks)| ticks).sum::<u64>();
    Duration::from_millis(used * 10)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = cores();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    let envoy = paths::envoy().ok().and_then(|path| Command::new(path).arg("--version").output().ok());
    let envoy = envoy.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = envoy.split("version: ").nth(1).and_then(|rest| rest.split('/').nth(1)).unwrap_or("?").to_owned();
    let sizes: Vec<String> = ["sluicegate.wasm", "sluicegate-split.wasm", "bench-sdk-noop.wasm", "bench-raw-noop.wasm"]
        .iter()
        .filter_map(|file| {
            let size = fs::metadata(paths::wasm(file).ok()?).ok()?.len();
            Some(format!("{file} {:.1} KiB", size as f64 / 1024.0))
        })
        .collect();
    format!(
        "Envoy {version}, {cores} cores of {}, Linux {}, load average at the start {load}\n{}",
        model.unwrap_or("an unknown CPU"),
        kernel.trim(),
        sizes.join(", "),
    )
}
