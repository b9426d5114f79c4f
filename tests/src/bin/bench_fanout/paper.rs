//! What was measured, times ten: 100,000 proxies on several replicas, on paper.

use std::time::Duration;

const PROXIES: f64 = 100_000.0;

/// What one proxy costs the controller, as far as it was measured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Costs {
    /// Bytes, idle.
    pub(crate) memory: Option<f64>,
    /// Share of a core, idle.
    pub(crate) idle: Option<f64>,
    /// CPU seconds of a change: the answer and the ack.
    pub(crate) change: Option<f64>,
    /// CPU seconds of coming again.
    pub(crate) storm: Option<f64>,
}

/// Each replica has its part of the proxies to itself, and one core.
pub(crate) fn print(costs: &Costs) {
    println!(
        "\n| 100,000 proxies, on paper: replicas of one core each | memory of each | of its core, idle | a change | of its core's \
         time, a restart of all |\n|---|---|---|---|---|"
    );
    for replicas in [1.0, 3.0, 10.0, 20.0, 40.0] {
        let each = PROXIES / replicas;
        let told = |cost: Option<f64>, text: &dyn Fn(f64) -> String| cost.map_or("?".into(), |cost| text(cost * each));
        let seconds = |time: f64| format!("{:.2?}", Duration::from_secs_f64(time));
        println!(
            "| {replicas} | {} | {} | {} | {} |",
            told(costs.memory, &|bytes| format!("{:.0} MiB", bytes / f64::from(1 << 20))),
            told(costs.idle, &|share| format!("{:.1} %", share * 100.0)),
            told(costs.change, &seconds),
            told(costs.storm, &seconds),
        );
    }
}
