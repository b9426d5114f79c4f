//! Resident memory over time.

use std::time::{Duration, Instant};

/// With less than that there is no telling growth from what a process that was just started fills.
const LEAST: Duration = Duration::from_secs(110);

/// Samples of one process, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Trend(Vec<(Instant, f64)>);

impl Trend {
    /// Bytes, now.
    pub(crate) fn sample(&mut self, bytes: u64) {
        self.0.push((Instant::now(), bytes as f64));
    }

    pub(crate) fn first(&self) -> f64 {
        self.0.first().map_or(0.0, |(_, bytes)| *bytes)
    }

    pub(crate) fn last(&self) -> f64 {
        self.0.last().map_or(0.0, |(_, bytes)| *bytes)
    }

    /// Bytes per minute with their standard error, by least squares over the second half; `None` when that is too short.
    pub(crate) fn per_minute(&self) -> Option<(f64, f64)> {
        let half = self.0.get(self.0.len() / 2..)?;
        let ((begun, _), (ended, _)) = (half.first()?, half.last()?);
        let points: Vec<(f64, f64)> =
            half.iter().map(|(at, bytes)| ((*at - *begun).as_secs_f64() / 60.0, *bytes)).collect();
        let n = points.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / n;
        let (middle, height) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(x, _)| (x - middle).powi(2)).sum();
        if points.len() < 3 || *ended - *begun < LEAST {
            return None;
        }
        let slope = points.iter().map(|(x, y)| (x - middle) * (y - height)).sum::<f64>() / spread;
        let rest: f64 = points.iter().map(|(x, y)| (y - height - slope * (x - middle)).powi(2)).sum();
        Some((slope, (rest / (n - 2.0) / spread).sqrt()))
    }

    /// The slope, for people.
    pub(crate) fn slope(&self) -> String {
        match self.per_minute() {
            None => "too short to tell; run for ten minutes or more".to_owned(),
            Some((slope, error)) => format!(
                "{:+.1} ± {:.1} KiB a minute at {:.1} MiB, {} samples, of which the later half counts",
                slope / 1024.0,
                error / 1024.0,
                self.last() / 1024.0 / 1024.0,
                self.0.len()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_found_with_its_error() {
        let begun = Instant::now();
        let line = |noise: f64| {
            let at = |n: u64| (begun + Duration::from_secs(n), 1_000.0 + 2.0 * n as f64 + noise * (n % 2) as f64);
            Trend((0..600).map(at).collect())
        };
        let (slope, error) = line(0.0).per_minute().expect("enough");
        assert!((slope - 120.0).abs() < 1e-6 && error < 1e-6, "{slope} {error}");
        let (slope, error) = line(300.0).per_minute().expect("enough");
        assert!((slope - 120.0).abs() < 4.0 * error && error < 10.0, "{slope} {error}");
        assert_eq!(Trend(vec![(begun, 1.0); 9]).per_minute(), None);
    }
}
