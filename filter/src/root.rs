//! One plugin configuration in one VM: what is picked from, and the tick.

#[cfg(feature = "observe")]
use crate::report::Reporter;
use crate::{
    config::Config,
    host::{self, Level, Refused},
    lease::Candidate,
    poll::Poll,
    shared::Keys,
    version::Version,
    vm::{Common, Vm},
};
#[cfg(feature = "observe")]
use sluicegate_core::ledger::{Key, Ledger, Sampler};
use sluicegate_core::{decide::Memory, key, ready::Ready, snapshot::Snapshot, split::Split, wire::ProxyId};

/// Milliseconds from configure to the first tick: workers start at about the same time, the main thread first.
pub(crate) const FIRST_TICK_MS: u32 = 30;
/// Milliseconds between ticks.
const TICK_MS: u32 = 500;

/// Tells other code with the same configuration apart.
const BUILD: &str =
    if cfg!(feature = "observe") { concat!(env!("CARGO_PKG_VERSION"), "+observe") } else { env!("CARGO_PKG_VERSION") };

/// What one worker keeps of one split.
#[derive(Debug)]
pub(crate) struct SplitState {
    /// The balance of the even sequence, and the random one.
    pub(crate) memory: Memory,
    /// Decided already: the controller is lost and the configuration says where requests then go.
    pub(crate) forced: Option<usize>,
    /// Per subset: the ledger line, and which requests are observed.
    #[cfg(feature = "observe")]
    pub(crate) lines: Vec<(u32, Sampler)>,
}

/// One plugin configuration in one VM.
#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) id: u32,
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) version: Version,
    /// The version `ready` was made of.
    seen: u64,
    /// The table in force in this VM.
    pub(crate) ready: Ready<SplitState>,
    pub(crate) proxy: ProxyId,
    /// Bearer token, with its scheme.
    pub(crate) authorization: Option<String>,
    configured: u64,
    config_hash: u64,
    pub(crate) last_tick: u64,
    pub(crate) poll: Poll,
    #[cfg(feature = "observe")]
    pub(crate) reporter: Reporter,
}

impl Root {
    /// From the plugin configuration of this root context; the message of an error goes to Envoy's log.
    pub(crate) fn configure(id: u32, json: &[u8], common: &mut Common) -> Result<Self, String> {
        let config = Config::parse(json).map_err(|why| why.to_string())?;
        let authorization = config.token_env.as_deref().map(token).transpose()?;
        let keys = Keys::new(&config);
        let refused = |why: Refused| format!("shared data cannot be written (status {})", why.0);
        keys.seed().map_err(refused)?;
        let plugin = host::property_text("plugin_name");
        let proxy = ProxyId { epoch: keys.epoch().map_err(refused)?, node: node(), plugin };
        let version = Version::new(&keys, &mut common.metrics);
        let now = host::now_millis();
        let mut root = Self {
            id,
            config_hash: key::seed(&format!("{BUILD}{}", String::from_utf8_lossy(json))),
            config,
            keys,
            version,
            seen: 0,
            ready: Ready::default(),
            proxy,
            authorization,
            configured: now,
            last_tick: now,
            poll: Poll::default(),
            #[cfg(feature = "observe")]
            reporter: Reporter::default(),
        };
        root.load(None, common);
        host::set_tick_period(FIRST_TICK_MS).map_err(|why| format!("no tick (status {})", why.0))?;
        Ok(root)
    }

    /// This root as a candidate for polling.
    pub(crate) fn candidate(&self, common: &Common) -> Candidate {
        let me = Candidate {
            owner: (common.random, self.id),
            worker: Vm::is_worker(),
            configured: self.configured,
            config: self.config_hash,
        };
        #[cfg(feature = "faults")]
        let me = crate::fault::candidate(me);
        me
    }

    pub(crate) fn tick(&mut self, common: &mut Common) {
        // Refused only outside a root context, where no tick happens.
        let _ = host::set_tick_period(TICK_MS);
        let now = host::now_millis();
        self.last_tick = now;
        #[cfg(feature = "observe")]
        crate::report::flush(&self.keys, common, now, &mut self.reporter);
        crate::poll::tick(self, common, now);
    }

