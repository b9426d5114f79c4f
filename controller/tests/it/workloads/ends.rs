//! However a run ends, nothing of it is left behind.

use super::{ALL, Bench, LONG, says, until};
use std::{fs, time::Duration};

/// A child and a grandchild that would run for an hour, and a note of their ids once both are there.
const FAMILY: &str = "sleep 3600 & echo $! > draft; sh -c 'sleep 3600 & echo $! >> draft; echo $$ >> draft; \
                      mv draft pids; wait' & wait";

/// Gone, or at least dead: whether the dead are buried is up to init.
fn is_dead(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

async fn all_die(bench: &Bench) {
    let pids = bench.read("pids").unwrap();
    assert_eq!(pids.lines().count(), 3, "{pids}");
    until(|| pids.lines().all(is_dead)).await;
}

#[tokio::test]
async fn a_hanging_command_is_killed_with_all_its_children_when_its_time_is_over() {
    let bench = Bench::new(&format!("echo 'waiting for the cluster' >&2; {FAMILY}"));
    let command = bench.command.clone();
    let running = tokio::spawn(async move {
        sluicegate::workloads::Workloads::observe(&command, "default/x", &sluicegate::workloads::Role::ALL).await
    });
    until(|| bench.read("pids").is_some()).await;
    assert!(!bench.read("pids").unwrap().lines().any(is_dead));
    tokio::time::pause();
    tokio::time::advance(LONG).await;
    let why = running.await.unwrap().unwrap_err().to_string();
    tokio::time::resume();
    assert!(why.contains("no answer to observe of default/x within 3600s, so it was killed with all"), "{why}");
    assert!(why.ends_with("the end of its stderr: waiting for the cluster"), "{why}");
    all_die(&bench).await;
}

#[tokio::test]
async fn a_command_nobody_waits_for_any_more_is_killed_with_all_its_children() {
    let bench = Bench::new(FAMILY);
    let command = bench.command.clone();
    let running = tokio::spawn(async move {
        sluicegate::workloads::Workloads::observe(&command, "default/x", &sluicegate::workloads::Role::ALL).await
    });
    until(|| bench.read("pids").is_some()).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    all_die(&bench).await;
}

#[tokio::test]
async fn what_a_command_leaves_running_is_killed_and_does_not_keep_its_answer_back() {
    let bench = Bench::new(&format!("({FAMILY}) & while [ ! -e pids ]; do sleep 0.01; done\n{}", says(ALL)));
    assert_eq!(bench.observe().await.unwrap().main.unwrap().ready, 4);
    all_die(&bench).await;
}

#[tokio::test]
async fn a_server_with_a_session_of_its_own_outlives_the_command() {
    let script = format!(
        "setsid sh -c 'echo $$ > draft; mv draft server; exec sleep 3600' &\n\
                          while [ ! -e server ]; do sleep 0.01; done\n{}",
        says(ALL)
    );
    let bench = Bench::new(&script);
    // It even holds stdout open.
    assert_eq!(bench.observe().await.unwrap().main.unwrap().ready, 4);
    let pid = bench.read("server").unwrap().trim().to_owned();
    assert!(!is_dead(&pid));
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
}

#[tokio::test]
async fn a_flood_ends_the_run_and_a_flood_of_stderr_does_not() {
    let why = Bench::new("sleep 3600 & echo $! > pid; yes '{\"main\": 1}'").refused().await;
    assert!(why.contains("wrote more than 65536 bytes to stdout for observe of default/x, so it was killed"), "{why}");
    let bench = Bench::new(&format!("yes 'chatter' | head -c 1000000 >&2\n{}", says(ALL)));
    assert_eq!(bench.observe().await.unwrap().main.unwrap().ready, 4);
    let just = "x".repeat((64 << 10) - ALL.len() - 40);
    let bench = Bench::new(&says(&ALL.replace("\"red\"", &format!("\"{just}\""))));
    bench.observe().await.unwrap();
}

#[tokio::test]
async fn a_command_that_reads_nothing_is_not_waited_for() {
    let bench = Bench::with(&format!("exec 0<&-\n{}", says(ALL)), Duration::from_secs(60));
    bench.observe().await.unwrap();
}
