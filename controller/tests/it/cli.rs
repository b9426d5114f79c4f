//! The real binary.

use crate::{
    serve::{request, start},
    support::backend,
};
use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

fn run(admin: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    command.args(args).env("SLUICEGATE_ADMIN", admin).env_remove("NO_COLOR").stdin(Stdio::null()).output().unwrap()
}

async fn sluicegate(admin: &str, args: &[&'static str]) -> (i32, String, String) {
    let (admin, args) = (admin.to_owned(), args.to_vec());
    let output = tokio::task::spawn_blocking(move || run(&admin, &args)).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verbs_work_on_a_running_controller() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let admin = format!("http://{}", running.admin);
    let (code, out, _) = sluicegate(&admin, &["get"]).await;
    assert_eq!(code, 0);
    let lines: Vec<Vec<&str>> = out.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "WEIGHTS", "GENERATION", "ACKED", "ACCEPTED", "AGE"]);
    assert_eq!(lines[1][..6], ["backend", "v1=90", "v2=10", "1", "0/0", "True"]);
    let (code, out, _) = sluicegate(&admin, &["set-weight", "backend", "v2=20"]).await;
    assert_eq!((code, out.as_str()), (0, "backend: v1=90 v2=20 (generation 2), no live proxy subscribes\n"));
    running.sync(&request(1)).await;
    let (code, out, err) = sluicegate(&admin, &["set-weight", "default/backend", "v2=30", "--timeout", "100ms"]).await;
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("not acked within 100 ms") && err.contains("node (runs nothing of it yet)"), "{err}");
    let (code, out, _) = sluicegate(&admin, &["describe", "backend"]).await;
    assert_eq!(code, 0);
    for part in ["Generation: 3", "SUBSET", "P99", "Propagated  False", "behind"] {
        assert!(out.contains(part), "{part:?} is missing in\n{out}");
    }
    assert!(!out.contains('\x1b'), "colours are for terminals");
    let (code, out, _) = sluicegate(&admin, &["get", "proxies", "-o", "json"]).await;
    let proxies: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &proxies["proxies"][0]["node"]), (0, &"node".into()));
    let (code, out, _) = sluicegate(&admin, &["get", "-o", "yaml"]).await;
    assert!(code == 0 && out.contains("name: default/backend"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_and_messages_teach() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let admin = format!("http://{}", running.admin);
    for (args, code, told) in [
        (&["describe", "bckend"][..], 1, "there is no split default/bckend"),
        (&["set-weight", "bckend", "v1=1"], 1, "did you mean \"default/backend\"?"),
        (&["set-weight", "backend", "v1"], 2, "write SUBSET=WEIGHT"),
        (&["set-weight", "backend", "v1=ten"], 2, "\"ten\" is not a weight"),
        (&["describe", "Back_End"], 2, "must be 1 to 63 of a-z"),
        (&["get", "cats"], 2, "invalid value 'cats'"),
        (&["serve"], 2, "--dir"),
        (&["dashboard", "--listen", "0.0.0.0:7072"], 2, "acts with your rights"),
        (&["dashboard", "--listen", "elsewhere"], 2, "such as 127.0.0.1:7072"),
        (&["dashboard", "-A", "-n", "shop"], 2, "cannot be used with"),
        (&["nonsense"], 2, "unrecognized subcommand"),
    ] {
        let (got, _, err) = sluicegate(&admin, args).await;
        assert_eq!(got, code, "{args:?}: {err}");
        assert!(err.contains(told), "{args:?}: {err}");
    }
    let (code, _, err) = sluicegate("http://127.0.0.1:9", &["get"]).await;
    assert!(code == 1 && err.contains("sluicegate serve --dir"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_that_cannot_be_says_why() {
    let running = start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("kubeconfig");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "far",
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:9" } }], "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "far", "context": { "cluster": "c", "user": "u" } }],
    });
    std::fs::write(&nowhere, config.to_string()).unwrap();
    let missing = dir.path().join("missing");
    for (kubeconfig, listen, told) in [
        (&nowhere, running.admin.to_string(), "is another dashboard running there?"),
        (&nowhere, "127.0.0.1:0".to_owned(), "far cannot be asked"),
        (&missing, "127.0.0.1:0".to_owned(), "--context and KUBECONFIG say which cluster it is"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command.args(["dashboard", "--listen", &listen]).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && err.contains(told), "{told}: {err}");
    }
}

#[test]
fn serve_logs_where_it_listens_and_ends_with_0_when_told() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), backend(90, 10)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .args(["serve", "--proxy-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--dir"])
            .arg(dir.path())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = lines.map(Result::unwrap);
        let line = lines.find(|l| l.contains("listening")).unwrap();
        assert!(line.contains(" proxy_listen=127.0.0.1:") && line.contains(" admin_listen=127.0.0.1:"), "{line}");
        assert!(!line.contains('\x1b'), "{line:?}");
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}
