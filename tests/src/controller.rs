//! The real controller as a child process, its folder, and its CLI.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::{client, paths, poll};

/// A running `sluicegate serve --dir …`. Its folders outlive it, see [`Self::restart`].
#[derive(Debug)]
pub struct Controller {
    process: Process,
    dir: Arc<TempDir>,
    /// In place of its folders: a kubeconfig and a namespace.
    cluster: Option<(PathBuf, String)>,
    /// Where filters connect to.
    pub proxy: SocketAddr,
    /// Where people and the CLI connect to.
    pub admin: SocketAddr,
    starts: u32,
}

impl Controller {
    /// Starts it on free ports with these files (name, YAML) in its folder.
    ///
    /// # Errors
    /// When it does not start; with the end of its log.
    pub fn start(files: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(files, &[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(files: &[(&str, &str)], args: &[&str]) -> Result<Self> {
        Self::begin(files, args, None)
    }

    /// The same with a state folder on a file system of its own that holds so many KiB; see [`Self::state`]. Fails where
    /// this user may not make namespaces.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on_small_disk(files: &[(&str, &str)], args: &[&str], kib: u32) -> Result<Self> {
        Self::begin(files, args, Some(kib))
    }

    fn begin(files: &[(&str, &str)], args: &[&str], disk: Option<u32>) -> Result<Self> {
        let dir = Arc::new(paths::scratch("controller")?);
        fs::create_dir(dir.path().join("splits"))?;
        fs::create_dir(dir.path().join("state"))?;
        for (name, yaml) in files {
            paths::write_atomically(&dir.path().join("splits").join(name), yaml)?;
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::launch(dir, None, any, any, args, 1, disk)
    }

    /// Starts it on one namespace of a cluster, as the user of this kubeconfig.
    ///
    /// # Errors
    /// When it does not start; with the end of its log.
    pub fn start_in_cluster(kubeconfig: &Path, namespace: &str, args: &[&str]) -> Result<Self> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let cluster = Some((kubeconfig.to_owned(), namespace.to_owned()));
        Self::launch(Arc::new(paths::scratch("controller")?), cluster, any, any, args, 1, None)
    }

    /// Starts it again on the same folders and ports, after [`Self::kill`] or [`Self::stop`].
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.restart_with(&[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart_with(&mut self, args: &[&str]) -> Result<()> {
        self.process.kill();
        *self = Self::launch(
            Arc::clone(&self.dir),
            self.cluster.clone(),
            self.proxy,
            self.admin,
            args,
            self.starts + 1,
            None,
        )?;
        Ok(())
    }

    fn launch(
        dir: Arc<TempDir>,
        cluster: Option<(PathBuf, String)>,
        proxy: SocketAddr,
        admin: SocketAddr,
        args: &[&str],
        starts: u32,
        disk: Option<u32>,
    ) -> Result<Self> {
        let mut command = match disk {
            None => Command::new(paths::controller()?),
            Some(kib) => small_disk(&dir.path().join("state"), kib)?,
        };
        command.arg("serve");
        match &cluster {
            Some((kubeconfig, namespace)) => {
                command.env("KUBECONFIG", kubeconfig).args(["--kube", "--namespace", namespace]);
            }
            None => {
                command.arg("--dir").arg(dir.path().join("splits")).arg("--state").arg(dir.path().join("state"));
            }
        }
        command.args(["--proxy-listen", &proxy.to_string(), "--admin-listen", &admin.to_string()]).args(args);
        command.env("NO_COLOR", "1");
        let mut process = Process::start(&format!("controller-{starts}"), command, dir.path())?;
        let proxy = address(&process.wait_log("proxy_listen=", poll::LONG)?, "proxy_listen=")?;
        let admin = address(&process.wait_log("admin_listen=", poll::LONG)?, "admin_listen=")?;
        Ok(Self { process, dir, cluster, proxy, admin, starts })
    }

    /// The process: its log, signals.
    pub const fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its folder of YAML.
    #[must_use]
    pub fn splits(&self) -> PathBuf {
        self.dir.path().join("splits")
    }

    /// Its state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The same as the process sees it, whatever is mounted there for it alone.
    #[must_use]
    pub fn own_state(&self) -> PathBuf {
        let state = self.state();
        let below = state.strip_prefix("/").unwrap_or(&state);
        PathBuf::from(format!("/proc/{}/root", self.process.pid())).join(below)
    }

    /// Writes a file into its folder, whole at once.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn write(&self, name: &str, yaml: &str) -> Result<()> {
        paths::write_atomically(&self.splits().join(name), yaml)
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to stop and waits.
    ///
    /// # Errors
    /// When it does not end in time or not with status 0.
    pub fn stop(&mut self) -> Result<()> {
        let status = self.process.stop(poll::LONG)?;
        ensure!(status.success(), "the controller ended with {status}:\n{}", self.process.tail(10));
        Ok(())
    }

    /// JSON from its admin port, such as `/v1/proxies`.
    ///
    /// # Errors
    /// When there is no 200 with JSON.
    pub fn json(&self, target: &str) -> Result<Value> {
        let answer = client::get(self.admin, target)?;
        ensure!(answer.status == 200, "{target}: status {}: {:.300}", answer.status, answer.text());
        answer.json()
    }

    /// Runs the CLI against it and returns what it printed.
    ///
    /// # Errors
    /// When it exits non-zero; with what it said.
    pub fn cli(&self, args: &[&str]) -> Result<String> {
        let output = self.try_cli(args)?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "sluicegate {args:?}: {}\n{out}{err}", output.status);
        Ok(out.into_owned())
    }

    /// Runs the CLI against it, whatever comes of it.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn try_cli(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(paths::controller()?);
        command.args(args).args(["--admin", &format!("http://{}", self.admin)]);
        command.output().context("cannot run the CLI")
    }

    /// Writes or replaces a split `default/NAME`: subsets with weights, the first is the default. More of the spec in `extra`
    /// (YAML lines without indentation).
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn write_split(&self, name: &str, subsets: &[(&str, u64)], extra: &str) -> Result<()> {
        self.write(&format!("{name}.yaml"), &split_yaml(name, subsets, extra))
    }
}

/// The program behind a mount of so many KiB at `state` that nobody else sees.
fn small_disk(state: &Path, kib: u32) -> Result<Command> {
    let mount = r#"mount -t tmpfs -o "size=$1k" tmpfs "$2" && shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh", &kib.to_string()]).arg(state);
    command.arg(paths::controller()?);
    Ok(command)
}

/// The YAML of a `TrafficSplit`: see [`Controller::write_split`].
#[must_use]
pub fn split_yaml(name: &str, subsets: &[(&str, u64)], extra: &str) -> String {
    let list: Vec<String> =
        subsets.iter().map(|(subset, weight)| format!("{{ name: {subset}, weight: {weight} }}")).collect();
    let default = subsets.first().map_or("main", |(subset, _)| subset);
    let extra: String = extra.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: TrafficSplit\nmetadata: {{ name: {name} }}\nspec:\n  subsets: [{}]\n  default: {default}\n{extra}",
        list.join(", ")
    )
}

pub(crate) fn address(line: &str, field: &str) -> Result<SocketAddr> {
    let after = line.split(field).nth(1).unwrap_or_default();
    let text: String =
        after.chars().skip_while(|c| *c == '"').take_while(|c| c.is_ascii_hexdigit() || ".:[]".contains(*c)).collect();
    text.parse().with_context(|| format!("no address after {field} in: {line}"))
}

/// The names of the files of a folder, sorted; folders in it are left out.
///
/// # Errors
/// When it cannot be read.
pub fn files_in(dir: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}
