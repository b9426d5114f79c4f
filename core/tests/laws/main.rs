//! What must hold for every input: the laws of core, natively and on WebAssembly.
//!
//! ```text
//! cargo test -p sluicegate-core --test laws
//! CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$PWD/.tools/wasm-bindgen \
//!     cargo test -p sluicegate-core --test laws --target wasm32-unknown-unknown   # make core-wasm
//! ```
//!
//! Seeds are fixed, so a run repeats. `PROPTEST_RNG_SEED=7` tries other inputs, `PROPTEST_CASES` more of them.

mod any;
mod codec;
mod counts;
mod decide;
mod decode;
mod even;
mod evidence;
mod evidence_bits;
mod evidence_chances;
mod evidence_goals;
mod evidence_passing;
mod golden;
mod hosts;
mod keys;
mod latency;
mod merge;
mod metrics;
mod names;
mod outcomes;
mod picking;
#[cfg(not(target_arch = "wasm32"))] // whole numbers only, and minutes of them
mod rollout;
mod rollout_cases;
mod splits;
mod sticky;
mod wire;

/// How many inputs to try, the same on both targets.
#[cfg(not(target_arch = "wasm32"))]
fn cases(cases: u32) -> proptest::test_runner::Config {
    use proptest::test_runner::{Config, RngSeed};
    let given = Config::default();
    let seed = if given.rng_seed == RngSeed::Random { RngSeed::Fixed(0x51_1C_E6_A7_E0) } else { given.rng_seed };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    Config { cases, rng_seed: seed, failure_persistence: None, ..given }
}

/// How many inputs to try, the same on both targets. Without `std`, proptest's seed is fixed and it writes no files.
#[cfg(target_arch = "wasm32")]
fn cases(cases: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config { cases, ..Default::default() }
}
