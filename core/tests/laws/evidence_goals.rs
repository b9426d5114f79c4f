//! What the judge promises, on simulated rollouts: how rarely an equal release goes back, how soon a worse one does, and
//! that it sees what it says it could see. `make bench-judge` measures more of the same.

#![cfg(not(target_arch = "wasm32"))]

use sim::{Disturbance, Scenario, mean};
use sluicegate_core::judge::power::Step;

// The program that measures uses more of it.
#[allow(dead_code)]
#[path = "../../examples/bench_judge/sim.rs"]
mod sim;

#[test]
fn equal_releases_go_back_at_most_as_often_as_promised() {
    let rows = [
        Scenario::new((0.0, 0.0), (50, 50), 10_000),
        Scenario::new((0.01, 0.01), (50, 50), 20_000),
        Scenario::new((0.01, 0.01), (20, 180), 20_000),
        Scenario::new((0.5, 0.5), (20, 20), 4_000),
        Scenario { cap: 1, ..Scenario::new((0.01, 0.01), (50, 50), 20_000) },
        // Better than the baseline is not worse.
        Scenario::new((0.005, 0.01), (50, 50), 20_000),
    ];
    for scenario in rows {
        let rolled_back = scenario.run_many(1_000, 1).iter().flatten().count();
        // 10 of 1,000 expected at most; more than 20 has chance 0.0014.
        assert!(rolled_back <= 20, "{:?} in {:?}: {rolled_back} of 1,000", scenario.rates, scenario.window);
    }
}

#[test]
fn a_burst_in_one_window_does_not_take_a_release_back() {
    let burst = |cap| {
        let disturbance = Disturbance::Burst(0.005, 1);
        Scenario { disturbance, cap, ..Scenario::new((0.001, 0.001), (500, 500), 100_000) }
    };
    let share = |cap| burst(cap).run_many(300, 2).iter().flatten().count() as f64 / 300.0;
    let (capped, free) = (share(3), share(1));
    assert!(capped < 0.02 && free > 0.1, "{capped} with the cap, {free} without");
}

#[test]
fn a_worse_release_goes_back_within_1_4_times_walds_bound() {
    // Windows small enough that three of them are not already more than the bound.
    for (rates, size) in [((0.05, 0.01), 20), ((0.005, 0.001), 100), ((0.02, 0.01), 50), ((0.5, 0.0005), 4)] {
        let scenario = Scenario::new(rates, (size / 2, size / 2), 1_000_000);
        let (mean, missed) = mean(&scenario.run_many(400, 3));
        let ratio = mean / scenario.wald();
        assert!(missed == 0 && ratio <= 1.4, "{rates:?}: {mean:.0} requests, {ratio:.2} times Wald, {missed} missed");
    }
}

#[test]
fn harm_that_begins_late_is_not_held_up_by_the_calm_before() {
    let late = Scenario { calm: 500, ..Scenario::new((0.05, 0.01), (50, 50), 200_000) };
    let (mean, missed) = mean(&late.run_many(100, 4));
    assert!(missed == 0 && mean < 5.0 * late.wald(), "{mean:.0} requests");
}

#[test]
fn what_a_step_says_it_could_see_it_sees_four_times_in_five() {
    for (rate, size, windows) in [(0.01, 50, 100), (0.001, 200, 100), (0.05, 20, 50)] {
        let step = Step {
            canary: size * windows,
            baseline: size * windows,
            windows: windows as u32,
            rate,
            threshold: 100.0,
            cap: 100_f64.powf(0.4),
            harmless: 1.0,
        };
        let least = step.smallest_visible().expect("something");
        let scenario = Scenario::new((least.rate, rate), (size, size), 2 * size * windows);
        let caught = scenario.run_many(500, 5).iter().flatten().count() as f64 / 500.0;
        assert!((0.7..=0.9).contains(&caught), "{rate} {size}: ψ {:.2} caught {caught}", least.odds_ratio);
    }
}
