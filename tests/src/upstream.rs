//! The pods behind the proxy: one thread, any number of listeners, an epoll loop; quick enough for benchmarks.
//!
//! Each answer names the pod that gave it and the subset header it received: as headers `x-pod` and `x-got-subset`
//! and as JSON. The query of a request chooses how it is answered, see [`Behaviour`].

mod behaviour;
mod habits;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::ClockId;
use nix::unistd::{self, Pid};

pub use behaviour::{Behaviour, Fault};
pub use habits::Habits;

/// The request header that names a subset.
pub const SUBSET_HEADER: &str = "x-sluicegate-subset";

/// What one pod has received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Requests whose head arrived.
    pub requests: u64,
    /// The same by value of the subset header; "" when it was absent.
    pub subsets: BTreeMap<String, u64>,
    /// Bytes of request bodies.
    pub body_bytes: u64,
}

/// Running pods; dropping the value closes them.
#[derive(Debug)]
pub struct Upstreams {
    pods: Vec<(String, SocketAddr)>,
    received: Arc<Mutex<Vec<Received>>>,
    open: Arc<AtomicUsize>,
    waker: mio::Waker,
    thread: Option<thread::JoinHandle<()>>,
    cpu: ClockId,
}

impl Upstreams {
    /// Starts one pod per name, each on a port of its own.
    ///
    /// # Errors
    /// When no port is to be had.
    pub fn start(names: &[&str]) -> Result<Self> {
        Self::start_with(names, Habits::default())
    }

    /// The same with something wrong with all of them.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(names: &[&str], habits: Habits) -> Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::begin(&names.iter().map(|name| (*name, any)).collect::<Vec<_>>(), habits)
    }

    /// Starts one pod at this address.
    ///
    /// # Errors
    /// When it is taken.
    pub fn start_at(name: &str, at: SocketAddr, habits: Habits) -> Result<Self> {
        Self::begin(&[(name, at)], habits)
    }

    fn begin(names: &[(&str, SocketAddr)], habits: Habits) -> Result<Self> {
        let received = Arc::new(Mutex::new(vec![Received::default(); names.len()]));
        let open = Arc::default();
        let (mut server, waker, addresses) =
            server::Server::bind(names, habits, Arc::clone(&received), Arc::clone(&open))
                .context("cannot start the upstreams")?;
        let (tell, told) = std::sync::mpsc::channel();
        let thread = thread::Builder::new().name("upstreams".into()).spawn(move || {
            tell.send(unistd::gettid()).ok();
            server.run();
        })?;
        let id = told.recv().context("the thread of the upstreams died")?;
        let pods = names.iter().map(|(name, _)| (*name).to_owned()).zip(addresses).collect();
        Ok(Self { pods, received, open, waker, thread: Some(thread), cpu: thread_clock(id) })
    }

    /// The address of the pod with this name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn addr(&self, name: &str) -> SocketAddr {
        let found = self.pods.iter().find(|(pod, _)| pod == name);
        found.unwrap_or_else(|| panic!("no pod '{name}' among {:?}", self.pods)).1
    }

    /// The addresses of all pods whose name starts so.
    #[must_use]
    pub fn addrs(&self, prefix: &str) -> Vec<SocketAddr> {
        self.pods.iter().filter(|(pod, _)| pod.starts_with(prefix)).map(|(_, addr)| *addr).collect()
    }

    /// What each pod has received so far, by name.
    #[must_use]
    pub fn received(&self) -> BTreeMap<String, Received> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        self.pods.iter().map(|(name, _)| name.clone()).zip(received.iter().cloned()).collect()
    }

    /// Forgets what was received.
    pub fn reset(&self) {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).fill(Received::default());
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// CPU time of the serving thread.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        self.cpu.now().map(Into::into).unwrap_or_default()
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        self.waker.wake().ok();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// The CPU clock of one thread of this process, as `pthread_getcpuclockid` makes it.
const fn thread_clock(thread: Pid) -> ClockId {
    ClockId::from_raw((!thread.as_raw() << 3) | 6)
}
