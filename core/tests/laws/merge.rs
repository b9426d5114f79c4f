//! Promise 2: whatever order answers arrive in, however often, from whichever controller, no split goes backwards.

use crate::{any, cases};
use proptest::{collection::vec, prelude::*, sample::Index};
use sluicegate_core::{
    snapshot::{Entry, Snapshot},
    spec::SplitSpec,
    table::Table,
    wire::{Cursor, PROTOCOL, Removed, SyncAnswer},
};
use std::collections::BTreeMap;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

fn empty(instance: u64, seq: u64) -> SyncAnswer {
    let cursor = Cursor { instance, seq };
    SyncAnswer { sluicegate: PROTOCOL, cursor, splits: Vec::new(), removed: Vec::new(), report: 1000 }
}

fn live(name: &str, generation: u64, weight: u32) -> SyncAnswer {
    let spec = SplitSpec { name: name.to_owned(), generation, ..any::spec(&[weight, 1]) };
    SyncAnswer { splits: vec![spec], ..empty(1, generation) }
}

fn gone(name: &str, generation: u64) -> SyncAnswer {
    SyncAnswer { removed: vec![Removed { name: name.to_owned(), generation }], ..empty(1, generation) }
}

fn merged(answers: impl IntoIterator<Item = SyncAnswer>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    answers.into_iter().for_each(|answer| _ = snapshot.merge(answer));
    snapshot
}

fn generations(snapshot: &Snapshot) -> BTreeMap<String, u64> {
    snapshot.entries.iter().map(|(name, entry)| (name.clone(), entry.generation())).collect()
}

/// An answer whose content follows from name and generation, as from one true controller. Every fifth generation is a
/// deletion.
fn true_answer() -> impl Strategy<Value = SyncAnswer> {
    vec((0..5_u32, 1..30_u64), 0..5).prop_map(|changes| {
        let mut answer = empty(1, changes.iter().map(|(_, g)| *g).sum());
        for (split, generation) in changes {
            let name = format!("n/s{split}");
            let one =
                if generation % 5 == 0 { gone(&name, generation) } else { live(&name, generation, generation as u32) };
            answer.splits.extend(one.splits);
            answer.removed.extend(one.removed);
        }
        answer
    })
}

/// The same answers, each at least once, in another order.
fn shuffled(answers: &[SyncAnswer], order: &[(Index, Index)]) -> Vec<SyncAnswer> {
    let mut all = answers.to_vec();
    all.extend(order.iter().filter(|_| !answers.is_empty()).map(|(which, _)| which.get(answers).clone()));
    for (a, b) in order.iter().filter(|_| !answers.is_empty()) {
        let (a, b) = (a.index(all.len()), b.index(all.len()));
        all.swap(a, b);
    }
    all
}

#[test]
fn an_equal_or_older_generation_changes_nothing() {
    let mut snapshot = merged([live("n/s", 5, 50)]);
    for (answer, changed) in [(live("n/s", 5, 1), false), (live("n/s", 4, 1), false), (live("n/s", 6, 60), true)] {
        let before = snapshot.entries.clone();
        assert_eq!(snapshot.merge(answer), changed);
        assert_eq!(snapshot.entries != before, changed);
    }
    assert!(matches!(snapshot.entries.get("n/s"), Some(Entry::Live(s)) if s.subsets[0].weight == 60));
}

#[test]
fn a_deleted_split_stays_deleted_until_it_is_made_anew() {
    let mut snapshot = merged([live("n/s", 5, 50), gone("n/s", 6)]);
    assert!(!snapshot.merge(live("n/s", 5, 50)) && !snapshot.merge(live("n/s", 6, 50)));
    assert_eq!(snapshot.entries.get("n/s"), Some(&Entry::Gone(6)));
    assert!(Table::build(snapshot.clone()).0.splits().is_empty());
    assert!(!snapshot.merge(gone("n/s", 5)) && snapshot.merge(live("n/s", 7, 50)));
    assert_eq!(Table::build(snapshot).0.by_name("n/s"), Some(0));
    // The memory outlives the bytes, and comes before a split the proxy has never seen.
    let early = merged([gone("n/new", 3)]);
    let mut early = Snapshot::decode(&early.encode()).unwrap();
    assert!(!early.merge(live("n/new", 2, 1)));
}

#[test]
fn an_answer_without_news_changes_nothing_but_the_cursor() {
    let mut snapshot = merged([live("n/s", 5, 50)]);
    assert!(!snapshot.merge(empty(1, 9)));
    assert_eq!(snapshot.cursor, Some(Cursor { instance: 1, seq: 9 }));
}

#[test]
fn a_cursor_goes_forward_within_one_controller_and_follows_to_another() {
    let mut snapshot = merged([empty(1, 9), empty(1, 4)]);
    assert_eq!(snapshot.cursor, Some(Cursor { instance: 1, seq: 9 }));
    snapshot.merge(empty(2, 3));
    assert_eq!(snapshot.cursor, Some(Cursor { instance: 2, seq: 3 }));
    snapshot.merge(empty(2, 4));
    assert_eq!(snapshot.cursor, Some(Cursor { instance: 2, seq: 4 }));
}

#[test]
fn being_lost_is_not_for_answers_to_say() {
    let mut snapshot = Snapshot { lost: true, ..Snapshot::default() };
    snapshot.merge(live("n/s", 1, 1));
    assert!(snapshot.lost);
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn no_split_ever_goes_backwards(answers in vec(any::answer(), 1..10)) {
        let mut snapshot = Snapshot::default();
        for answer in answers {
            let (before, entries) = (generations(&snapshot), snapshot.entries.clone());
            let changed = snapshot.merge(answer);
            let after = generations(&snapshot);
            prop_assert!(before.iter().all(|(name, generation)| after[name] >= *generation));
            prop_assert_eq!(changed, snapshot.entries != entries, "says whether anything changed");
            // Content moves only with its generation.
            prop_assert!(entries.iter().all(|(n, e)| after[n] > e.generation() || snapshot.entries.get(n) == Some(e)));
        }
    }

    #[test]
    fn final_generations_are_the_highest_of_all_answers(
        answers in vec(any::answer(), 0..8),
        order in vec(any::<(Index, Index)>(), 0..30),
    ) {
        let mut highest = BTreeMap::new();
        for answer in &answers {
            let live = answer.splits.iter().map(|s| (&s.name, s.generation));
            for (name, generation) in live.chain(answer.removed.iter().map(|r| (&r.name, r.generation))) {
                let known = highest.entry(name.clone()).or_insert(generation);
                *known = generation.max(*known);
            }
        }
        prop_assert_eq!(&generations(&merged(answers.clone())), &highest);
        prop_assert_eq!(&generations(&merged(shuffled(&answers, &order))), &highest);
    }

    #[test]
    fn answers_of_one_truth_give_one_snapshot_in_any_order(
        answers in vec(true_answer(), 0..8),
        order in vec(any::<(Index, Index)>(), 0..30),
    ) {
        prop_assert_eq!(merged(answers.clone()), merged(shuffled(&answers, &order)));
    }

    #[test]
    fn merging_the_same_again_changes_nothing(answers in vec(any::answer(), 1..6)) {
        let mut snapshot = merged(answers.clone());
        let entries = snapshot.entries.clone();
        prop_assert!(answers.into_iter().all(|answer| !snapshot.merge(answer)));
        prop_assert_eq!(snapshot.entries, entries);
    }
}
