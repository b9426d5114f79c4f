//! The state of one VM. Envoy runs a VM on one thread, so it is a plain cell.

#[cfg(feature = "observe")]
use crate::slots::Slots;
use crate::{
    host::{self, Metric},
    root::Root,
};
#[cfg(feature = "observe")]
use sluicegate_core::ledger::Ledger;
use sluicegate_core::sorted::Sorted;
use std::cell::{Cell, RefCell};

/// A root whose ticks stopped this long ago is gone (Envoy does not tell, unless every stream paid for the export).
const ROOT_GONE_MS: u64 = 600_000;

/// Ids of metrics by name. Defining the same name again would make another id and leak the first.
#[derive(Debug, Default)]
pub(crate) struct Metrics(Sorted<String, u32>);

impl Metrics {
    /// The id of the metric with this name.
    pub(crate) fn id(&mut self, kind: Metric, name: &str) -> Option<u32> {
        if let Some(id) = self.0.get(name) {
            return Some(*id);
        }
        let id = host::define_metric(kind, name).ok()?;
        self.0.insert(name.to_owned(), id);
        Some(id)
    }
}

/// What the roots of a VM share.
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// Tells this VM from the others.
    pub(crate) random: u64,
    pub(crate) metrics: Metrics,
    #[cfg(feature = "observe")]
    pub(crate) ledger: Ledger,
    #[cfg(feature = "observe")]
    pub(crate) slots: Slots,
}

#[derive(Debug, Default)]
pub(crate) struct Vm {
    roots: Vec<Root>,
    pub(crate) common: Common,
}

thread_local! {
    static VM: RefCell<Option<Vm>> = const { RefCell::new(None) };
    /// The stream created last and its root: its headers come next.
    static STREAM: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
    static WORKER: Cell<bool> = const { Cell::new(false) };
}

impl Vm {
    fn new() -> Self {
        Self { common: Common { random: host::random(), ..Common::default() }, ..Self::default() }
    }

    /// Runs with the VM's state; `None` when the host calls in while it is in use, which it does not.
    pub(crate) fn with<T>(run: impl FnOnce(&mut Self) -> T) -> Option<T> {
        VM.with(|vm| vm.try_borrow_mut().ok().map(|mut vm| run(vm.get_or_insert_with(Self::new))))
    }

    /// Notes the stream whose headers come next.
    pub(crate) fn stream_created(stream: u32, root: u32) {
        STREAM.set((stream, root));
        WORKER.set(true);
    }

    /// The root of this stream; `None` if it is not the one created last.
    pub(crate) fn root_of(stream: u32) -> Option<u32> {
        let (last, root) = STREAM.get();
        (last == stream).then_some(root)
    }

    /// A VM that has been given a stream is a worker's.
    pub(crate) fn is_worker() -> bool {
        WORKER.get()
    }

    /// A root and what it shares with the others.
    pub(crate) fn root(&mut self, id: u32) -> Option<(&mut Root, &mut Common)> {
        self.roots.iter_mut().find(|root| root.id == id).map(|root| (root, &mut self.common))
    }

    /// Adds a root that was just configured and lets go of those that are gone.
    pub(crate) fn add(&mut self, root: Root, now: u64) {
        self.roots.retain(|known| known.id != root.id && now.saturating_sub(known.last_tick) < ROOT_GONE_MS);
        self.roots.push(root);
    }
}
