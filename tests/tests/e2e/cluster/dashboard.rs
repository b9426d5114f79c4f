//! The dashboard on a person's own machine, in a real browser: by their kubeconfig on a real API server, with the real
//! controller and an Envoy under load. What they may do is what the chart's roles give them.

use super::service_account;
use crate::{
    charts::helm,
    dashboard::{as_another_site, clean, looks_right},
};
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluicegate_tests::browser::Browser;
use sluicegate_tests::controller::split_yaml;
use sluicegate_tests::kube::{self, Cluster, PATIENCE, Part};
use sluicegate_tests::kube_lab::{KubeLab, rollout_yaml};
use sluicegate_tests::lab::WEB;
use sluicegate_tests::process::Process;
use sluicegate_tests::{client, paths, poll};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A running `kubectl sluicegate dashboard`.
struct Local {
    process: Process,
    at: SocketAddr,
    said: String,
    // Last: the process writes into it.
    _dir: TempDir,
}

impl Local {
    fn start(kubeconfig: &Path, args: &[&str]) -> Result<Self> {
        let dir = paths::scratch("dashboard")?;
        let own = dir.path().join("kubectl-sluicegate");
        std::os::unix::fs::symlink(paths::controller()?, &own)?;
        let mut command = Command::new(own);
        command.args(["dashboard", "--listen", "127.0.0.1:0"]).args(args).env("KUBECONFIG", kubeconfig);
        let mut process = Process::start("dashboard", command, dir.path())?;
        let said = process.wait_log("The dashboard of ", PATIENCE)?;
        let at = said.rsplit("http://").next().unwrap_or_default().parse().with_context(|| said.clone())?;
        Ok(Self { process, at, said, _dir: dir })
    }

    fn page(&self, route: &str) -> String {
        format!("http://{}/{route}", self.at)
    }

    /// Posts as a program does, and not a page; returns the status and what was said.
    fn post(&self, path: &str, body: &Value) -> Result<(u16, String)> {
        let headers = [("host", &*self.at.to_string()), ("content-type", "application/json"), ("connection", "close")];
        let mut line = client::Client::connect(self.at)?;
        // A Judgment is answered when it has been carried out.
        line.patience(PATIENCE)?;
        let answer = line.request("POST", path, &headers, body.to_string().as_bytes())?;
        Ok((answer.status, answer.text()))
    }
}

/// A user with these roles of the chart, as docs/DASHBOARD.md has people bind them; returns their kubeconfig.
fn user(cluster: &Cluster, namespace: &str, name: &str, roles: &[&str]) -> Result<PathBuf> {
    let chart = ["template", "sluicegate", "charts/sluicegate", "--show-only", "templates/rbac.yaml"];
    let yaml = helm(&chart)?.map_err(anyhow::Error::msg)?;
    let for_people = ["name: sluicegate-view\n", "name: sluicegate-edit\n", "name: sluicegate-approver\n"];
    let is_role =
        |one: &&str| one.contains("\nkind: ClusterRole\n") && for_people.iter().any(|name| one.contains(name));
    let all: Vec<_> = yaml.split("\n---\n").filter(is_role).collect();
    ensure!(all.len() == 3, "{yaml}");
    cluster.kubectl_with(&["apply", "-f", "-"], &all.join("\n---\n"))?;
    cluster.kubectl(&["-n", namespace, "create", "serviceaccount", name])?;
    let account = format!("--serviceaccount={namespace}:{name}");
    for role in roles {
        let binding = format!("{name}-{role}");
        let role = format!("--clusterrole=sluicegate-{role}");
        cluster.kubectl(&["-n", namespace, "create", "rolebinding", &binding, &role, &account])?;
    }
    let token = cluster.kubectl(&["-n", namespace, "create", "token", name])?;
    cluster.kubeconfig_of(&format!("{namespace}-{name}"), token.trim())
}

