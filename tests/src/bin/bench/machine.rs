//! What the numbers were measured on, for whoever reads them later.

use std::fs;
use std::process::Command;

use sluicegate_tests::paths;

pub(crate) fn describe() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
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
