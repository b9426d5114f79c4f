//! Which VM of the process polls. Pure: a lease in, a candidate in, a verdict out.
//!
//! The lease only saves work; what keeps weights right is the merge of the snapshot. It has a time to live, because a
//! VM that trapped never ticks again. The main thread's VM is preferred, because a trap there costs no request; no
//! host call tells the thread, so a VM that has never been given a stream is taken for it. The newest configuration
//! pre-empts, or a changed plugin would not be polled for until the old one is drained.

use sluicegate_core::codec::{Damaged, Reader, Writer};

/// A holder that has not renewed for this long has lost it, in milliseconds.
pub const TTL: u64 = 5_000;
/// Roots with one text configured further apart than this are not the VMs of one configuration, in milliseconds.
const NEWER: u64 = 1_000;

/// Who wants to poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Random bits of the VM, and the root in it; later roots have higher numbers.
    pub owner: (u64, u32),
    /// This VM has been given a stream, so it is a worker's.
    pub worker: bool,
    /// When this root was configured, monotonic ms.
    pub configured: u64,
    /// Hash of the configuration and of the code that runs it.
    pub config: u64,
}

/// The lease as it stands in shared data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: Candidate,
    /// Until when, monotonic ms.
    pub expires: u64,
    /// When the controller last answered anyone, monotonic ms.
    pub contact: u64,
}

impl Lease {
    /// The lease after this candidate's tick: its own to write, or `None` when another VM holds it.
    pub fn claim(current: Option<Self>, me: Candidate, now: u64) -> Option<Self> {
        let mine = Self { holder: me, expires: now + TTL, contact: current.map_or(now, |c| c.contact) };
        let Some(Self { holder, expires, .. }) = current else { return Some(mine) };
        // A later root of one VM follows an earlier one, and a different text is a different configuration; only the
        // VMs of one configuration have to be told from another with the same text by time.
        let follows = match (me.owner.0 == holder.owner.0, me.config == holder.config) {
            (true, _) => me.owner.1 > holder.owner.1,
            (false, false) => me.configured > holder.configured,
            (false, true) => me.configured > holder.configured + NEWER,
        };
        let newest = me.worker <= holder.worker && follows;
        let preferred = !me.worker && holder.worker && (follows || me.config == holder.config);
        (holder.owner == me.owner || now >= expires || newest || preferred).then_some(mine)
    }
}

impl Lease {
    /// Bytes for shared data.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        let Candidate { owner, worker, configured, config } = self.holder;
        let fields = [owner.0, owner.1.into(), worker.into(), configured, config, self.expires, self.contact];
        to.record(|w| fields.into_iter().for_each(|field| w.number(field)));
        to.finish()
    }

    /// From bytes of shared data.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = Reader::new(bytes).record()?;
        if from.is_empty() {
            return Err(Damaged);
        }
        let owner = (from.number()?, from.small()?);
        let holder = Candidate { owner, worker: from.flag()?, configured: from.number()?, config: from.number()? };
        Ok(Self { holder, expires: from.number()?, contact: from.number()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(owner: u64, worker: bool, configured: u64, config: u64) -> Candidate {
        Candidate { owner: (owner, 1), worker, configured, config }
    }

    fn held(holder: Candidate) -> Option<Lease> {
        Some(Lease { holder, expires: 10_000 + TTL, contact: 9_000 })
    }

    fn takes(holder: Candidate, me: Candidate, now: u64) -> bool {
        Lease::claim(held(holder), me, now).is_some()
    }

    #[test]
    fn nobody_holds_it_so_the_first_tick_takes_it() {
        let lease = Lease::claim(None, vm(1, false, 0, 7), 50).expect("taken");
        assert_eq!((lease.expires, lease.contact), (50 + TTL, 50));
    }

    #[test]
    fn a_lease_comes_back_as_it_was_written_and_a_seeded_key_is_no_lease() {
        let lease = held(vm(u64::MAX, true, 77, 1 << 63)).expect("held");
        assert_eq!(Lease::decode(&lease.encode()), Ok(lease));
        assert!(Lease::decode(b"").is_err());
    }

    #[test]
    fn the_holder_renews_and_keeps_the_last_contact() {
        let me = vm(1, true, 0, 7);
        let lease = Lease::claim(held(me), me, 11_000).expect("renewed");
        assert_eq!((lease.expires, lease.contact), (11_000 + TTL, 9_000));
    }

    #[test]
    fn another_vm_takes_over_only_after_the_time_to_live() {
        let (holder, me) = (vm(1, false, 0, 7), vm(2, true, 10, 7));
        assert!(!takes(holder, me, 10_000 + TTL - 1));
        assert!(takes(holder, me, 10_000 + TTL));
    }

    #[test]
    fn the_main_thread_takes_it_from_a_worker_at_once_even_if_configured_earlier() {
        assert!(takes(vm(1, true, 500, 7), vm(2, false, 0, 7), 10_000));
        assert!(takes(vm(1, true, 9_000, 7), vm(2, false, 0, 7), 10_000));
    }

    #[test]
    fn the_newest_configuration_takes_it_from_its_like() {
        assert!(takes(vm(1, false, 0, 7), vm(2, false, 5_000, 8), 10_000));
        assert!(takes(vm(1, true, 0, 7), vm(2, true, 5_000, 8), 10_000));
        assert!(!takes(vm(1, false, 0, 7), vm(2, true, 5_000, 8), 10_000), "a worker leaves it to its main thread");
    }

    #[test]
    fn configurations_that_follow_each_other_within_moments_are_told_apart() {
        assert!(takes(vm(1, false, 0, 7), vm(2, false, 1, 8), 10_000), "by their text");
        assert!(!takes(vm(2, false, 1, 8), vm(1, false, 0, 7), 10_000));
        let (old, mut new) = (vm(1, false, 0, 7), vm(1, false, 0, 7));
        new.owner.1 += 1;
        assert!(takes(old, new, 10_000) && !takes(new, old, 10_000), "by their order in one VM");
        assert!(!takes(vm(1, false, 0, 7), vm(2, false, 900, 7), 10_000), "two VMs of one configuration");
        assert!(!takes(vm(2, true, 1, 8), vm(1, false, 0, 7), 10_000), "not even by the main thread of the old one");
    }

    #[test]
    fn an_old_configuration_in_its_drain_never_takes_it_back() {
        assert!(!takes(vm(1, true, 9_000, 8), vm(2, false, 0, 7), 10_000));
        assert!(!takes(vm(1, false, 9_000, 8), vm(2, false, 0, 7), 10_000));
    }

    #[test]
    fn two_candidates_never_take_it_from_each_other_for_ever() {
        let all: Vec<_> = [0, 600, 1_200, 9_000]
            .into_iter()
            .flat_map(|at| {
                [(false, 7), (true, 7), (false, 8), (true, 8)].map(|(w, c)| vm(at + u64::from(w) + c, w, at, c))
            })
            .collect();
        for a in &all {
            for b in all.iter().filter(|b| b.owner != a.owner) {
                assert!(!(takes(*a, *b, 10_000) && takes(*b, *a, 10_000)), "{a:?} {b:?}");
            }
        }
    }
}
