//! The same bits everywhere: what a window says, to the last bit, natively and on WebAssembly.

use crate::evidence::{evidence, window};
use sluicegate_core::judge::{
    bounds,
    hypergeometric::{Margins, ln_ratio},
    rules::RulesSpec,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

type Ratio = ((u64, u64, u64, u64), (f64, f64), u64);

/// Canary, baseline, bad, of those on the canary; from and to; bits.
#[rustfmt::skip]
const RATIOS: [Ratio; 6] = [
    ((1, 1, 1, 1), (1.0, 2.0), 0x3fd2_6962_1134_dacb),
    ((50, 50, 10, 8), (1.0, 3.2), 0x4000_1ba2_fe4a_21a2),
    ((50, 950, 10, 2), (1.1, 500.0), 0xc033_6ee4_b34a_bc99),
    ((10_000, 10_000, 10_000, 5_100), (1.0, 1.25), 0xc021_955c_f34b_6ecc),
    ((100_000, 900_000, 100_000, 10_000), (2.0, 0.5), 0x4081_c715_d20c_d542),
    ((1_000_000, 1_000_000, 1_000_000, 600_000), (1.0, 1.45), 0x40d3_8752_8d1c_9eeb),
];

#[test]
fn ratios_have_the_bits_they_always_had() {
    let found = RATIOS.map(|((canary, baseline, bad, x), (from, to), _)| {
        ln_ratio(Margins { canary, baseline, bad }, x, from, to).to_bits()
    });
    assert_eq!(found.map(|bits| format!("{bits:#018x}")), RATIOS.map(|(_, _, bits)| format!("{bits:#018x}")));
}

#[test]
fn evidence_and_bounds_have_the_bits_they_always_had() {
    let windows: Vec<_> = (0..20).map(|i| window((i % 4 + i / 7, 50 + i), (i % 3, 60))).collect();
    let it = evidence(RulesSpec::default(), &windows).assess();
    let (low, high) = bounds::rate(37, 5_000, 0.01);
    let least = it.criteria[0].could_see.map_or(0.0, |least| least.odds_ratio);
    let found =
        [it.harm.value, it.criteria[0].harmless.value, low, high, least].map(|n| format!("{:#018x}", n.to_bits()));
    assert_eq!(
        found,
        ["0x405f0904ca0fe66c", "0x3fa8f1a4fd93afe8", "0x3f6b79ab41275ced", "0x3f8c4d37bd8b8171", "0x4007f775bb82b892"]
    );
}