fn called(lab: &KubeLab, name: &str) -> String {
    format!("system:serviceaccount:{}:{name}", lab.namespace)
}

fn lab() -> Result<KubeLab> {
    let cluster = kube::shared()?;
    cluster.install_crds()?;
    let namespace = cluster.namespace("page")?;
    let kubeconfig = service_account(cluster, &namespace)?;
    let lab = KubeLab::start_as(cluster, &namespace, 2, &[&kubeconfig])?;
    let steps =
        "  steps: [{ weight: 10, judge: manual }, { weight: 50, judge: manual }]\n  hold: 1s\n  deadline: 60s\n";
    lab.apply(&rollout_yaml("CanaryDeploy", "hello:v1", steps))?;
    lab.until("the rollout to be Idle", "canarydeploys", |o| o["status"]["phase"] == "Idle")?;
    lab.apply(&rollout_yaml("CanaryDeploy", "hello:v2", steps))?;
    Ok(lab)
}

fn at_step(lab: &KubeLab, step: &str) -> Result<Value> {
    let held = |o: &Value| o["status"]["phase"] == "Hold" && o["status"]["step"] == step;
    lab.until(&format!("step {step} to be held"), "canarydeploys", held)
}

#[test]
fn a_person_leads_a_rollout_in_their_own_browser_and_the_record_names_them() -> Result<()> {
    let lab = lab()?;
    let load = lab.load(300.0)?;
    let ada = called(&lab, "ada");
    let kubeconfig = user(&lab.cluster, &lab.namespace, "ada", &["view", "edit", "approver"])?;
    let mut local = Local::start(&kubeconfig, &["-n", &lab.namespace])?;
    ensure!(local.said.contains(&format!("The dashboard of test as {ada}: http://127.0.0.1:")), "{}", local.said);
    at_step(&lab, "1/2")?;
    let browser = Browser::start()?;
    let mut page = browser.open(&local.page(""))?;
    page.until_text("#link", "live")?;
    page.until_text("#who", &format!("namespace {}, as {ada}", lab.namespace))?;
    let hello = format!("#/rollout/{}/hello", lab.namespace);
    page.click(&format!("#list a[href='{hello}']"))?;
    page.until_text(".waits", "a person")?;
    page.until_text(".buttons", "Continue")?;
    looks_right(&mut page, "kube-rollout")?;

    page.click("button[data-verb=continue]")?;
    page.until_text("#ask", &format!("The record will name {ada}"))?;
    ensure!(page.eval("document.querySelector('#by')")?.is_null(), "it asks who she is");
    page.write("#reason", "looks good")?;
    page.click("#ask button[type=submit]")?;
    page.until_text(".steps [aria-current]", "50 %")?;
    page.until_text("#said", "acked by all 1 proxies")?;
    page.until_text(".waits", "a person")?;
    page.until_text(".events", &ada)?;
    let judgments = format!("/apis/sluicegate.dev/v1alpha1/namespaces/{}/judgments", lab.namespace);
    let (judgments, _) = lab.cluster.api().list(&judgments)?;
    let given = judgments.iter().find(|one| one["spec"]["reason"] == "looks good").context("no judgment")?;
    ensure!(given["spec"]["by"] == ada.as_str() && given["spec"]["step"] == 1, "{given}");
    let half = std::time::Instant::now();
    poll::until("some hundred requests", PATIENCE, || {
        if half.elapsed().as_millis() > 800 { Ok(()) } else { Err("waiting") }
    })?;

    page.click("button[data-verb=rollback]")?;
    page.click("#ask button[type=submit]")?;
    page.until_text("h1", "RolledBack")?;
    clean(&mut page)?;
    let seen = load.stop_clean()?;
    let (mut all, mut canary) = (0_u32, 0_u32);
    for answer in seen.between(half, half + std::time::Duration::from_millis(700)) {
        all += 1;
        canary += u32::from(answer.pod.starts_with("hello-canary"));
    }
    ensure!(
        all > 100 && (canary * 2).abs_diff(all) <= all / 10,
        "the canary got {canary} of {all} requests, not a half"
    );

    // Another site in the same browser can neither act nor read, and neither can a name that leads here.
    page.go(&format!("http://{}/", lab.envoy.listener(WEB)?))?;
    let path = format!("/v1/rollouts/{}/hello/pause", lab.namespace);
    as_another_site(&mut page, local.at, &path, &json!({}))?;
    page.complaints()?;
    let own = local.at.to_string();
    for (host, header, value) in
        [(&*own, "origin", "http://evil.test"), (&own, "sec-fetch-site", "cross-site"), ("evil.test", "accept", "*/*")]
    {
        let headers = [("host", host), (header, value), ("content-type", "application/json")];
        let answer = client::Client::connect(local.at)?.request("POST", &path, &headers, b"{}")?;
        ensure!(answer.status == 403, "{host}, {header}: {}", answer.text());
    }
    ensure!(lab.object("canarydeploys", "hello")?["spec"]["paused"].is_null(), "another site has paused it");

    // Weights by hand, which a slider of the page sends.
    let plain = split_yaml("plain", &[("v1", 90), ("v2", 10)], "");
    let tried = split_yaml("tried", &[("canary", 0), ("main", 100)], "").replace("default: canary", "default: main");
    let test = "apiVersion: sluicegate.dev/v1alpha1\nkind: CanaryTest\nmetadata: { name: tried }\nspec: { version: v2, \
                splits: [tried], weight: 0 }\n";
    lab.apply(&format!("{plain}---\n{tried}---\n{test}"))?;
    let weight = format!("/v1/rollouts/{}/tried/weight", lab.namespace);
    let (status, said) = local.post(&weight, &json!({ "weight": 5.0, "by": "eve", "reason": "a little" }))?;
    ensure!(status == 200, "{status}: {said}");
    let tried = lab.object("canarytests", "tried")?;
    let notes = &tried["metadata"]["annotations"];
    ensure!(tried["spec"]["weight"] == 5 && notes["sluicegate.dev/changed-by"] == ada.as_str(), "{tried}");
    ensure!(notes["sluicegate.dev/change-reason"] == "a little", "{tried}");
    let (status, said) = local.post(&weight, &json!({ "weight": 60 }))?;
    ensure!(status == 422 && said.contains("50"), "{status}: {said}");
    page.go(&local.page(&format!("#/split/{}/plain", lab.namespace)))?;
    page.click("button[data-verb=weights]")?;
    page.write("#weight-0", "1")?;
    page.click("#ask button[type=submit]")?;
    page.until_text(".weights", "v2 90.909 %")?;
    looks_right(&mut page, "kube-split")?;
    clean(&mut page)?;

    local.process.signal(Signal::SIGINT);
    let ended = local.process.wait_exit(poll::LONG)?;
    ensure!(ended.success(), "{ended}: {}", local.process.tail(5));
    Ok(())
}

