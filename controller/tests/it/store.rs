//! The folder store on a real folder.

use crate::support::{Bench, backend, yaml};
use std::{fs, os::unix::fs::symlink};

#[test]
fn a_changed_file_gives_the_next_generation_and_an_unchanged_one_gives_none() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    assert_eq!(bench.told.take(), ["default/backend@1: v1=90 v2=10"]);
    assert_eq!(bench.look(), [""; 0]);
    bench.write("a.yaml", &format!("# only a comment\n{}", backend(90, 10)));
    assert_eq!(bench.look(), [""; 0]);
    bench.write("a.yaml", &backend(50, 50));
    assert_eq!(bench.look(), ["default/backend@2: v1=50 v2=50"]);
}

#[test]
fn a_mistake_names_its_place_and_leaves_the_last_good_version_in_force() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    for (text, complaint) in [
        (
            backend(90, 10).replace("weight: 10", "wieght: 10"),
            r#"a.yaml:8:19: unknown field "wieght", did you mean "weight"?"#,
        ),
        (backend(90, 10).replace("weight: 10", "weight: -1"), "a.yaml:8:27: "),
        (backend(0, 0), "a.yaml:7:5: all weights are 0; give at least one subset a weight above 0"),
        (backend(90, 10)[..100].to_owned(), "a.yaml:"),
        ("apiVersion: [".to_owned(), "a.yaml:1:13: "),
    ] {
        bench.write("a.yaml", &text);
        assert_eq!(bench.look(), [""; 0], "{text}");
        let told = bench.told.complaints();
        assert!(told.iter().any(|c| c.starts_with(complaint)), "{complaint:?} in {told:?}");
    }
    bench.write("a.yaml", &backend(90, 10));
    assert_eq!(bench.look(), [""; 0]);
    assert_eq!(bench.told.complaints(), [""; 0]);
}

#[test]
fn one_bad_document_does_not_take_the_others_down() {
    let bad = yaml("bad", &[("v1", 1), ("v1", 2)], "");
    let mut bench =
        Bench::new(&[("a.yaml", &format!("{}---\n{bad}---\n{}", backend(1, 1), yaml("c", &[("x", 1)], "")))]);
    assert_eq!(bench.told.take(), ["default/backend@1: v1=1 v2=1", "default/c@1: x=1"]);
    assert_eq!(bench.told.complaints(), [r#"a.yaml:17:15: subset "v1" is listed twice"#]);
    // The broken one may be anything, so nothing of this file is deleted while it is there.
    bench.write("a.yaml", &format!("{}---\nmetadata: [", backend(1, 1)));
    assert_eq!(bench.look_after(1000), [""; 0]);
    bench.write("a.yaml", &backend(1, 1));
    assert_eq!(bench.look(), ["default/c@2: gone"]);
}

#[test]
fn an_emptied_file_deletes_nothing() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10)), ("empty.yaml", "")]);
    bench.told.take();
    assert_eq!(bench.told.complaints(), [""; 0], "a file that was always empty is no mistake");
    for text in ["", "\n\n", "# nothing\n", "---\n"] {
        bench.write("a.yaml", text);
        assert_eq!(bench.look_after(1000), [""; 0]);
        assert!(bench.told.complaints()[0].starts_with("a.yaml: the file is empty; its splits stay in force"));
    }
}

#[test]
fn a_file_that_is_away_for_a_moment_deletes_nothing() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    fs::rename(bench.path("a.yaml"), bench.path("a.yaml~")).unwrap();
    assert_eq!(bench.look(), [""; 0]);
    assert_eq!(bench.look_after(200), [""; 0]);
    bench.write("a.yaml", &backend(80, 20));
    assert_eq!(bench.look_after(200), ["default/backend@2: v1=80 v2=20"]);
}

#[test]
fn a_deletion_is_a_generation_and_a_new_beginning_goes_above_it() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    fs::remove_file(bench.path("a.yaml")).unwrap();
    assert_eq!(bench.look(), [""; 0]);
    assert_eq!(bench.look_after(300), ["default/backend@2: gone"]);
    assert_eq!(bench.look_after(300), [""; 0]);
    bench.write("b.yaml", &backend(90, 10));
    assert_eq!(bench.look(), ["default/backend@3: v1=90 v2=10"]);
}

