//! Weights into the user's file, nothing else touched.

use crate::support::{Bench, backend};
use sluicegate::store::{
    TestEdit, Weights,
    edit::{edit, edit_test},
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
};

fn weights(all: &[(&str, u32)]) -> Weights {
    all.iter().map(|(n, w)| ((*n).to_owned(), *w)).collect()
}

const STYLES: &str = "\
# Größe, 日本 — before it all
apiVersion: sluicegate.dev/v1alpha1
kind: TrafficSplit
metadata: { name: one }   # flow
spec:
  subsets: [{ name: v1, weight: 90 }, { weight: 10, name: v2 }]  # 90 and 10

---
apiVersion: sluicegate.dev/v1alpha1
kind: TrafficSplit
metadata:
  name: two
spec:
  subsets:
  - weight: 90        # ninety
    name: v1
  -
    name:   v2
    weight:    10
  hosts: [ '90.test' ]
";

#[test]
fn only_the_numbers_change() {
    let new = edit(STYLES, "default/two", &weights(&[("v1", 5), ("v2", 123_456)]));
    let expected = STYLES.replace("weight: 90   ", "weight: 5   ").replace("weight:    10\n", "weight:    123456\n");
    assert_eq!(new.unwrap(), expected);
    let new = edit(STYLES, "default/one", &weights(&[("v2", 0)])).unwrap();
    assert_eq!(new, STYLES.replace("weight: 10, name: v2", "weight: 0, name: v2"));
}

#[test]
fn json_windows_line_ends_and_byte_order_marks_are_kept() {
    let json = r#"{"apiVersion":"sluicegate.dev/v1alpha1","kind":"TrafficSplit","metadata":{"name":"j"},"spec":{"subsets":[{"name":"x","weight":1},{"name":"y","weight":2}]}}"#;
    assert_eq!(edit(json, "default/j", &weights(&[("y", 77)])).unwrap(), json.replace(":2}", ":77}"));
    let windows = backend(90, 10).replace('\n', "\r\n");
    assert_eq!(edit(&windows, "default/backend", &weights(&[("v2", 7)])).unwrap(), windows.replace("10 }", "7 }"));
}

const TEST: &str = "\
# nightly builds
apiVersion: sluicegate.dev/v1alpha1
kind: CanaryTest
metadata: { name: t }
spec:
  version: v1   # what is tried
  weight: 0.5 # percent
  splits: [s] # one
  replicas: 1
";

fn edited(text: &str, weight: u32, version: Option<&str>) -> Result<String, String> {
    let edit = TestEdit { weight, version: version.map(str::to_owned) };
    edit_test(text, "default/t", &edit).map_err(|why| why.to_string())
}

