//! Root finding (Brent 1973, chapter 4): as quick as the secant method where it can be, as sure as bisection where not.

/// Enough for any interval of doubles; the usual is ten to sixty.
const MOST_STEPS: u32 = 400;

/// A point between `a` and `b` at which `f` changes its sign, to within `tolerance` (absolute) or the spacing of
/// doubles. Where `f` jumps over zero, that is the place of the jump. `f(a)` and `f(b)` should have different signs;
/// if not, the better end is returned.
pub fn root(mut f: impl FnMut(f64) -> f64, a: f64, b: f64, tolerance: f64) -> f64 {
    let (mut previous, mut current) = ((a, f(a)), (b, f(b)));
    if previous.1 == 0.0 {
        return previous.0;
    }
    if current.1 == 0.0 || (previous.1 > 0.0) == (current.1 > 0.0) {
        return if previous.1.abs() < current.1.abs() { previous.0 } else { current.0 };
    }
    // The root lies between `current` and `block`; `step` and `last_step` are the latest two.
    let mut block = previous;
    let (mut step, mut last_step) = (current.0 - previous.0, current.0 - previous.0);
    for _ in 0..MOST_STEPS {
        if previous.1 != 0.0 && (previous.1 > 0.0) != (current.1 > 0.0) {
            block = previous;
            step = current.0 - previous.0;
            last_step = step;
        }
        if block.1.abs() < current.1.abs() {
            previous = current;
            current = block;
            block = previous;
        }
        let delta = (tolerance + 4.0 * f64::EPSILON * current.0.abs()) / 2.0;
        let half = (block.0 - current.0) / 2.0;
        if current.1 == 0.0 || half.abs() < delta || !half.is_finite() {
            break;
        }
        let tried = if last_step.abs() > delta && current.1.abs() < previous.1.abs() {
            Some(interpolated(previous, current, block)).filter(|t| {
                let most = last_step.abs().min(3.0 * half.abs() - delta);
                2.0 * t.abs() < most
            })
        } else {
            None
        };
        (last_step, step) = tried.map_or((half, half), |tried| (step, tried));
        previous = current;
        let moved = if step.abs() > delta { step } else { delta.copysign(half) };
        current.0 += moved;
        current.1 = f(current.0);
    }
    current.0
}

/// The step to where a line through two points, or a curve through three, is zero.
fn interpolated(previous: (f64, f64), current: (f64, f64), block: (f64, f64)) -> f64 {
    if previous.0 == block.0 {
        return -current.1 * (current.0 - previous.0) / (current.1 - previous.1);
    }
    let before = (previous.1 - current.1) / (previous.0 - current.0);
    let beyond = (block.1 - current.1) / (block.0 - current.0);
    -current.1 * (block.1 * beyond - previous.1 * before) / (beyond * before * (block.1 - previous.1))
}
