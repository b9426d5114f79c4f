//! Percentiles of type R-7 (Hyndman & Fan 1996, the default of R and NumPy), and the fences made of them.

/// The part `p` (0 to 1) of these sorted values, linear between neighbours; `None` of nothing.
pub fn percentile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = p.clamp(0.0, 1.0) * last as f64;
    let below = at as usize;
    let low = *sorted.get(below)?;
    let high = *sorted.get(below + 1).unwrap_or(&low);
    Some(low + (at - below as f64) * (high - low))
}

/// How many quartile distances beyond the quartiles a value is an outlier.
const FACTOR: f64 = 3.0;

/// The lowest and the highest value that is no outlier: three quartile distances beyond the quartiles, or the first and
/// the 99th percentile where those are further out.
pub fn fences(sorted: &[f64]) -> Option<(f64, f64)> {
    let (q1, q3) = (percentile(sorted, 0.25)?, percentile(sorted, 0.75)?);
    let reach = FACTOR * (q3 - q1);
    let low = percentile(sorted, 0.01)?.min(q1 - reach);
    let high = percentile(sorted, 0.99)?.max(q3 + reach);
    Some((low, high))
}
