//! Every example works, as a file and as a folder.

use sluicegate::api::document;
use std::{fs, path::Path, process::Command};

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

#[test]
fn every_example_is_accepted_and_no_two_share_a_name() {
    let mut names = Vec::new();
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        let documents = document::read(&fs::read_to_string(&path).unwrap());
        assert!(!documents.is_empty(), "{path:?} is empty");
        for document in documents {
            match document.split {
                Ok(split) => names.push(split.name),
                Err(problem) => assert_eq!(problem.reason, document::FOREIGN, "{path:?}: {problem:?}"),
            }
        }
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
    assert!(names.contains(&"default/backend".to_owned()));
}

#[test]
fn the_crds_in_the_examples_are_what_the_program_prints() {
    let printed = Command::new(env!("CARGO_BIN_EXE_sluicegate")).arg("crds").output().unwrap();
    assert!(printed.status.success());
    let kept = fs::read_to_string(examples().join("crds.yaml")).unwrap_or_default();
    assert!(
        kept == String::from_utf8(printed.stdout).unwrap(),
        "examples/crds.yaml is not up to date; run `cargo run -p sluicegate -- crds > examples/crds.yaml`"
    );
}