    /// An answer to one of our calls.
    pub(crate) fn call_response(&mut self, token: u32, body_size: usize, common: &Common) {
        if self.poll.is_mine(token) {
            crate::poll::answered(self, body_size, common);
        } else {
            #[cfg(feature = "observe")]
            self.reporter.answered(token, self.last_tick);
        }
    }

    /// Looks at the version and reloads when it moved: the first thing of every request.
    pub(crate) fn refresh(&mut self, common: &mut Common) {
        let Some(version) = self.version.get() else { return };
        if version == self.seen {
            return;
        }
        self.seen = version;
        // No snapshot though the version moved (hot restart): what we have, which is the fallback, stays.
        if let Some(snapshot) = self.keys.snapshot() {
            self.load(Some(snapshot), common);
        }
    }

    fn load(&mut self, snapshot: Option<Snapshot>, common: &mut Common) {
        let lost = snapshot.as_ref().is_some_and(|s| s.lost);
        let plugin = self.keys.plugin;
        let state = |split: &Split, before: Option<SplitState>| match before {
            Some(state) => changed(split, state, plugin, common),
            None => fresh(split, plugin, common),
        };
        let Config { subscription, fallback, .. } = &self.config;
        let (ready, refused) = std::mem::take(&mut self.ready).next(snapshot, subscription, fallback.as_ref(), state);
        self.ready = ready;
        for (name, why) in refused {
            host::log(Level::Error, &format!("sluicegate: split {name} from the controller is refused: {why}"));
        }
        let revert = self.config.revert.as_ref().filter(|_| lost);
        for (split, state) in self.ready.iter_mut() {
            state.forced = revert.and_then(|r| split.index(r.subset.as_bytes()));
        }
    }
}

/// The state of a split seen for the first time. The fallback's generation is 0, and no split has that one.
fn fresh(split: &Split, plugin: u64, common: &mut Common) -> SplitState {
    changed(
        split,
        SplitState {
            memory: Memory::new(host::random()),
            forced: None,
            #[cfg(feature = "observe")]
            lines: Vec::new(),
        },
        plugin,
        common,
    )
}

/// The state of a split whose content changed: its sequence goes on, its balance starts anew.
fn changed(split: &Split, mut state: SplitState, plugin: u64, common: &mut Common) -> SplitState {
    state.memory.rebase();
    #[cfg(feature = "observe")]
    {
        state.lines = lines(split, plugin, &mut common.ledger);
    }
    #[cfg(not(feature = "observe"))]
    let _ = (split, plugin, common);
    state
}

#[cfg(feature = "observe")]
fn lines(split: &Split, plugin: u64, ledger: &mut Ledger) -> Vec<(u32, Sampler)> {
    let line = |subset: &sluicegate_core::split::Subset| {
        let key = Key { split: split.name.clone(), subset: subset.name.clone(), sample: subset.sample };
        (ledger.line(plugin, key, split.protocol), Sampler::new(host::random()))
    };
    split.subsets.iter().map(line).collect()
}

/// Envoy's node id. The second path is that of older releases; 1.40 does not know it any more.
fn node() -> String {
    ["xds\0node\0id", "node\0id"].map(host::property_text).into_iter().find(|id| !id.is_empty()).unwrap_or_default()
}

/// Envoy sends a header value as it is, line ends too.
fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic())
}

/// `Bearer …` from an environment variable of the VM.
fn token(variable: &str) -> Result<String, String> {
    match std::env::var(variable) {
        Ok(token) if is_token(token.trim()) => Ok(format!("Bearer {}", token.trim())),
        Ok(token) if !token.trim().is_empty() => {
            Err(format!("plugin configuration, field token_env: {variable} must hold visible ASCII without spaces"))
        }
        _ => Err(format!(
            "plugin configuration, field token_env: environment variable {variable} is empty or not passed to the VM; \
             list it in the VM's environment_variables (EnvoyExtensionPolicy: env.hostKeys; WasmPlugin: vmConfig.env)"
        )),
    }
}
