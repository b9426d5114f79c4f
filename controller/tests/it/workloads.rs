//! The user's own command, with real scripts.

mod answers;
mod ends;

use sluicegate::workloads::{
    Observed, Role, Target, Workloads, command::Command, contract::Request, error::WorkloadsError, given::Given,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};
use tempfile::TempDir;

/// Beyond what any script here takes.
const LONG: Duration = Duration::from_secs(3600);
/// An answer that says something about every role.
const ALL: &str = r#"{"main":{"version":"v1","replicas":4,"ready":4},"baseline":{"replicas":0,"ready":0},
"canary":{"version":"v2","replicas":2,"ready":1,"trouble":"no\n  image"},"colour":"red"}"#;

/// A folder with a script in it.
struct Bench {
    dir: TempDir,
    command: Command,
}

impl Bench {
    fn new(script: &str) -> Self {
        Self::with(script, LONG)
    }

    fn with(script: &str, timeout: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), script);
        let command = Command::new(&["./workloads.sh".into()], dir.path().to_owned(), timeout);
        Self { dir, command }
    }

    async fn observe(&self) -> Result<Observed, WorkloadsError> {
        self.command.observe("default/x", &Role::ALL).await
    }

    async fn refused(&self) -> String {
        self.observe().await.unwrap_err().to_string()
    }

    async fn apply(&self, role: Role, version: &str, replicas: u32) -> Result<(), WorkloadsError> {
        self.command.apply("default/x", role, &Target { version: version.into(), replicas }).await
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(name)).ok()
    }
}

/// Puts a script in place as editors do: whole, by renaming.
fn write(dir: &Path, script: &str) {
    let draft = dir.join("draft");
    fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(draft, dir.join("workloads.sh")).unwrap();
}

/// The script that answers this.
fn says(answer: &str) -> String {
    format!("cat <<'END'\n{answer}\nEND")
}

#[tokio::test]
async fn a_command_is_asked_by_json_on_stdin_and_in_the_environment() {
    let script = "cat > asked; echo \"$SLUICEGATE_DO $SLUICEGATE_ROLLOUT $SLUICEGATE_ROLE $SLUICEGATE_VERSION \
                  $SLUICEGATE_REPLICAS\" > env; echo '{}'";
    let bench = Bench::new(script);
    bench.apply(Role::Canary, "v\"2", 3).await.unwrap();
    let asked: serde_json::Value = serde_json::from_str(&bench.read("asked").unwrap()).unwrap();
    let wanted = serde_json::json!({
        "protocol": 1, "do": "apply", "rollout": "default/x", "role": "canary", "version": "v\"2", "replicas": 3
    });
    assert_eq!(asked, wanted);
    assert_eq!(bench.read("env").unwrap(), "apply default/x canary v\"2 3\n");
    write(bench.dir.path(), &format!("cat > asked\n{}", says(ALL)));
    bench.observe().await.unwrap();
    let asked: serde_json::Value = serde_json::from_str(&bench.read("asked").unwrap()).unwrap();
    let roles = ["main", "baseline", "canary"];
    assert_eq!(asked, serde_json::json!({ "protocol": 1, "do": "observe", "rollout": "default/x", "roles": roles }));
}

#[tokio::test]
async fn what_it_answers_arrives_and_what_is_left_out_has_sensible_values() {
    let observed = Bench::new(&says(ALL)).observe().await.unwrap();
    let main = observed.get(Role::Main).unwrap();
    assert_eq!((main.version.as_str(), main.replicas, main.ready, main.settled), ("v1", 4, 4, true));
    let baseline = observed.get(Role::Baseline).unwrap();
    assert_eq!((baseline.version.as_str(), baseline.replicas, baseline.settled), ("", 0, true));
    let canary = observed.get(Role::Canary).unwrap();
    assert!(!canary.settled, "one of two is ready");
    assert_eq!(canary.trouble.as_deref(), Some("no image"), "one line");
    let said = r#"{"protocol":1,"main":{"version":"v1","replicas":1,"ready":1,"settled":false}}"#;
    let bench = Bench::new(&says(said));
    let observed = bench.command.observe("default/x", &[Role::Main]).await.unwrap();
    assert!(!observed.main.unwrap().settled && observed.canary.is_none(), "only main was asked about");
}

#[tokio::test]
async fn an_apply_may_be_answered_by_nothing() {
    Bench::new("cat > /dev/null").apply(Role::Main, "v1", 1).await.unwrap();
    Bench::new("exit 0").apply(Role::Main, "v1", 1).await.unwrap();
}

#[tokio::test]
async fn a_command_that_is_replaced_while_it_runs_finishes_as_it_was() {
    let bench = Bench::new("touch started; while [ ! -e go ]; do sleep 0.01; done; echo '{}'");
    let command = bench.command.clone();
    let target = Target { version: "v2".into(), replicas: 1 };
    let running = tokio::spawn(async move { command.apply("default/x", Role::Canary, &target).await });
    until(|| bench.read("started").is_some()).await;
    write(bench.dir.path(), &says(ALL));
    fs::write(bench.dir.path().join("go"), "").unwrap();
    running.await.unwrap().unwrap();
    assert_eq!(bench.observe().await.unwrap().main.unwrap().ready, 4, "the next run is the new one");
}

#[tokio::test]
async fn runs_of_one_command_never_overlap_and_keep_their_order() {
    let script = "echo \"in $SLUICEGATE_VERSION\" >> log; sleep 0.02; echo \"out $SLUICEGATE_VERSION\" >> log";
    let bench = Bench::new(script);
    let runs = (0..5).map(|i| {
        let command = bench.command.clone();
        async move { command.apply("default/x", Role::Main, &Target { version: i.to_string(), replicas: 1 }).await }
    });
    let mut set = Vec::new();
    for run in runs {
        set.push(tokio::spawn(run));
        tokio::task::yield_now().await;
    }
    for run in set {
        run.await.unwrap().unwrap();
    }
    let wanted: String = (0..5).map(|i| format!("in {i}\nout {i}\n")).collect();
    assert_eq!(bench.read("log").unwrap(), wanted);
}

#[tokio::test]
async fn without_a_command_whatever_was_asked_for_is_there() {
    let given = Given::new();
    let unknown = given.observe("default/x", &Role::ALL).await.unwrap();
    assert_eq!(unknown, Observed::default(), "never told about");
    given.apply("default/x", Role::Canary, &Target { version: "v2".into(), replicas: 3 }).await.unwrap();
    let canary = given.observe("default/x", &[Role::Canary]).await.unwrap().canary.unwrap();
    assert_eq!((canary.version.as_str(), canary.replicas, canary.ready, canary.settled), ("v2", 3, 3, true));
    let other = given.observe("default/y", &[Role::Canary]).await.unwrap();
    assert_eq!(other.canary, None, "rollouts have nothing to do with each other");
}

#[test]
fn a_version_cannot_break_out_of_the_request() {
    let target = Target { version: "v2\n{\"do\":\"x\"}\0".into(), replicas: 1 };
    let request = Request::apply("default/x", Role::Main, &target);
    assert_eq!(request.to_json().matches('\n').count(), 1);
    assert!(request.variables().iter().all(|(_, value)| !value.contains('\0')));
}

/// Waits for something that happens outside of this process.
async fn until(mut is: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 10 s");
}
