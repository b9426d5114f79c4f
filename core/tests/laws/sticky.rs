//! Promise 5: raising a weight moves nobody off, lowering it moves only as many as needed, canary and baseline users
//! never swap, and another salt picks other users.

use crate::{any, cases};
use proptest::{collection::vec, prelude::*};
use sluicegate_core::{key, split::Split};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const CANARY: usize = 0;
const MAIN: usize = 1;
const BASELINE: usize = 2;

/// A step of a rollout in the order rollouts list: canary n, main 100 − 2n, baseline n, all times a factor.
fn step(n: u32, factor: u32) -> Split {
    any::split(&[n * factor, (100 - 2 * n) * factor, n * factor])
}

/// Users wherever it is interesting: by chance, and on both sides of every edge the steps have.
fn users(steps: &[Split], mut points: Vec<u64>) -> Vec<u64> {
    for split in steps {
        for fraction in [0, u64::MAX] {
            points.extend((0..3).filter_map(|i| split.point_in(i, fraction)));
        }
    }
    points
}

/// How many points a subset has, exactly.
fn size(split: &Split, subset: usize) -> u128 {
    let edge = |upto: u64| (u128::from(upto) << 64).div_ceil(u128::from(split.total));
    let s = &split.subsets[subset];
    edge(s.upto) - edge(s.upto - u64::from(s.weight))
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn raising_a_weight_moves_nobody_off_canary_or_baseline(
        mut plan in vec((0..=50_u32, 1..=1_000_u32), 2..8),
        points in vec(any::<u64>(), 50),
    ) {
        plan.sort();
        let steps: Vec<Split> = plan.iter().map(|(n, factor)| step(*n, *factor)).collect();
        for user in users(&steps, points) {
            for pair in steps.windows(2) {
                let (before, after) = (pair[0].at(user), pair[1].at(user));
                prop_assert!(before == after || before == MAIN, "moved from {} to {}", before, after);
            }
        }
    }

    #[test]
    fn lowering_a_weight_moves_only_the_users_it_has_to(
        mut plan in vec((0..=50_u32, 1..=1_000_u32), 2..8),
        points in vec(any::<u64>(), 50),
    ) {
        plan.sort_by_key(|step| std::cmp::Reverse(*step));
        let steps: Vec<Split> = plan.iter().map(|(n, factor)| step(*n, *factor)).collect();
        for user in users(&steps, points) {
            for pair in steps.windows(2) {
                let (before, after) = (pair[0].at(user), pair[1].at(user));
                // Only into main, and so exactly as many as the smaller share no longer holds.
                prop_assert!(before == after || after == MAIN, "moved from {} to {}", before, after);
            }
        }
        for pair in steps.windows(2) {
            let grown = size(&pair[1], MAIN) - size(&pair[0], MAIN);
            let left = |i| size(&pair[0], i) - size(&pair[1], i);
            prop_assert_eq!(grown, left(CANARY) + left(BASELINE));
        }
    }

    #[test]
    fn canary_and_baseline_users_never_swap_whatever_the_plan(
        plan in vec((0..=50_u32, 1..=1_000_u32), 2..10),
        points in vec(any::<u64>(), 50),
    ) {
        let steps: Vec<Split> = plan.iter().map(|(n, factor)| step(*n, *factor)).collect();
        for user in users(&steps, points) {
            let seen = |subset| steps.iter().any(|split| split.at(user) == subset);
            prop_assert!(!(seen(CANARY) && seen(BASELINE)), "user {} was both", user);
        }
    }

    #[test]
    fn raising_one_of_two_moves_nobody_off_it_in_either_order(
        a in 0..=1_000_u32, b in 0..=1_000_u32, points in vec(any::<u64>(), 20),
    ) {
        let (low, high) = (a.min(b), a.max(b));
        for user in points {
            let first = |n: u32| any::split(&[n, 1_000 - n]).at(user) == 0;
            let second = |n: u32| any::split(&[1_000 - n, n]).at(user) == 1;
            prop_assert!(!first(low) || first(high));
            prop_assert!(!second(low) || second(high));
        }
    }

    #[test]
    fn a_user_stays_as_long_as_the_share_does(key in vec(any::<u8>(), 0..40), salt in 0..100_u8, n in 1..=50_u32) {
        let point = key::point(&key, key::seed(&format!("salt-{salt}")));
        let now = step(n, 1).at(point);
        prop_assert!((2..20).all(|factor| step(n, factor).at(point) == now));
    }
}

/// Who of 10,000 users is canary at 10 % with this salt.
fn canaries(salt: &str) -> Vec<u32> {
    let (split, seed) = (step(10, 1), key::seed(salt));
    (0..10_000).filter(|user| split.at(key::point(format!("user-{user}").as_bytes(), seed)) == CANARY).collect()
}

#[test]
fn every_salt_finds_its_share_of_users() {
    for salt in 0..50 {
        let found = canaries(&format!("salt-{salt}")).len();
        assert!((850..=1_150).contains(&found), "salt {salt}: {found} of 10000 (5 sigma is 150)");
    }
}

#[test]
fn another_salt_picks_other_users() {
    let first = canaries("default/checkout");
    for salt in 0..50 {
        let second = canaries(&format!("salt-{salt}"));
        let both = second.iter().filter(|user| first.binary_search(user).is_ok()).count();
        assert!((50..=150).contains(&both), "salt {salt}: {both} users are canary under both; 100 by chance");
    }
}

#[test]
fn issued_ids_also_land_elsewhere_under_another_salt() {
    let (ours, other) = (key::seed("ours"), key::seed("other"));
    let split = step(10, 1);
    let canaries = (0..2_000_u64).filter_map(|i| split.point_in(CANARY, i << 53));
    let both = canaries.filter(|point| split.at(key::point(&key::issue(*point, ours), other)) == CANARY).count();
    assert!((130..=270).contains(&both), "{both} of 2000 canary users are canary of the other too; 200 by chance");
}
