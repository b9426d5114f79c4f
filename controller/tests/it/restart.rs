//! Generations across restarts, crashes and lost or foreign states.

use crate::support::{Bench, Recorder, at, backend, open, yaml};
use std::fs;

#[test]
fn generations_survive_a_restart() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.write("a.yaml", &backend(80, 20));
    bench.look();
    bench.stop();
    bench.told.take();
    bench.start();
    assert_eq!(bench.told.take(), ["default/backend@2: v1=80 v2=20"]);
}

#[test]
fn what_changed_while_down_is_the_next_generation() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10)), ("b.yaml", &yaml("other", &[("x", 1)], ""))]);
    bench.stop();
    bench.write("a.yaml", &backend(80, 20));
    fs::remove_file(bench.path("b.yaml")).unwrap();
    bench.told.take();
    bench.start();
    // First what was in force, so that nobody is without, then what is new.
    assert_eq!(
        bench.told.take(),
        [
            "default/backend@1: v1=90 v2=10",
            "default/other@1: x=1",
            "default/backend@2: v1=80 v2=20",
            "default/other@2: gone"
        ]
    );
    bench.stop();
    bench.start();
    assert_eq!(bench.told.take(), ["default/backend@2: v1=80 v2=20", "default/other@2: gone"]);
}

#[test]
fn a_mistake_made_while_down_leaves_the_last_good_version_in_force() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.stop();
    bench.told.take();
    for broken in ["", "spec: [", &backend(0, 0)] {
        bench.write("a.yaml", broken);
        bench.start();
        assert_eq!(bench.told.take(), ["default/backend@1: v1=90 v2=10"]);
        assert!(!bench.told.complaints().is_empty());
        bench.stop();
    }
}

#[test]
fn a_crash_between_the_state_and_the_file_goes_back_to_nothing_older() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    assert_eq!(bench.set("default/backend", &[("v1", 1)]), Ok(2));
    bench.stop();
    // As if the process had died before the file was renamed: the state knows generation 2, the file says 90/10.
    bench.write("a.yaml", &backend(90, 10));
    bench.told.take();
    bench.start();
    assert_eq!(bench.told.take().last().unwrap(), "default/backend@3: v1=90 v2=10");
}

#[test]
fn a_crash_before_the_publication_publishes_the_same_generation_again() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.write("a.yaml", &backend(80, 20));
    // Dies right after the state is safe: nobody has heard of generation 2.
    bench.look();
    bench.told.take();
    bench.stop();
    bench.start();
    assert_eq!(bench.told.take(), ["default/backend@2: v1=80 v2=20"]);
}

#[test]
fn half_a_state_file_is_never_read() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.stop();
    let state = bench.path(".sluicegate/generations.json");
    // A crash in mid-write leaves the temporary file, not the real one.
    fs::write(bench.path(".sluicegate/.generations.json.sluicegate-tmp"), "{\"ver").unwrap();
    bench.told.take();
    bench.start();
    assert_eq!(bench.told.take(), ["default/backend@1: v1=90 v2=10"]);
    bench.stop();
    for damaged in ["", "{", "{\"version\":2,\"splits\":{}}"] {
        fs::write(&state, damaged).unwrap();
        let why = open(bench.dir.path(), &Recorder::default(), at(0)).unwrap_err();
        assert!(why.contains("is damaged") && why.contains("delete it to begin at generation 1"), "{why}");
    }
}

#[test]
fn two_controllers_do_not_share_a_state() {
    let bench = Bench::new(&[]);
    let why = open(bench.dir.path(), &Recorder::default(), at(0)).unwrap_err();
    assert!(why.contains("in use by another controller"), "{why}");
}

#[test]
fn a_folder_that_is_not_there_is_said_at_once() {
    let why = open("/nowhere/at/all".as_ref(), &Recorder::default(), at(0)).unwrap_err();
    assert!(why.contains("cannot read the folder /nowhere/at/all") && why.contains("--dir"), "{why}");
}

#[test]
fn after_a_lost_state_the_next_deliberate_change_takes_over() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.stop();
    fs::remove_dir_all(bench.path(".sluicegate")).unwrap();
    bench.told.take();
    bench.told.set_rival(9);
    bench.start();
    assert_eq!(bench.told.take(), ["default/backend@1: v1=90 v2=10"], "a mere start takes nothing over");
    assert_eq!(bench.look(), [""; 0]);
    bench.write("a.yaml", &backend(80, 20));
    assert_eq!(bench.look(), ["default/backend@10: v1=80 v2=20"]);
}

#[test]
fn setting_the_same_weights_takes_over_from_a_rival_but_changes_nothing_otherwise() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    assert_eq!(bench.set("default/backend", &[("v1", 90)]), Ok(1));
    assert_eq!(bench.told.take(), [""; 0]);
    bench.told.set_rival(5);
    assert_eq!(bench.set("default/backend", &[("v1", 90)]), Ok(6));
    assert_eq!(bench.told.take(), ["default/backend@6: v1=90 v2=10"]);
}
