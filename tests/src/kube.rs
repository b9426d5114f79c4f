//! A real Kubernetes control plane: etcd, kube-apiserver and kube-controller-manager as child processes on loopback, and a
//! [`stub`] in place of scheduler and kubelets; [`endpoints`] in place of what listens in the pods.
//!
//! In: nothing; or, for a test that stops parts of it, [`Cluster::start`] instead of the [`shared`] one. Out: a kubeconfig,
//! `kubectl`, the HTTP [`api`], and a namespace per test.

pub mod api;
pub mod between;
pub mod endpoints;
mod parts;
pub(crate) mod pod_status;
pub mod stub;
pub mod witness;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;
use crate::{paths, poll};
use api::Api;
pub use parts::Part;
use parts::Plan;
use stub::Stub;
use witness::Witness;

/// How long things may take that the control plane does by several of its controllers, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running control plane.
#[derive(Debug)]
pub struct Cluster {
    // Before the processes: it stops asking when they stop answering.
    stub: Stub,
    api: Api,
    plan: Plan,
    parts: Mutex<Vec<(Part, Process)>>,
    kubeconfig: PathBuf,
    // Last: the processes write into it.
    dir: TempDir,
}

/// The control plane that all tests of this process share; starts with the first that asks, and ends with the process.
///
/// # Errors
/// When it does not start.
pub fn shared() -> Result<&'static Arc<Cluster>> {
    static SHARED: OnceLock<Result<Arc<Cluster>, String>> = OnceLock::new();
    let start = || {
        let cluster = Arc::new(Cluster::start()?);
        // A static is never dropped. The kernel ends the processes with this one; this removes their folder.
        remove_when_we_end(cluster.dir.path())?;
        Ok(cluster)
    };
    let started = SHARED.get_or_init(|| start().map_err(|why: anyhow::Error| format!("{why:#}")));
    started.as_ref().map_err(|why| anyhow::anyhow!("no control plane: {why}"))
}

impl Cluster {
    /// Starts one of its own, for a test that stops parts of it.
    ///
    /// # Errors
    /// When a program is not installed or does not get ready; with the end of its log.
    pub fn start() -> Result<Self> {
        Self::begin(true)
    }