#[test]
fn a_split_that_moves_to_another_file_is_not_changed() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    fs::rename(bench.path("a.yaml"), bench.path("b.yaml")).unwrap();
    assert_eq!(bench.look(), [""; 0]);
    assert_eq!(bench.look_after(300), [""; 0]);
    assert_eq!(bench.set("default/backend", &[("v1", 1)]), Ok(2));
    assert!(bench.read("b.yaml").contains("weight: 1 }"));
}

#[test]
fn of_two_splits_with_one_name_the_one_in_force_stays() {
    let mut bench = Bench::new(&[("b.yaml", &backend(90, 10))]);
    bench.told.take();
    bench.write("a.yaml", &backend(1, 1));
    assert_eq!(bench.look(), [""; 0]);
    let complaint = "a.yaml:1:1: there is already a split default/backend in b.yaml:1, which is in force; give this one \
                     another name or delete it";
    assert_eq!(bench.told.complaints(), [complaint]);
    // A restart does not change who was first.
    bench.stop();
    bench.start();
    assert_eq!(bench.told.take(), ["default/backend@1: v1=90 v2=10"]);
    fs::remove_file(bench.path("b.yaml")).unwrap();
    bench.look();
    assert_eq!(bench.look_after(300), ["default/backend@2: v1=1 v2=1"]);
    assert_eq!(bench.told.complaints(), [""; 0]);
}

#[test]
fn a_host_belongs_to_the_split_that_had_it_first() {
    let with_host = |name, weight, host| yaml(name, &[("v1", weight)], &format!("  hosts: [{host}]\n"));
    let mut bench = Bench::new(&[("z.yaml", &with_host("z", 1, "x.test"))]);
    bench.write("a.yaml", &with_host("a", 1, "x.test"));
    bench.told.take();
    assert_eq!(bench.look(), [""; 0]);
    assert_eq!(
        bench.told.complaints(),
        [r#"a.yaml:1:1: host "x.test" already belongs to split default/z; a host has one split"#]
    );
    // Both move at once: the old owner lets go, the other takes it.
    bench.write("z.yaml", &with_host("z", 2, "y.test"));
    assert_eq!(bench.look(), ["default/a@1: v1=1", "default/z@2: v1=2"]);
    assert_eq!(bench.told.complaints(), [""; 0]);
}

#[test]
fn a_refused_change_keeps_its_old_hosts_from_others() {
    let with_hosts = |name, hosts| yaml(name, &[("v1", 1)], &format!("  hosts: [{hosts}]\n"));
    let mut bench = Bench::new(&[("a.yaml", &with_hosts("a", "one.test")), ("b.yaml", &with_hosts("b", "two.test"))]);
    bench.told.take();
    // b wants c's place only if a's change, which is refused, were in force.
    bench.write("c.yaml", &with_hosts("c", "one.test"));
    bench.write("a.yaml", &with_hosts("a", "two.test"));
    assert_eq!(bench.look(), [""; 0]);
    assert_eq!(bench.told.complaints().len(), 2, "{:?}", bench.told.complaints());
}

#[test]
fn temporary_files_of_editors_are_left_alone() {
    let mut bench = Bench::new(&[]);
    for name in
        ["a.yaml~", ".a.yaml.swp", "#a.yaml#", ".#a.yaml", "4913", "a.tmp", "a.yaml.bak", ".hidden.yaml", "a.txt"]
    {
        bench.write(name, &backend(1, 1));
    }
    fs::create_dir(bench.path("sub")).unwrap();
    bench.write("sub/a.yaml", &backend(1, 1));
    assert_eq!(bench.look(), [""; 0]);
    assert_eq!(bench.told.complaints(), [""; 0]);
    bench.write("a.json", r#"{"apiVersion":"sluicegate.dev/v1alpha1","kind":"TrafficSplit","metadata":{"name":"j"},"spec":{"subsets":[{"name":"x","weight":1}]}}"#);
    assert_eq!(bench.look(), ["default/j@1: x=1"]);
}

#[test]
fn what_cannot_be_read_stays_as_it_was() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    fs::write(bench.path("a.yaml"), b"\xff\xfe").unwrap();
    assert_eq!(bench.look_after(1000), [""; 0]);
    assert!(bench.told.complaints()[0].contains("not UTF-8 at byte 0"), "{:?}", bench.told.complaints());
    fs::remove_file(bench.path("a.yaml")).unwrap();
    fs::create_dir(bench.path("a.yaml")).unwrap();
    assert_eq!(bench.look_after(1000), [""; 0]);
    assert!(bench.told.complaints()[0].contains("not a regular file"), "{:?}", bench.told.complaints());
}

#[test]
fn a_folder_that_vanishes_deletes_nothing() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    let away = bench.dir.path().with_extension("away");
    fs::rename(bench.dir.path(), &away).unwrap();
    assert_eq!(bench.look_after(1000), [""; 0]);
    assert!(bench.told.complaints()[0].contains("everything stays as it was"));
    fs::rename(&away, bench.dir.path()).unwrap();
    assert_eq!(bench.look_after(1000), [""; 0]);
    assert_eq!(bench.told.complaints(), [""; 0]);
}