#[test]
fn of_a_canary_test_only_weight_and_version_change() {
    assert_eq!(edited(TEST, 20_000, None).unwrap(), TEST.replace("weight: 0.5 #", "weight: 20 #"));
    let both = TEST.replace("weight: 0.5 #", "weight: 0.001 #").replace("version: v1 ", "version: nightly-2 ");
    assert_eq!(edited(TEST, 1, Some("nightly-2")).unwrap(), both);
    assert_eq!(edited(&TEST.replace("0.5", "0.5%"), 0, None).unwrap(), TEST.replace("0.5", "0%"));
    let json = r#"{"apiVersion":"sluicegate.dev/v1alpha1","kind":"CanaryTest","metadata":{"name":"t"},"spec":{"version":"v1","weight":1,"splits":["s"]}}"#;
    let wanted = json.replace(r#""v1","weight":1"#, r#""a \"b\"","weight":2.25"#);
    assert_eq!(edited(json, 2_250, Some("a \"b\"")).unwrap(), wanted);
}

#[test]
fn a_version_that_looks_like_something_else_is_quoted_and_quotes_stay() {
    for (new, wanted) in
        [("1.10", "\"1.10\""), ("true", "\"true\""), ("a: b # c", "\"a: b # c\""), ("größe", "\"größe\"")]
    {
        assert_eq!(edited(TEST, 500, Some(new)).unwrap(), TEST.replace("version: v1", &format!("version: {wanted}")));
    }
    for (old, new, wanted) in [("'v1'", "it's", "'it''s'"), ("\"v1\"", "v2", "\"v2\"")] {
        let text = TEST.replace("version: v1", &format!("version: {old}"));
        let wanted = TEST.replace("version: v1", &format!("version: {wanted}"));
        assert_eq!(edited(&text, 500, Some(new)).unwrap(), wanted);
    }
}

#[test]
fn a_canary_test_that_cannot_be_edited_in_place_says_why() {
    let no = |text: &str, weight, version, why: &str| {
        let told = edited(text, weight, version).unwrap_err();
        assert!(told.contains(why), "{told:?} should say {why:?}");
    };
    no(&TEST.replace("0.5", "\"0.5\""), 1_000, None, "line 7: the weight is not written as a plain number");
    let anchored = TEST.replace("  weight: 0.5 # percent\n", "").replace("replicas: 1", "replicas: &n 1\n  weight: *n");
    no(&anchored, 2_000, None, "the weight comes from an anchor");
    no(&TEST.replace("0.5", "&w 1").replace("replicas: 1", "replicas: *w"), 2_000, None, "in place");
    let folded = TEST.replace("version: v1   # what is tried", "version: >-\n    v1");
    no(&folded, 500, Some("v2"), "the version is not written as plain text");
    no(TEST, 50_001, None, "weight 50.001 is above 50");
    no(&TEST.replace("replicas: 1", "replicas: 0").replace("0.5", "0"), 1_000, None, "no pod would answer");
    no(TEST, 500, Some(""), "version \"\" must be");
    let images = TEST.replace("version: v1 ", "workload: w\n  images: { app: r/app:1 } ");
    no(&images, 500, Some("v2"), "has no `version:`");
    no(&TEST.replace("name: t", "name: u"), 500, None, "no readable CanaryTest default/t");
}

#[test]
fn numbers_that_come_from_elsewhere_are_refused() {
    let anchored = backend(10, 10).replacen("weight: 10", "weight: &w 10", 1).replace("weight: 10 }", "weight: *w }");
    let why = edit(&anchored, "default/backend", &weights(&[("v2", 7)])).unwrap_err();
    assert!(why.to_string().contains("line 8") && why.to_string().contains("anchor"), "{why}");
    // The anchor itself: changing it would change the other one too.
    let why = edit(&anchored, "default/backend", &weights(&[("v1", 7)])).unwrap_err();
    assert!(!why.to_string().is_empty(), "{why}");
    let hexadecimal = backend(90, 10).replace("weight: 10", "weight: 0x0A");
    let why = edit(&hexadecimal, "default/backend", &weights(&[("v2", 7)])).unwrap_err();
    assert!(why.to_string().contains("line 8"), "{why}");
}

#[test]
fn set_weights_writes_the_file_and_puts_it_in_force() {
    let text = format!("# mine\n{}", backend(90, 10));
    let mut bench = Bench::new(&[("a.yaml", &text)]);
    fs::set_permissions(bench.path("a.yaml"), Permissions::from_mode(0o640)).unwrap();
    bench.told.take();
    assert_eq!(bench.set("default/backend", &[("v2", 15)]), Ok(2));
    assert_eq!(bench.told.take(), ["default/backend@2: v1=90 v2=15"]);
    assert_eq!(bench.read("a.yaml"), text.replace("weight: 10", "weight: 15"));
    assert_eq!(fs::metadata(bench.path("a.yaml")).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(bench.look(), [""; 0], "our own writing is no news");
}

#[test]
fn what_the_user_wrote_a_moment_ago_is_not_overwritten() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    bench.write("a.yaml", &backend(70, 10));
    assert_eq!(bench.set("default/backend", &[("v2", 30)]), Ok(3));
    assert_eq!(bench.told.take(), ["default/backend@2: v1=70 v2=10", "default/backend@3: v1=70 v2=30"]);
    assert_eq!(bench.read("a.yaml"), backend(70, 30));
}

#[test]
fn a_link_stays_a_link() {
    let mut bench = Bench::new(&[("real.txt", &backend(90, 10))]);
    symlink("real.txt", bench.path("a.yaml")).unwrap();
    bench.look();
    assert_eq!(bench.set("default/backend", &[("v2", 30)]), Ok(2));
    assert!(fs::symlink_metadata(bench.path("a.yaml")).unwrap().is_symlink());
    assert_eq!(bench.read("real.txt"), backend(90, 30));
}

#[test]
fn what_cannot_be_set_says_why_and_changes_nothing() {
    let mut bench = Bench::new(&[("a.yaml", &backend(90, 10))]);
    bench.told.take();
    let no = |bench: &mut Bench, split: &str, weights: &[(&str, u32)], why: &str| {
        let told = bench.set(split, weights).unwrap_err();
        assert!(told.contains(why), "{told:?} should say {why:?}");
        assert_eq!(bench.told.take(), [""; 0]);
    };
    no(&mut bench, "default/bakend", &[("v1", 1)], "did you mean \"default/backend\"?");
    no(&mut bench, "default/backend", &[("v3", 1)], "has no subset \"v3\"; it has v1, v2");
    no(&mut bench, "default/backend", &[("v1", 0), ("v2", 0)], "all weights are 0");
    fs::set_permissions(bench.path("a.yaml"), Permissions::from_mode(0o444)).unwrap();
    no(&mut bench, "default/backend", &[("v1", 1)], "cannot edit a.yaml: it is read-only");
    fs::set_permissions(bench.path("a.yaml"), Permissions::from_mode(0o644)).unwrap();
    bench.write("a.yaml", &backend(0, 0));
    no(&mut bench, "default/backend", &[("v1", 1)], "a.yaml:7:5: all weights are 0");
    bench.write("a.yaml", &backend(90, 10));
    bench.look();
    fs::remove_dir_all(bench.path(".sluicegate")).unwrap();
    no(&mut bench, "default/backend", &[("v1", 1)], "generations.json: No such file");
    assert_eq!(bench.read("a.yaml"), backend(90, 10));
    let names: Vec<_> = fs::read_dir(bench.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["a.yaml"], "nothing is left lying about");
}