    /// The same without a [`Stub`]: pods wait for a [`crate::node`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_without_node() -> Result<Self> {
        Self::begin(false)
    }

    fn begin(with_stub: bool) -> Result<Self> {
        let dir = paths::scratch("kube")?;
        let plan = Plan::new(dir.path())?;
        let mut parts = vec![(Part::Etcd, plan.start(Part::Etcd)?), (Part::ApiServer, plan.start(Part::ApiServer)?)];
        let server = &mut parts[1].1;
        let ca = poll::until("the certificate of kube-apiserver", PATIENCE, || match fs::read(plan.ca()) {
            Ok(pem) if pem.ends_with(b"-----END CERTIFICATE-----\n") => Ok(Ok(pem)),
            _ if server.exited().is_some() => Ok(Err(anyhow::anyhow!("kube-apiserver ended: {}", server.tail(10)))),
            other => Err(format!("{:?}; {}", other.map(|pem| pem.len()), server.tail(3))),
        })??;
        let api = Api::new(&plan.url(), &plan.token, &ca)?;
        ready(&api)?;
        let kubeconfig = dir.path().join("kubeconfig");
        fs::write(&kubeconfig, plan.kubeconfig(&plan.token)?)?;
        parts.push((Part::ControllerManager, plan.start(Part::ControllerManager)?));
        let stub = if with_stub { Stub::start(api.clone())? } else { Stub::idle(api.clone()) };
        let cluster = Self { stub, api, plan, parts: Mutex::new(parts), kubeconfig, dir };
        cluster.await_account("default")?;
        Ok(cluster)
    }

    /// The kubeconfig of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A kubeconfig file for somebody else: `token` as of `kubectl create token`, `name` for the file.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(format!("kubeconfig-{name}"));
        fs::write(&path, self.plan.kubeconfig(token)?)?;
        Ok(path)
    }

    /// The same user by another way to the API server, such as a stand-in: a kubeconfig file `name` that leads to `url`.
    ///
    /// # Errors
    /// When one of the files is not to be had.
    pub fn kubeconfig_by(&self, kubeconfig: &Path, name: &str, url: &str) -> Result<PathBuf> {
        let mut config: Value = serde_json::from_str(&fs::read_to_string(kubeconfig)?)?;
        config["clusters"][0]["cluster"] = json!({ "server": url });
        let path = self.dir.path().join(format!("kubeconfig-{name}"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Makes etcd forget all versions of objects but the newest, so that watches from older ones are refused.
    ///
    /// # Errors
    /// When etcd does not.
    pub fn compact(&self) -> Result<()> {
        self.plan.compact()
    }

    /// Somebody who sees all versions of the objects of a kind of ours in a namespace, from now on.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub fn witness(&self, plural: &str, namespace: &str) -> Result<Witness> {
        Witness::start(self.plan.etcd_url(), plural, namespace)
    }

    /// The HTTP API, as an administrator.
    #[must_use]
    pub const fn api(&self) -> &Api {
        &self.api
    }

    /// The port of the API server, on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.plan.port()
    }

    /// What stands in for the nodes.
    #[must_use]
    pub const fn stub(&self) -> &Stub {
        &self.stub
    }

    /// Runs `kubectl` as an administrator and returns what it printed.
    ///
    /// # Errors
    /// When it exits non-zero; with what it said.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        said(args, &self.try_kubectl(args, "")?)
    }

    /// The same with `input` on its standard input, for `-f -`.
    ///
    /// # Errors
    /// As [`Self::kubectl`].
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Result<String> {
        said(args, &self.try_kubectl(args, input)?)
    }

    /// The same, whatever comes of it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn try_kubectl(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut command = self.kubectl_command(args)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run kubectl")?;
        // It may end without reading; its own message is the better one then.
        child.stdin.take().context("kubectl has no input")?.write_all(input.as_bytes()).ok();
        child.wait_with_output().context("cannot wait for kubectl")
    }

    /// Starts a `kubectl` that goes on, such as `get -w`; what it prints is the log of the process.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_kubectl(&self, args: &[&str]) -> Result<Process> {
        Process::start(&format!("kubectl-{}", fastrand::u32(..)), self.kubectl_command(args)?, self.dir.path())
    }

    fn kubectl_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(paths::kubernetes("kubectl")?);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        // Not in the home of whoever runs the tests.
        command.arg("--cache-dir").arg(self.dir.path().join("kubectl")).args(args);
        Ok(command)
    }

    /// `kubectl apply` of this YAML into a namespace.
    ///
    /// # Errors
    /// When it is refused; with what kubectl said.
    pub fn apply(&self, namespace: &str, yaml: &str) -> Result<String> {
        self.kubectl_with(&["-n", namespace, "apply", "-f", "-"], yaml)
    }

    /// Makes a namespace `PREFIX-…` that nobody else uses, in which pods can be made.
    ///
    /// # Errors
    /// When the API refuses, or its service account does not come.
    pub fn namespace(&self, prefix: &str) -> Result<String> {
        let suffix: String = std::iter::repeat_with(|| fastrand::char('a'..='z')).take(6).collect();
        let name = format!("{prefix}-{suffix}");
        self.api.post("/api/v1/namespaces", &json!({ "metadata": { "name": name } }))?;
        self.await_account(&name)?;
        Ok(name)
    }

    /// Installs the CRDs and the policy that `sluicegate crds` prints; once is enough, more often does no harm.
    ///
    /// # Errors
    /// When the API refuses them.
    pub fn install_crds(&self) -> Result<()> {
        let output = Command::new(paths::controller()?).arg("crds").output().context("cannot run sluicegate crds")?;
        let crds = said(&["crds"], &output)?;
        self.kubectl_with(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &crds)?;
        let all =
            ["trafficsplits", "canarydeploys", "canarytests", "judgments"].map(|it| format!("crd/{it}.sluicegate.dev"));
        let mut args = vec!["wait", "--for=condition=Established", "--timeout=60s"];
        args.extend(all.iter().map(String::as_str));
        self.kubectl(&args).map(drop)
    }

    /// Ends a part as a crash would.
    pub fn kill(&self, part: Part) {
        self.with(part, Process::kill);
    }

    /// Sends a signal to a part: SIGSTOP makes it hang, SIGCONT goes on.
    pub fn signal(&self, part: Part, signal: Signal) {
        self.with(part, |process| process.signal(signal));
    }

    /// Starts a part again on the same port and data, after [`Self::kill`]; waits until the API is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn restart(&self, part: Part) -> Result<()> {
        let process = self.plan.start(part)?;
        self.with(part, |old| *old = process);
        ready(&self.api)
    }

    fn with(&self, part: Part, act: impl FnOnce(&mut Process)) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, process)) = parts.iter_mut().find(|(one, _)| *one == part) {
            act(process);
        }
    }

    /// Without its account a namespace takes no pods; the controller manager makes it.
    fn await_account(&self, namespace: &str) -> Result<()> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        poll::until(&path, PATIENCE, || self.api.get(&path).map(drop).map_err(|why| format!("{why:#}")))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stub.stop();
        // From the top down, so that none waits for the one below.
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        while parts.pop().is_some() {}
    }
}

fn ready(api: &Api) -> Result<()> {
    poll::until("a ready kube-apiserver", PATIENCE, || match api.text("/readyz") {
        Ok(text) if text == "ok" => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

fn said(args: &[&str], output: &Output) -> Result<String> {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{args:?}: {}\n{out}{err}", output.status);
    Ok(out.into_owned())
}

/// Leaves a child behind that waits for our end of a pipe to close.
fn remove_when_we_end(dir: &Path) -> Result<()> {
    static PIPE: OnceLock<ChildStdin> = OnceLock::new();
    if std::env::var_os("KEEP_SCRATCH").is_some() {
        return Ok(());
    }
    let mut command = Command::new("sh");
    command.args(["-c", "cat >/dev/null; rm -rf \"$0\""]).arg(dir);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().context("cannot run sh")?;
    PIPE.set(child.stdin.context("sh has no input")?).ok();
    Ok(())
}