#[test]
fn a_mounted_configmap_works() {
    let mut bench = Bench::new(&[]);
    for (version, weight) in [("..1", 10), ("..2", 20)] {
        fs::create_dir(bench.path(version)).unwrap();
        bench.write(&format!("{version}/a.yaml"), &backend(90, weight));
    }
    symlink("..1", bench.path("..data")).unwrap();
    symlink("..data/a.yaml", bench.path("a.yaml")).unwrap();
    assert_eq!(bench.look(), ["default/backend@1: v1=90 v2=10"]);
    symlink("..2", bench.path("..data_tmp")).unwrap();
    fs::rename(bench.path("..data_tmp"), bench.path("..data")).unwrap();
    assert_eq!(bench.look(), ["default/backend@2: v1=90 v2=20"]);
}

#[test]
fn other_kinds_are_told_apart_from_mistakes() {
    let kind = |api, kind| format!("apiVersion: {api}\nkind: {kind}\nmetadata: {{ name: x }}\nspec: {{}}\n");
    let deploy = "{ version: v2, splits: [x], steps: [50] }";
    let later = kind("sluicegate.dev/v1alpha1", "CanaryDeploy").replace("{}", deploy);
    let bench = Bench::new(&[
        ("deployment.yaml", &kind("apps/v1", "Deployment")),
        ("later.yaml", &later),
        ("mistake.yaml", &later.replace("[50]", "[60]")),
        ("slip.yaml", &kind("sluicegate.dev/v1alpha1", "TraficSplit")),
        ("version.yaml", &kind("sluicegate.dev/v1", "TrafficSplit")),
    ]);
    assert_eq!(
        bench.told.complaints(),
        [
            "mistake.yaml:4:43: weight 60 must be above 0 and at most 50: the baseline beside it gets as much",
            "slip.yaml:2:7: kind \"TraficSplit\" is unknown; kinds are TrafficSplit, CanaryDeploy, CanaryTest, Judgment \
             (did you mean \"TrafficSplit\"?)",
            "version.yaml:1:13: apiVersion is sluicegate.dev/v1; this controller reads apiVersion: sluicegate.dev/v1alpha1",
        ]
    );
}

#[test]
fn a_mistake_in_another_kind_keeps_no_deleted_split_in_force() {
    let deploy =
        "---\napiVersion: sluicegate.dev/v1alpha1\nkind: CanaryDeploy\nmetadata: { name: backend }\nspec: {}\n";
    let mut bench = Bench::new(&[("a.yaml", &format!("{}{deploy}", backend(90, 10)))]);
    bench.told.take();
    bench.write("a.yaml", deploy);
    assert_eq!(bench.look(), ["default/backend@2: gone"], "{:?}", bench.told.complaints());
}
