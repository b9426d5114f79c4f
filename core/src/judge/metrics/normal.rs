//! The standard normal distribution, with the same bits on every platform.

use core::f64::consts::{FRAC_1_SQRT_2, PI};

/// The `z` above which this part of the distribution lies, for a tail from just above 0 to 0.5; 0 for more than that.
///
/// Newton's method from 0: the upper tail is convex there, so no step goes too far.
pub fn above(tail: f64) -> f64 {
    // Also keeps the tail from 0, whose place is infinitely far out: this is 37.5 standard deviations.
    let tail = tail.clamp(1e-307, 0.5);
    let mut z = 0.0;
    for _ in 0..1_000 {
        let excess = libm::erfc(z * FRAC_1_SQRT_2) / 2.0 - tail;
        let density = libm::exp(-z * z / 2.0) / (2.0 * PI).sqrt();
        let step = excess / density;
        z += step;
        if step <= 1e-15 * z || !z.is_finite() {
            break;
        }
    }
    z
}
