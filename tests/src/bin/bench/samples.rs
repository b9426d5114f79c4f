//! Numbers out of noise: medians of paired differences inside a round, and their range over Envoy processes.

/// CPU µs per request of one variant: one number per round, grouped by Envoy process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(pub(crate) Vec<Vec<f64>>);

/// A median over Envoy processes, and the smallest and largest of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Samples {
    /// The quiet fifth of the slices: what a request costs when nothing else disturbs.
    pub(crate) fn quiet(&self) -> Spread {
        Spread::of(self.0.iter().map(|rounds| quantile(rounds, 0.2)))
    }

    /// The paired difference to another variant of the same rounds.
    pub(crate) fn minus(&self, base: &Self) -> Spread {
        Spread::of(self.per_start(base, |mine, its| mine - its))
    }

    /// The paired ratio to another variant of the same rounds.
    pub(crate) fn over(&self, base: &Self) -> Spread {
        Spread::of(self.per_start(base, |mine, its| mine / its))
    }

    /// What this adds to `none`, as a multiple of what `rival` adds to it; per process, so that both saw the same one.
    pub(crate) fn added_over(&self, none: &Self, rival: (&Self, &Self)) -> Spread {
        let mine = self.per_start(none, |mine, its| mine - its);
        let its: Vec<f64> = rival.0.per_start(rival.1, |mine, its| mine - its).collect();
        Spread::of(mine.zip(its).map(|(mine, its)| mine / its))
    }

    /// Round by round, this minus that.
    pub(crate) fn difference(one: &Self, other: &Self) -> Self {
        let rounds = |(mine, its): (&Vec<f64>, &Vec<f64>)| mine.iter().zip(its).map(|(mine, its)| mine - its).collect();
        Self(one.0.iter().zip(&other.0).map(rounds).collect())
    }

    fn per_start(&self, base: &Self, op: impl Fn(f64, f64) -> f64 + Copy) -> impl Iterator<Item = f64> {
        self.0.iter().zip(&base.0).map(move |(mine, its)| {
            let paired: Vec<f64> = mine.iter().zip(its).map(|(mine, its)| op(*mine, *its)).collect();
            quantile(&paired, 0.5)
        })
    }
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        Self { median: quantile(&values, 0.5), low: quantile(&values, 0.0), high: quantile(&values, 1.0) }
    }
}

/// The value that so large a part of the values does not exceed; the middle of two where it falls between them.
pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * (place - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_paired_inside_a_round() {
        // The machine was ten times slower in the second round; the difference per round still shows.
        let none = Samples(vec![vec![10.0, 100.0, 10.0]]);
        let some = Samples(vec![vec![12.0, 102.0, 12.0]]);
        assert!((some.minus(&none).median - 2.0).abs() < 1e-9);
        assert!((some.added_over(&none, (&some, &none)).median - 1.0).abs() < 1e-9);
    }
}
