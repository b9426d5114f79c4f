//! Measures the judge on simulated rollouts and prints Markdown: `make bench-judge`, a few minutes.
//!
//! `-- quick` makes fewer of them; `-- detect` only the second table.

mod metrics;
mod sim;

use sim::{Disturbance, Scenario, mean};
use sluicegate_core::judge::power::Step;

const SEED: u64 = 20_26;
/// Rollouts that the judge of metrics sees.
const OF_METRICS: u64 = 500;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| arguments.iter().any(|argument| argument == word);
    let rollouts = if has("quick") { 200 } else { 2_000 };
    if !has("detect") {
        false_rollbacks(rollouts);
    }
    sight();
    detection(rollouts);
    late(rollouts / 4);
}

/// Equal releases: how many are rolled back.
fn false_rollbacks(rollouts: u64) {
    println!(
        "## Equal releases rolled back\n\n{rollouts} rollouts of 100,000 requests, a look after each window, α = 1 %.\n"
    );
    println!(
        "| rate | window (canary + baseline) | disturbance | `windows: 3` | `windows: 6` | no cap | metrics, once | metrics, ten looks |\n|---|---|---|---|---|---|---|---|"
    );
    let half = (500, 500);
    let calm = |rate, window| ("none", rate, window, Disturbance::None);
    let rows = [
        calm(0.0, half),
        calm(0.001, half),
        calm(0.01, half),
        calm(0.5, half),
        calm(0.01, (50, 50)),
        calm(0.001, (10, 990)),
        calm(0.01, (100, 900)),
        calm(0.5, (100, 900)),
        ("1 % of windows: 20 % bad on one side", 0.001, half, Disturbance::Burst(0.01, 1)),
        ("3 % of windows: 20 % bad on one side", 0.001, half, Disturbance::Burst(0.03, 1)),
        ("the same for 2 windows", 0.001, half, Disturbance::Burst(0.015, 2)),
        ("the same for 5 windows", 0.001, half, Disturbance::Burst(0.006, 5)),
        ("each window half or twice the rate", 0.001, half, Disturbance::Overdispersed),
        ("each window half or twice the rate", 0.01, half, Disturbance::Overdispersed),
        ("each window half or twice the rate", 0.01, (5_000, 5_000), Disturbance::Overdispersed),
        ("one pod in ten has 5 times the rate", 0.001, half, Disturbance::BadPod),
        ("one pod in ten has 5 times the rate", 0.01, half, Disturbance::BadPod),
    ];
    for (what, rate, window, disturbance) in rows {
        let rolled_back = |cap| {
            let scenario = Scenario { disturbance, cap, ..Scenario::new((rate, rate), window, 100_000) };
            let outcomes = scenario.run_many(rollouts, SEED);
            100.0 * outcomes.iter().flatten().count() as f64 / rollouts as f64
        };
        let [three, six, free] = [3, 6, 1].map(rolled_back);
        let scenario = Scenario { disturbance, ..Scenario::new((rate, rate), window, 100_000) };
        let windows = scenario.windows as usize;
        let looks: Vec<usize> = (1..=10).map(|tenth| windows * tenth / 10).collect();
        let by_metrics = |looks: &[usize]| metrics::failed(&scenario, looks, rollouts.min(OF_METRICS), SEED);
        let (once, often) = (by_metrics(&[windows]), by_metrics(&looks));
        let rate = rate * 100.0;
        println!(
            "| {rate} % | {} + {} | {what} | {three:.2} % | {six:.2} % | {free:.2} % | {once:.1} % | {often:.1} % |",
            window.0, window.1
        );
    }
}

/// What a step of so many requests would have caught.
fn sight() {
    println!("\n## The smallest rate a step would have caught, four times in five\n");
    println!("60 windows, equal sides, one criterion, α = 1 %.\n");
    println!("| requests a side | beside 0.01 % | beside 0.1 % | beside 1 % | beside 10 % |\n|---|---|---|---|---|");
    for requests in [50, 200, 500, 1_000, 5_000, 20_000, 100_000, 1_000_000] {
        let cells = [0.0001, 0.001, 0.01, 0.1].map(|rate| {
            let (threshold, cap) = (100.0, 100_f64.powf(0.4));
            let step = Step { canary: requests, baseline: requests, windows: 60, rate, threshold, cap, harmless: 1.0 };
            step.smallest_visible().map_or("nothing".to_owned(), |least| format!("{:.3} %", least.rate * 100.0))
        });
        println!("| {requests} | {} |", cells.join(" | "));
    }
}

/// Worse releases: how many requests it takes.
fn detection(rollouts: u64) {
    println!("\n## Worse releases: requests until rolled back\n");
    println!(
        "Means over {rollouts} rollouts, requests of both sides, equal sides, α = 1 %. *Wald*: ln(1/α) over the nats per"
    );
    println!(
        "request to the closest equal pair, the least any test needs; *in such windows*: the least for tests that use"
    );
    println!(
        "how bad events fell in each window. × is against Wald. *metrics*: how many rollouts the judge of metrics"
    );
    println!(
        "fails that looks once, at the same series, after as many requests as this one took on average, and after"
    );
    println!("ten times as many; each window is a point, and below ten points it says nothing.\n");
    println!(
        "| rates | window | Wald | in such windows | measured | × | without cap | × | metrics | metrics, 10 × |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    let pairs = [(0.01, 0.05), (0.001, 0.005), (0.01, 0.02), (0.0005, 0.5)];
    for (from, to) in pairs {
        let sizes: &[u64] = if to > 0.4 { &[2, 4, 6, 10, 20, 100, 1_000] } else { &[20, 100, 1_000] };
        for size in sizes {
            let scenario = Scenario::new((to, from), (size / 2, size / 2), 1_000_000);
            let wald = scenario.wald();
            let measure = |cap| {
                let (mean, missed) = mean(&Scenario { cap, ..scenario.clone() }.run_many(rollouts, SEED + 1));
                let missed = if missed > 0 { format!(" ({missed} missed)") } else { String::new() };
                (mean, format!("{mean:.0}{missed} | {:.2}", mean / wald))
            };
            let (took, capped) = measure(3);
            let by_metrics = |times: f64| {
                let windows = (took * times / *size as f64).round() as usize;
                let share = metrics::failed(&scenario, &[windows], rollouts.min(OF_METRICS), SEED + 1);
                if windows < 10 { "too few points".to_owned() } else { format!("{share:.1} %") }
            };
            let best = if *size <= 100 { format!("{:.0}", scenario.conditional_wald()) } else { "—".to_owned() };
            let (from, to) = (from * 100.0, to * 100.0);
            println!(
                "| {from} → {to} % | {size} | {wald:.0} | {best} | {capped} | {} | {} | {} |",
                measure(1).1,
                by_metrics(1.0),
                by_metrics(10.0)
            );
        }
    }
}

/// Harm that begins after a long calm.
fn late(rollouts: u64) {
    println!(
        "\n## Harm that begins late\n\nRequests from its beginning, 1 → 5 %, windows of 100, over {rollouts} rollouts.\n"
    );
    println!("| requests before | measured | × Wald |\n|---|---|---|");
    for before in [0, 1_000, 10_000, 100_000] {
        let scenario = Scenario { calm: before / 100, ..Scenario::new((0.05, 0.01), (50, 50), 1_000_000) };
        let (mean, _) = mean(&scenario.run_many(rollouts, SEED + 2));
        println!("| {before} | {mean:.0} | {:.2} |", mean / scenario.wald());
    }
}
