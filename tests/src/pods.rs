//! Pods as processes, started and stopped by `tests/workloads.sh`, and the clusters of an Envoy that finds them by EDS.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{self, Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{client, envoy_config, paths, poll};

/// The groups of pods, as the subsets of the split are called.
pub const ROLES: [&str; 3] = ["canary", "main", "baseline"];

/// The folder that `workloads.sh` works in. When it goes, so do the pods.
#[derive(Debug)]
pub struct Pods {
    dir: TempDir,
}

impl Pods {
    /// So many pods of main, of version `v1`, which has nothing wrong; all of them answer.
    ///
    /// # Errors
    /// When they do not get ready.
    pub fn start(replicas: u32) -> Result<Self> {
        Self::start_as("v1", "", replicas)
    }

    /// The same with another version, and these options of the program `pod`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_as(version: &str, options: &str, replicas: u32) -> Result<Self> {
        let pods = Self { dir: paths::scratch("pods")? };
        fs::create_dir(pods.dir().join("versions"))?;
        symlink(paths::built("pod")?, pods.dir().join("pod"))?;
        pods.add_version(version, options)?;
        let replicas = replicas.to_string();
        pods.ask(&[
            ("SLUICEGATE_DO", "apply"),
            ("SLUICEGATE_ROLE", "main"),
            ("SLUICEGATE_VERSION", version),
            ("SLUICEGATE_REPLICAS", &replicas),
        ])?;
        poll::until("pods of main", poll::LONG, || {
            let seen = pods.observe().map_err(|why| format!("{why:#}"))?;
            if seen["main"]["ready"] == seen["main"]["replicas"] { Ok(()) } else { Err(seen.to_string()) }
        })?;
        Ok(pods)
    }

    /// From now on there is a version with these options of the program `pod`, such as `--errors 5%`.
    ///
    /// # Errors
    /// When the folder is not writable.
    pub fn add_version(&self, version: &str, options: &str) -> Result<()> {
        // A run that is killed leaves its folder behind, and must not leave pods.
        let options = format!("--owner {} {options}\n", process::id());
        fs::write(self.dir().join("versions").join(version), options).context("cannot write a version")
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// `workloads.command` of a rollout: a list in YAML.
    #[must_use]
    pub fn command(&self) -> String {
        json!([script(), self.dir()]).to_string()
    }

    /// What the command says there is.
    ///
    /// # Errors
    /// When it does not work.
    pub fn observe(&self) -> Result<Value> {
        self.ask(&[("SLUICEGATE_DO", "observe")])
    }

    fn ask(&self, variables: &[(&str, &str)]) -> Result<Value> {
        let output = Command::new(script()).arg(self.dir()).envs(variables.iter().copied()).output();
        let output = output.context("cannot run workloads.sh")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "workloads.sh: {}: {said}{complaint}", output.status);
        serde_json::from_str(&said).with_context(|| format!("workloads.sh said {said}{complaint}"))
    }

    /// The pods of a role by name, such as `canary-v2-7`, with the address of those that listen.
    #[must_use]
    pub fn of(&self, role: &str) -> Vec<(String, Option<SocketAddr>)> {
        let entries = fs::read_dir(self.dir().join("pods").join(role)).into_iter().flatten().flatten();
        let pod = |entry: fs::DirEntry| {
            let address = fs::read_to_string(entry.path()).ok().and_then(|text| text.trim().parse().ok());
            (entry.file_name().to_string_lossy().into_owned(), address)
        };
        let mut pods: Vec<_> = entries.map(pod).collect();
        pods.sort();
        pods
    }

    /// Waits until a pod that was listening there has ended.
    ///
    /// # Errors
    /// When it still answers.
    pub fn await_end(&self, address: SocketAddr) -> Result<()> {
        let what = format!("the pod at {address} to end");
        poll::until(&what, poll::LONG, || if client::get(address, "/").is_err() { Ok(()) } else { Err("it answers") })
    }

    /// The cluster of a role, as xDS JSON.
    #[must_use]
    pub fn cluster(&self, role: &str) -> Value {
        envoy_config::cluster_by_eds(role, &self.dir().join("endpoints").join(format!("{role}.json")))
    }
}

fn script() -> std::path::PathBuf {
    paths::repo().join("tests/workloads.sh")
}
