//! How workers see that there is something new: a number that moves after every write of the snapshot.
//!
//! It only says "look again"; generations come from the snapshot. Each move is to a value never used before, compared
//! with `!=`, because two publishers may overlap, and under a hot restart the parent's gauge is added to ours.

use crate::{
    host::{self, Metric, Refused},
    shared::Keys,
    vm::Metrics,
};

/// Where the number is.
#[derive(Debug, Clone)]
pub(crate) enum Version {
    /// A gauge: 8 bytes, no allocation, no process-wide lock.
    Gauge(u32),
    /// The compare-and-set number of an empty key, where Envoy's stats matcher refuses our gauges.
    Key(String),
}

impl Version {
    pub(crate) fn new(keys: &Keys, metrics: &mut Metrics) -> Self {
        let gauge = |metrics: &mut Metrics, what| {
            metrics.id(Metric::Gauge, &format!("sluicegate.plugin.{:016x}.{what}", keys.plugin))
        };
        // A refused gauge accepts everything and reads 0. The probe is a gauge of its own, since recording into the
        // live one could undo a move. Under a hot restart it reads the sum with the parent's.
        let accepted = gauge(metrics, "probe").is_some_and(|probe| {
            host::record_metric(probe, 1).is_ok() && host::metric(probe).is_some_and(|value| value != 0)
        });
        match accepted.then(|| gauge(metrics, "version")).flatten() {
            Some(id) => Self::Gauge(id),
            None => Self::Key(keys.version.clone()),
        }
    }

    /// The number as it stands; `None` when it cannot be read.
    pub(crate) fn get(&self) -> Option<u64> {
        match self {
            Self::Gauge(id) => host::metric(*id),
            Self::Key(key) => host::shared(key).map(|s| u64::from(s.cas)),
        }
    }

    /// Moves it. Must follow the write it announces.
    pub(crate) fn bump(&self) -> Result<(), Refused> {
        match self {
            Self::Gauge(id) => host::record_metric(*id, host::now_nanos() << 8 | host::random() & 0xff),
            Self::Key(key) => host::set_shared(key, b"", 0).map(|_| ()),
        }
    }
}
