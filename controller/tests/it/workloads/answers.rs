//! Answers and starts that go wrong, and what the author of the command is told.

use super::{ALL, Bench, LONG, says, write};
use sluicegate::workloads::{Role, Workloads, command::Command, contract, error::AnswerError};
use std::{fs, os::unix::fs::PermissionsExt};

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_shown_with_the_place() {
    for (script, told) in [
        (says(r#"{"main": {"version": "v1", "replicas": 4"#), "cannot be read at line 2 column 0: EOF while parsing"),
        (
            says(r#"{"main": {"version": "v1", "replicas": -4, "ready": 0}}"#),
            "line 1 column 41: invalid value: integer `-4`",
        ),
        (says(r#"{"main": {"version": "v1", "replicas": 4}}"#), "missing field `ready`"),
        (says("deployed!"), r#"begins with "deployed!\n""#),
        (says("{} {}"), "trailing characters"),
        ("printf 'main: \\377\\376'".into(), r#"is not UTF-8 at byte 6; it begins with "main: \xff\xfe""#),
        ("true".into(), "the answer to observe of default/x is empty; write one JSON object"),
        (
            says("{}"),
            r#"says nothing about main; for one that does not exist write "main": {"replicas": 0, "ready": 0}"#,
        ),
        (says(&ALL.replace("baseline", "base-line")), "says nothing about baseline"),
        (says(&ALL.replace(r#""version":"v1","#, "")), "gives main 4 replicas but no version"),
        (says(r#"{"protocol": 2}"#), "is by protocol 2, but this controller speaks protocol 1"),
        (says(r#"{"error": "no\ncluster"}"#), "is an error: no cluster"),
        (format!("echo 'bad stuff' >&2\n{}", says("{}")), "the end of its stderr: bad stuff"),
    ] {
        let why = Bench::new(&script).refused().await;
        assert!(why.starts_with("./workloads.sh: the answer to observe of default/x "), "{why}");
        assert!(why.contains(told), "{script}\n  says {why}\nshould say {told}");
    }
}

#[test]
fn a_long_wrong_answer_is_not_shown_in_full() {
    let why = contract::applied("x".repeat(10_000).as_bytes()).unwrap_err();
    assert!(why.to_string().len() < 300, "{why}");
    let AnswerError::Refused(said) =
        contract::applied(format!(r#"{{"error":"{}"}}"#, "é".repeat(5000)).as_bytes()).unwrap_err()
    else {
        panic!()
    };
    assert_eq!(said.chars().count(), 301);
}

#[tokio::test]
async fn a_failed_run_is_told_with_its_code_and_the_end_of_its_stderr() {
    let script = "i=0; while [ $i -lt 500 ]; do echo \"line $i with some more text\" >&2; i=$((i+1)); done; \
                  printf 'at\\tlast\\033[31m\\n\\n' >&2; exit 3";
    let why = Bench::new(script).refused().await;
    assert!(why.starts_with("./workloads.sh: ended with exit code 3 for observe of default/x; the end"), "{why}");
    assert!(why.ends_with("line 499 with some more text | atlast[31m"), "{why}");
    assert!(!why.contains("line 400 ") && !why.contains('\x1b'), "{why}");
    let why = Bench::new("kill -TERM $$").refused().await;
    assert!(why.contains("was ended by signal 15"), "{why}");
}

#[tokio::test]
async fn a_command_that_cannot_be_started_says_what_to_do() {
    let bench = Bench::new("");
    let dir = bench.dir.path().to_owned();
    let path = dir.join("workloads.sh");
    let at = |command: &str, folder: &std::path::Path| Command::new(&[command.into()], folder.to_owned(), LONG);
    let refused = async |command: &str, folder: &std::path::Path| {
        at(command, folder).observe("default/x", &Role::ALL).await.unwrap_err().to_string()
    };
    let why = refused("./nothing.sh", &dir).await;
    assert!(why.contains("there is no such file (looked from /") && why.contains("relative to the folder"), "{why}");
    assert!(refused("surely-not-in-the-path", &dir).await.contains("there is no such file"));
    assert!(refused("./workloads.sh", &dir.join("gone")).await.contains("gone it runs in is not there"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused("./workloads.sh", &dir).await.contains("not executable; run chmod +x ./workloads.sh"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&path, "#!/no/such/shell\n").unwrap();
    assert!(refused("./workloads.sh", &dir).await.contains("the interpreter in its first line"));
    fs::write(&path, "echo '{}'\n").unwrap();
    let why = refused("./workloads.sh", &dir).await;
    assert!(why.contains("begin a script with #!/bin/sh"), "{why}");
}

#[tokio::test]
async fn it_runs_in_its_folder_with_its_arguments() {
    let bench = Bench::new("pwd > where; echo \"$1|$2\" >> where");
    write(bench.dir.path(), "pwd > where; echo \"$1|$2\" >> where");
    let words = ["./workloads.sh".into(), "a b".into(), "$HOME".into()];
    let command = Command::new(&words, bench.dir.path().to_owned(), LONG);
    command.apply("default/x", Role::Main, &super::Target { version: "v1".into(), replicas: 1 }).await.unwrap();
    let wanted = fs::canonicalize(bench.dir.path()).unwrap();
    assert_eq!(bench.read("where").unwrap(), format!("{}\na b|$HOME\n", wanted.display()));
}
