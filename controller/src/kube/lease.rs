//! Who may write: one replica, the one that holds the Lease.
//!
//! In: the Lease object, and time. Out: a [`Fence`] that every write asks first, and a watch for those who begin and end
//! with leadership. A holder gives up 10 s after its last renewal, others take over after 15 s without one; so there is
//! a gap, but never two. What is on the way across that gap is stopped by resource versions.

use super::cluster::{ClusterError, MANAGER, ask};
use crate::clock::Clock;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tracing::{info, warn};

/// Others take over when nobody renewed for this long.
const DURATION: Duration = Duration::from_secs(15);
/// The holder gives up when it could not renew for this long.
const DEADLINE: Duration = Duration::from_secs(10);
/// How often the holder renews, and others look.
const RETRY: Duration = Duration::from_secs(2);
/// Where the holder can be reached by the other replicas.
const ADDRESS: &str = "sluicegate.dev/proxy-address";

/// Whether the lease is held right now. Clones share it.
#[derive(Debug, Clone)]
pub struct Fence {
    clock: Clock,
    /// Milliseconds of the clock.
    until: Arc<AtomicU64>,
}

impl Fence {
    /// Not held.
    pub fn new(clock: Clock) -> Self {
        Self { clock, until: Arc::default() }
    }

    /// Held, and not for too long without renewal.
    pub fn holds(&self) -> bool {
        self.clock.now().at.as_millis() < u128::from(self.until.load(Ordering::SeqCst))
    }

    fn hold_until(&self, until: Duration) {
        self.until.store(until.as_millis().try_into().unwrap_or(u64::MAX), Ordering::SeqCst);
    }
}

/// What a replica knows of the lease.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// This replica holds it.
    pub leads: bool,
    /// Who does, if not this one, and where its proxy port is.
    pub leader: Option<(String, String)>,
}

/// Takes part in the election.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    identity: String,
    address: String,
    fence: Fence,
    standing: watch::Sender<Standing>,
    /// The version of the lease last seen in somebody else's hands, and since when it is that.
    seen: Option<(String, Duration)>,
}

impl Election {
    /// Not begun. `identity` is this replica's and nobody else's at the same time; `address`: its proxy port.
    pub fn new(client: Client, namespace: &str, identity: String, address: String, fence: Fence) -> Self {
        let standing = watch::Sender::new(Standing::default());
        Self { api: Api::namespaced(client, namespace), identity, address, fence, standing, seen: None }
    }

    /// Who leads.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Takes part until the process closes; then lets go, so that another replica need not wait.
    pub async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut silent = false;
        loop {
            match self.turn().await {
                Ok(()) => silent = false,
                Err(why) => {
                    if !std::mem::replace(&mut silent, true) {
                        warn!(%why, "cannot take part in the election; trying on");
                    }
                }
            }
            self.tell(None);
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                _ = closing.wait_for(|closing| *closing) => break,
            }
        }
        if self.fence.holds() {
            self.fence.hold_until(Duration::ZERO);
            if let Err(why) = self.release().await {
                info!(%why, "the lease was not let go; it runs out by itself");
            }
        }
    }

    async fn turn(&mut self) -> Result<(), ClusterError> {
        let began = self.fence.clock.now();
        let Some(mut lease) = ask("the Lease", self.api.get_opt(MANAGER)).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(MANAGER.to_owned());
            self.sign(&mut lease, began.wall);
            ask("the Lease", self.api.create(&PostParams::default(), &lease)).await?;
            return self.held(began.at);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            let version = lease.metadata.resource_version.clone().unwrap_or_default();
            let since = match &self.seen {
                Some((known, since)) if *known == version => *since,
                _ => began.at,
            };
            self.seen = Some((version, since));
            if began.at.saturating_sub(since) < DURATION {
                let address = lease.metadata.annotations.as_ref().and_then(|all| all.get(ADDRESS)).cloned();
                self.tell(Some((holder, address.unwrap_or_default())));
                return Ok(());
            }
            info!(holder, "the holder of the lease is silent; taking over");
        }
        self.sign(&mut lease, began.wall);
        // Fails when somebody else was faster: the lease is that of this version.
        ask("the Lease", self.api.replace(MANAGER, &PostParams::default(), &lease)).await?;
        self.held(began.at)
    }

    fn held(&mut self, since: Duration) -> Result<(), ClusterError> {
        self.seen = None;
        self.fence.hold_until(since + DEADLINE);
        self.tell(None);
        Ok(())
    }

    fn sign(&self, lease: &mut Lease, now: Timestamp) {
        let before = lease.spec.take().unwrap_or_default();
        let ours = before.holder_identity.as_deref() == Some(&self.identity);
        let changes = before.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: if ours { before.acquire_time } else { Some(MicroTime(now)) },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(if ours { changes } else { changes + 1 }),
            ..LeaseSpec::default()
        });
        let annotations = lease.metadata.annotations.get_or_insert_with(BTreeMap::new);
        annotations.insert(ADDRESS.to_owned(), self.address.clone());
    }

    async fn release(&self) -> Result<(), ClusterError> {
        let Some(mut lease) = ask("the Lease", self.api.get_opt(MANAGER)).await? else { return Ok(()) };
        let Some(spec) = &mut lease.spec else { return Ok(()) };
        if spec.holder_identity.as_deref() == Some(&self.identity) {
            spec.holder_identity = None;
            ask("the Lease", self.api.replace(MANAGER, &PostParams::default(), &lease)).await?;
        }
        Ok(())
    }

    /// `other`: who holds it, when that was just read.
    fn tell(&self, other: Option<(String, String)>) {
        let leads = self.fence.holds();
        self.standing.send_if_modified(|known| {
            let leader = if leads { None } else { other.or_else(|| known.leader.clone()) };
            let new = Standing { leads, leader };
            if new.leads != known.leads {
                info!(leads, "leadership");
            }
            std::mem::replace(known, new.clone()) != new
        });
    }
}
