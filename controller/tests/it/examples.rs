//! Every example works, as a file and as a folder.

use sluicegate::{
    api::document,
    workloads::{Role, Target, Workloads, command::Command},
};
use std::{fs, path::Path, process, time::Duration};

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

#[test]
fn every_example_is_accepted_and_no_two_share_a_name() {
    let mut names = Vec::new();
    for entry in fs::read_dir(examples()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // For Envoy Gateway and Istio; tried with their CRDs by the end-to-end tests.
            continue;
        }
        if path.extension().is_none_or(|end| end != "yaml") {
            let name = path.file_name().unwrap().to_str().unwrap();
            // Each has a test of its own, below and in judge.rs.
            assert!(["workloads.sh", "judge-counts.json", "judge-metrics.json"].contains(&name), "{name}");
            continue;
        }
        let documents = document::read(&fs::read_to_string(&path).unwrap());
        assert!(!documents.is_empty(), "{path:?} is empty");
        for document in documents {
            match document.meaning {
                Ok(_) => names.push(format!("{} {}", document.kind.unwrap(), document.name.unwrap())),
                Err(problem) => assert_eq!(problem.reason, document::FOREIGN, "{path:?}: {problem:?}"),
            }
        }
    }
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all, "{names:?}");
    assert!(names.contains(&"TrafficSplit default/backend".to_owned()));
}

#[tokio::test]
async fn the_command_of_the_examples_says_what_it_was_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(examples().join("workloads.sh"), dir.path().join("workloads.sh")).unwrap();
    let command = Command::new(&["./workloads.sh".into()], dir.path().to_owned(), Duration::from_secs(60));
    let before = command.observe("default/x", &Role::ALL).await.unwrap();
    assert_eq!((before.main.unwrap().version.as_str(), before.canary.unwrap().replicas), ("unknown", 0));
    let target = Target { version: r#"a "new\" one"#.into(), replicas: 3 };
    for _ in 0..2 {
        command.apply("default/x", Role::Canary, &target).await.unwrap();
        let canary = command.observe("default/x", &Role::ALL).await.unwrap().canary.unwrap();
        assert_eq!((&canary.version, canary.replicas, canary.ready), (&target.version, 3, 3));
    }
}

#[test]
fn the_crds_in_the_examples_are_what_the_program_prints() {
    let printed = process::Command::new(env!("CARGO_BIN_EXE_sluicegate")).arg("crds").output().unwrap();
    assert!(printed.status.success());
    let kept = fs::read_to_string(examples().join("crds.yaml")).unwrap_or_default();
    assert!(
        kept == String::from_utf8(printed.stdout).unwrap(),
        "examples/crds.yaml is not up to date; run `cargo run -p sluicegate -- crds > examples/crds.yaml`"
    );
}