#[test]
fn who_may_only_look_sees_everything_and_why_no_more() -> Result<()> {
    let lab = lab()?;
    let _load = lab.load(100.0)?;
    let bob = called(&lab, "bob");
    let kubeconfig = user(&lab.cluster, &lab.namespace, "bob", &["view"])?;
    let local = Local::start(&kubeconfig, &["--namespace", &lab.namespace])?;
    let held = at_step(&lab, "1/2")?;
    let browser = Browser::start()?;
    let mut page = browser.open(&local.page(""))?;
    page.until_text("#list", "waits for a person")?;
    page.go(&local.page(&format!("#/rollout/{}/hello", lab.namespace)))?;
    page.until_text(".waits", "a person")?;
    let why = format!("{bob} may not create judgments in namespace {}", lab.namespace);
    page.until_text(".now", &why)?;
    page.until_text(".now", "may not patch canarydeploys")?;
    page.until_text("table", "hello:v2")?;
    looks_right(&mut page, "kube-viewer")?;
    // Who hears the page is told at the button.
    let told = page.eval(
        "(() => { const b = document.querySelector('button[data-verb=continue]'); b.focus(); return [document.activeElement \
         === b, b.getAttribute('aria-disabled'), document.getElementById(b.getAttribute('aria-describedby')).innerText]; })()",
    )?;
    ensure!(told[0] == true && told[1] == "true" && told[2].to_string().contains(&why), "{told}");
    page.click("button[data-verb=continue]")?;
    page.press("Enter")?;
    ensure!(page.eval("document.querySelector('dialog').open")? == false, "it asks all the same");
    clean(&mut page)?;
    // Were it sent all the same.
    let path = format!("/v1/rollouts/{}/hello", lab.namespace);
    for (verb, body, lacks) in [
        ("continue", json!({ "reason": "sly" }), "create judgments"),
        ("rollback", json!({}), "create judgments"),
        ("pause", json!({}), "patch canarydeploys"),
    ] {
        let (status, said) = local.post(&format!("{path}/{verb}"), &body)?;
        ensure!(
            status == 403 && said.contains(&format!("{bob} may not {lacks} in namespace")),
            "{verb}: {status} {said}"
        );
    }
    let now = lab.object("canarydeploys", "hello")?;
    ensure!(now["status"]["step"] == held["status"]["step"] && now["spec"] == held["spec"], "{now}");

    // A right that is given while the page is open is of use a minute later at the latest; here it is at once, after a refusal.
    let (binding, account) = ("--clusterrole=sluicegate-approver", format!("--serviceaccount={}:bob", lab.namespace));
    lab.kubectl(&["create", "rolebinding", "bob-approver", binding, &account])?;
    local.post(&format!("{path}/pause"), &json!({}))?;
    poll::until("the button to be of use", PATIENCE, || {
        let barred = "document.querySelector('button[data-verb=continue]').hasAttribute('aria-disabled')";
        match page.eval(barred) {
            Ok(Value::Bool(false)) => Ok(()),
            other => {
                // The API server itself takes a moment to know of the binding.
                local.post(&format!("{path}/pause"), &json!({})).ok();
                Err(format!("{other:?}"))
            }
        }
    })?;

    // What she may not see of other namespaces is said, and what may be seen is shown.
    let all = Local::start(&kubeconfig, &["-A"])?;
    page.go(&all.page(""))?;
    page.until_text("#problems", &format!("{bob} may not list trafficsplits in all namespaces"))?;
    Ok(())
}

#[test]
fn a_page_says_that_the_api_server_is_away_and_goes_on_when_it_is_back() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.install_crds()?;
    let split = |name: &str| split_yaml(name, &[("v1", 1)], "");
    cluster.apply("default", &split("before"))?;
    let local = Local::start(cluster.kubeconfig(), &["-A"])?;
    let browser = Browser::start()?;
    let mut page = browser.open(&local.page(""))?;
    page.until_text("#link", "live")?;
    page.until_text("#list", "before")?;
    cluster.kill(Part::ApiServer);
    page.until_text("#link", "no answer of the API server")?;
    page.until_text("#problems", "the API server")?;
    ensure!(page.text("#list")?.contains("before"), "what was known is gone");
    let (status, said) = local.post("/v1/splits/default/before/weights", &json!({ "weights": { "v1": 2 } }))?;
    ensure!(status == 502 && said.contains("cannot be reached"), "{status}: {said}");
    cluster.restart(Part::ApiServer)?;
    page.until_text("#link", "live")?;
    cluster.apply("default", &split("after"))?;
    page.until_text("#list", "after")?;
    ensure!(page.text("#problems")?.is_empty(), "{}", page.text("#problems")?);
    clean(&mut page)
}
