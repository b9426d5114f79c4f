//! Bytes in shared data: what was written is read back, and damage never panics.

use crate::{any, cases};
use proptest::{collection::vec, prelude::*};
use sluicegate_core::{codec::Damaged, pick::Even, snapshot::Snapshot, table::Table, wire::SyncAnswer};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Inserted into damaged bytes: lengths that are not there, and text that looks like some.
const WORDS: &[&str] = &["\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}", "n/s1", "s0", "\u{1}\u{1}\u{1}"];

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (vec(any::answer(), 0..4), any::<bool>()).prop_map(|(answers, lost)| {
        let mut it = Snapshot { lost, ..Snapshot::default() };
        answers.into_iter().for_each(|answer| _ = it.merge(answer));
        it
    })
}

/// Does with a snapshot of unknown origin all that a worker and the poller would do.
fn put_to_use(mut snapshot: Snapshot, answer: SyncAnswer) -> Result<(), TestCaseError> {
    snapshot.entries.values().for_each(|entry| _ = (entry.generation(), entry.digest()));
    snapshot.merge(answer);
    let bytes = snapshot.encode();
    prop_assert!(Snapshot::decode(&bytes).is_ok_and(|read| read == snapshot));
    let (table, _) = Table::build(snapshot);
    for split in table.splits() {
        let mut even = Even::new(7);
        for point in [0, 1, u64::MAX / 3, u64::MAX] {
            prop_assert!(split.subsets[split.at(point)].weight > 0);
            let choice = even.next_choice(split);
            prop_assert_eq!(split.at(choice.point), choice.subset);
        }
        table.by_authority(split.hosts.first().map_or(b"x", |h| h.as_bytes()));
    }
    Ok(())
}

#[test]
fn bytes_of_another_layout_are_refused() {
    let good = Snapshot::default().encode();
    assert_eq!(Snapshot::decode(&good), Ok(Snapshot::default()));
    for bytes in [&[][..], &[0], &[2], &[0xFF], b"{\"cursor\":null}"] {
        assert_eq!(Snapshot::decode(bytes), Err(Damaged), "{bytes:?}");
    }
    for cut in 1..good.len() {
        assert_eq!(Snapshot::decode(&good[..cut]), Err(Damaged), "cut at {cut}");
    }
}

#[test]
fn a_length_that_is_not_there_allocates_nothing_large() {
    // Layout, no cursor, not lost, then 2^35 entries; a name of 2^63 bytes.
    let entries = [0x81, 0xA6, 0x01, 8, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    let name = [0x81, 0xA6, 0x01, 14, 0, 0, 1, 12, 1, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    for bytes in [&entries[..], &name] {
        assert!(matches!(Snapshot::decode(bytes), Err(Damaged)));
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn what_was_written_is_read_back(snapshot in snapshot()) {
        let bytes = snapshot.encode();
        prop_assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
    }

    #[test]
    fn a_digest_is_of_the_content_and_not_of_the_generation(
        spec in any::any_spec(), generation in any::<u64>(), other in any::any_spec(),
    ) {
        let mut same = spec.clone();
        same.generation = generation;
        prop_assert_eq!(same.digest(), spec.digest());
        same = other;
        same.generation = spec.generation;
        prop_assert_eq!(same.digest() == spec.digest(), same == spec);
    }

    #[test]
    fn a_cut_snapshot_is_never_taken_for_a_whole_one(snapshot in snapshot()) {
        let bytes = snapshot.encode();
        prop_assert!((0..bytes.len()).all(|cut| Snapshot::decode(&bytes[..cut]).is_err()));
    }
}

proptest! {
    // With 100 damages for each snapshot: 10^5 mutants.
    #![proptest_config(cases(1_000))]

    #[test]
    fn damaged_bytes_are_refused_or_read_as_something_usable(
        snapshot in snapshot(),
        damages in vec(any::damage(WORDS), 100),
        answer in any::answer(),
    ) {
        let bytes = snapshot.encode();
        for damage in damages {
            if let Ok(read) = Snapshot::decode(&any::damaged(&bytes, &damage)) {
                put_to_use(read, answer.clone())?;
            }
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(mut inputs in vec(vec(any::<u8>(), 0..60), 100)) {
        for bytes in &mut inputs {
            drop(Snapshot::decode(bytes));
            bytes.insert(0, 1);
            drop(Snapshot::decode(bytes));
        }
    }
}
