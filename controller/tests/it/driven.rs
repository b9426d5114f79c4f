//! Weights that a rollout holds in place of those in the user's file.

use crate::support::{Bench, yaml};
use sluicegate::store::Driven;
use std::collections::BTreeSet;

const ORDER: [(&str, u32); 3] = [("canary", 0), ("main", 1), ("baseline", 0)];

fn bench() -> Bench {
    let bench = Bench::new(&[("a.yaml", &yaml("app", &ORDER, ""))]);
    assert_eq!(bench.told.take(), ["default/app@1: canary=0 main=1 baseline=0"]);
    bench
}

fn held(by: &str, weights: &[(&str, u32)]) -> Option<Driven> {
    let weights = weights.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect();
    Some(Driven { by: by.to_owned(), weights })
}

fn drive(bench: &mut Bench, driven: Option<Driven>) -> Result<u64, String> {
    let (by, weights) = match driven {
        Some(Driven { by, weights }) => (by, Some(weights)),
        None => ("CanaryDeploy default/x".to_owned(), None),
    };
    let now = crate::support::at(0);
    bench.store().drive("default/app", &by, weights, &BTreeSet::new(), now).map_err(|why| why.to_string())
}

#[test]
fn held_weights_are_in_force_and_the_file_is_not_touched() {
    let mut bench = bench();
    let before = bench.read("a.yaml");
    let driven = held("CanaryDeploy default/x", &[("canary", 10), ("main", 80), ("baseline", 10)]);
    assert_eq!(drive(&mut bench, driven.clone()), Ok(2));
    assert_eq!(bench.told.take(), ["default/app@2: canary=10 main=80 baseline=10"]);
    assert_eq!(drive(&mut bench, driven), Ok(2), "repeating it changes nothing");
    assert_eq!((bench.look(), bench.read("a.yaml")), (vec![], before));
}

#[test]
fn held_weights_survive_a_restart_and_an_edit_of_the_file() {
    let mut bench = bench();
    drive(&mut bench, held("CanaryDeploy default/x", &[("canary", 25), ("main", 50), ("baseline", 25)])).unwrap();
    bench.stop();
    bench.told.take();
    bench.start();
    assert_eq!(bench.told.take(), ["default/app@2: canary=25 main=50 baseline=25"]);
    // Other weights in the file change nothing now; another host does, and the weights stay held.
    bench.write("a.yaml", &yaml("app", &[("canary", 0), ("main", 7), ("baseline", 0)], ""));
    assert_eq!(bench.look(), [""; 0]);
    bench.write("a.yaml", &yaml("app", &ORDER, "  hosts: [a.test]\n"));
    assert_eq!(bench.look(), ["default/app@3: canary=25 main=50 baseline=25"]);
    assert_eq!(drive(&mut bench, None), Ok(4));
    assert_eq!(bench.told.take(), ["default/app@4: canary=0 main=1 baseline=0"]);
}

#[test]
fn weights_that_are_held_can_be_set_by_nobody_else() {
    let mut bench = bench();
    drive(&mut bench, held("CanaryDeploy default/x", &[("main", 1)])).unwrap();
    let why = bench.set("default/app", &[("canary", 5)]).unwrap_err();
    assert!(why.contains("held by CanaryDeploy default/x"), "{why}");
    let why = drive(&mut bench, held("CanaryDeploy default/y", &[("main", 1)])).unwrap_err();
    assert!(why.contains("held by CanaryDeploy default/x"), "{why}");
    let now = crate::support::at(0);
    bench.store().drive("default/app", "CanaryDeploy default/y", None, &BTreeSet::new(), now).unwrap();
    assert!(bench.set("default/app", &[("canary", 5)]).is_err(), "somebody else let it go");
    drive(&mut bench, None).unwrap();
    assert!(bench.set("default/app", &[("canary", 5)]).is_ok());
}

#[test]
fn a_split_that_would_move_users_across_is_not_driven() {
    for (subsets, more) in [
        (vec![("main", 1), ("canary", 0), ("baseline", 0)], ""),
        (vec![("canary", 0), ("main", 1)], ""),
        (vec![("v1", 1), ("v2", 0)], ""),
        (ORDER.to_vec(), "  default: baseline\n"),
    ] {
        let mut bench = Bench::new(&[("a.yaml", &yaml("app", &subsets, more))]);
        bench.told.take();
        let weights = [("canary", 10), ("main", 80), ("baseline", 10)];
        let why = drive(&mut bench, held("CanaryDeploy default/x", &weights)).unwrap_err();
        assert!(why.contains("must list the subsets canary, main and baseline"), "{why}");
        assert_eq!(bench.told.take(), [""; 0]);
    }
}

#[test]
fn a_judgment_of_nothing_is_refused_and_says_what_there_is() {
    let document = |kind: &str, spec: &str| {
        format!("apiVersion: sluicegate.dev/v1alpha1\nkind: {kind}\nmetadata: {{ name: x }}\nspec: {spec}\n")
    };
    let deploy = document("CanaryDeploy", "{ version: v2, splits: [app], steps: [50] }");
    let judgment =
        |rollout: &str| document("Judgment", &format!("{{ rollout: {rollout}, decision: continue, by: ada }}"));
    for (rollout, complaints) in [("x", 0), ("y", 1)] {
        let files = [("a.yaml", yaml("app", &ORDER, "")), ("x.yaml", deploy.clone()), ("j.yaml", judgment(rollout))];
        let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let told = Bench::new(&files).told.complaints();
        assert_eq!(told.len(), complaints, "{told:?}");
        assert!(told.iter().all(|c| c.starts_with("j.yaml:1:1") && c.contains("\"default/x\"")), "{told:?}");
    }
}

#[test]
fn a_file_that_no_longer_fits_leaves_the_held_weights_in_force_and_says_so() {
    let mut bench = bench();
    drive(&mut bench, held("CanaryDeploy default/x", &[("canary", 1), ("main", 98), ("baseline", 1)])).unwrap();
    bench.told.take();
    bench.write("a.yaml", &yaml("app", &[("main", 1), ("canary", 0), ("baseline", 0)], ""));
    assert_eq!(bench.look(), [""; 0]);
    assert!(bench.told.complaints().iter().any(|c| c.contains("in this order")), "{:?}", bench.told.complaints());
}
