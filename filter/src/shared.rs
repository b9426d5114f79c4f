//! Keys of shared data and what is under them.
//!
//! Istio puts all plugins of a proxy into one namespace, and stat names are process-wide everywhere; so keys and
//! metric names carry the plugin's identity: its names in Envoy's configuration and what it subscribes to. A changed
//! fallback or header keeps the identity, and with it the weights.

use crate::{
    config::Config,
    host::{self, Refused, Shared},
    lease::Lease,
};
use sluicegate_core::{key, snapshot::Snapshot, wire::Subscription};

/// Attempts of a compare-and-set before giving up until the next tick. Each failed attempt means another VM succeeded.
const ATTEMPTS: usize = 100;

/// The keys of one plugin identity.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// The identity.
    pub(crate) plugin: u64,
    snapshot: String,
    lease: String,
    pub(crate) counts: String,
    pub(crate) version: String,
    epoch: String,
}

impl Keys {
    pub(crate) fn new(config: &Config) -> Self {
        let identity = [
            host::property_text("plugin_name"),
            host::property_text("plugin_root_id"),
            host::property_text("plugin_vm_id"),
            config.cluster.clone(),
            match &config.subscription {
                Subscription::Split(split) => split.clone(),
                Subscription::Hosts => "*".to_owned(),
            },
        ];
        let plugin = key::seed(&identity.join("\0"));
        let key = |what| format!("sluicegate/{plugin:016x}/{what}");
        Self {
            plugin,
            snapshot: key("snapshot"),
            lease: key("lease"),
            counts: key("counts"),
            version: key("version"),
            epoch: key("epoch"),
        }
    }

    /// Makes sure every key exists, since compare-and-set works on existing keys only. The first VM of a process
    /// configures alone, before any worker.
    pub(crate) fn seed(&self) -> Result<(), Refused> {
        for key in [&self.snapshot, &self.lease, &self.counts, &self.version] {
            if host::shared(key).is_none() {
                host::set_shared(key, b"", 0)?;
            }
        }
        Ok(())
    }

    /// The random id of this process and plugin, made by whoever configures first.
    pub(crate) fn epoch(&self) -> Result<u64, Refused> {
        let known = || host::shared(&self.epoch).and_then(|s| Some(u64::from_le_bytes(s.value.try_into().ok()?)));
        if let Some(epoch) = known() {
            return Ok(epoch);
        }
        let epoch = host::random();
        host::set_shared(&self.epoch, &epoch.to_le_bytes(), 0)?;
        Ok(known().unwrap_or(epoch))
    }

    /// What the proxy knows; `None` when it has never had weights, or what is there cannot be read.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        host::shared(&self.snapshot).and_then(|s| Snapshot::decode(&s.value).ok())
    }

    /// What the proxy knows, and the compare-and-set number of the write that it is from.
    pub(crate) fn snapshot_and_write(&self) -> (Snapshot, u32) {
        match host::shared(&self.snapshot) {
            Some(Shared { value, cas }) => (Snapshot::decode(&value).unwrap_or_default(), cas),
            None => (Snapshot::default(), 0),
        }
    }

    /// Changes the snapshot by compare-and-set. `change` says whether there is anything to write; the result is the
    /// snapshot as it then stands.
    pub(crate) fn update_snapshot(&self, mut change: impl FnMut(&mut Snapshot) -> bool) -> Result<Snapshot, Refused> {
        update(&self.snapshot, |shared| {
            let mut snapshot = Snapshot::decode(&shared.value).unwrap_or_default();
            let bytes = change(&mut snapshot).then(|| snapshot.encode());
            (bytes, snapshot)
        })
    }

    /// The lease and its compare-and-set number; `None` when nobody ever held it.
    pub(crate) fn lease(&self) -> (Option<Lease>, u32) {
        match host::shared(&self.lease) {
            Some(Shared { value, cas }) => (Lease::decode(&value).ok(), cas),
            None => (None, 0),
        }
    }

    /// Writes the lease if nobody else has since it was read.
    pub(crate) fn set_lease(&self, lease: &Lease, cas: u32) -> bool {
        host::set_shared(&self.lease, &lease.encode(), cas) == Ok(true)
    }
}

/// Reads a key, computes the new value (`None`: leave it), and writes it unless another VM was faster, in which case
/// it starts over.
pub(crate) fn update<T>(key: &str, mut compute: impl FnMut(&Shared) -> (Option<Vec<u8>>, T)) -> Result<T, Refused> {
    const INTERNAL_FAILURE: u32 = 10;
    for _ in 0..ATTEMPTS {
        let shared = host::shared(key).unwrap_or(Shared { value: Vec::new(), cas: 0 });
        let (bytes, result) = compute(&shared);
        let Some(bytes) = bytes else { return Ok(result) };
        if host::set_shared(key, &bytes, shared.cas)? {
            return Ok(result);
        }
    }
    Err(Refused(INTERNAL_FAILURE))
}
