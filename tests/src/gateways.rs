//! A cluster in which gateways run as their makers ship them: a real control plane, a [`crate::node`] that runs the pods of their
//! charts, and the commands of `docs/KUBERNETES.md` as a person types them.
//!
//! In: commands. Out: what they print, requests through the gateway, and when something is wrong the logs of all pods.

pub mod document;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::kube::Cluster;
use crate::load::{Limits, Load, Tally};
use crate::node::{Image, Node};
use crate::steady::Steady;
use crate::{paths, poll};

/// How long a change may take through all control planes, on a busy machine.
pub const PATIENCE: Duration = Duration::from_mins(2);
/// Connections of a counted load.
const CONNECTIONS: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct Gateways {
    /// Its pods and Services; ends before the control plane.
    pub node: Node,
    /// The control plane.
    pub cluster: Cluster,
    /// Programs by the names that a person types, and a home for what they keep.
    home: TempDir,
}

impl Gateways {
    /// An empty cluster.
    ///
    /// # Errors
    /// When a program is not installed or does not start.
    pub fn start() -> Result<Self> {
        let images = images()?;
        let cluster = Cluster::start_without_node()?;
        let node = Node::start(cluster.api(), cluster.port(), Box::new(move |name| image(&images, name)))?;
        let home = paths::scratch("home")?;
        let controller = paths::controller()?;
        for (name, program) in [
            ("kubectl", paths::kubernetes("kubectl")?),
            ("helm", paths::helm()?),
            ("sluicegate", controller.clone()),
            ("kubectl-sluicegate", controller),
        ] {
            symlink(fs::canonicalize(program)?, home.path().join(name))?;
        }
        Ok(Self { node, cluster, home })
    }

    /// Runs a command line in the root of the repository, as in a terminal, and returns what it printed.
    ///
    /// # Errors
    /// When a part of it fails; with what it said.
    pub fn sh(&self, command: &str) -> Result<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", command]).current_dir(paths::repo());
        bash.env("PATH", format!("{}:{path}", self.home.path().display()));
        bash.env("HOME", self.home.path()).env("KUBECONFIG", self.cluster.kubeconfig()).env_remove("SLUICEGATE_ADMIN");
        let output = bash.output().context("cannot run bash")?;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "{command}: {}\n{out}{err}", output.status);
        Ok(out.into_owned())
    }

    /// `kubectl apply` of this YAML into the namespace `default`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.cluster.apply("default", yaml)
    }

    /// An object, by the path of its API.
    ///
    /// # Errors
    /// When it is not there.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.cluster.api().get(path)
    }

    /// Waits until an object says so, and returns it.
    ///
    /// # Errors
    /// When it does not come; with its status as last seen.
    pub fn until(&self, what: &str, path: &str, mut says: impl FnMut(&Value) -> bool) -> Result<Value> {
        poll::until(what, PATIENCE, || {
            let object = self.get(path).map_err(|why| format!("{why:#}"))?;
            if says(&object) { Ok(object) } else { Err(object["status"].to_string()) }
        })
    }

    /// Where a Gateway of `default` is reached: its address, and this port.
    ///
    /// # Errors
    /// When it has none.
    pub fn gateway(&self, name: &str, port: u16) -> Result<SocketAddr> {
        let path = format!("/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/{name}");
        let gateway = self.until("the address of the gateway", &path, |o| o["status"]["addresses"][0].is_object())?;
        let address = gateway["status"]["addresses"][0]["value"].as_str().unwrap_or_default();
        Ok(SocketAddr::new(address.parse().with_context(|| address.to_owned())?, port))
    }

    /// What helps to find out what went wrong: all pods, and the last words of those of the gateway and of the controller.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = self.cluster.kubectl(&["get", "pods,splits", "-A"]).unwrap_or_default();
        for (namespace, container) in [
            ("envoy-gateway-system", "envoy-gateway"),
            ("envoy-gateway-system", "envoy"),
            ("istio-system", "discovery"),
            ("istio-system", "istio-proxy"),
            ("default", "istio-proxy"),
            ("sluicegate-system", "sluicegate"),
        ] {
            let log = self.node.kubelet.log(namespace, "", container);
            let lines: Vec<&str> = log.lines().collect();
            if lines.is_empty() {
                continue;
            }
            words += &format!("--- end of the log of {namespace}/*/{container} ---\n");
            for line in &lines[lines.len().saturating_sub(15)..] {
                words += &line.chars().take(400).collect::<String>();
                words.push('\n');
            }
        }
        words
    }
}

/// A host behind a gateway.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where the gateway listens.
    pub at: SocketAddr,
    /// The host asked for.
    pub host: String,
}

impl Site {
    /// Sends so many requests with these header lines (each ended by CR LF), and counts the answers.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn ask(&self, count: u64, header_lines: &str) -> Result<Tally> {
        Load::to_host(self.at, CONNECTIONS, &self.host, header_lines)?.run(&Limits::count(count))
    }

    /// Where requests go to, at so many a second.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn load(&self, rate: f64) -> Result<Steady> {
        Steady::start_to_host(self.at, &self.host, rate)
    }

    /// Waits until all of some requests are answered with 200.
    ///
    /// # Errors
    /// When that does not come; with the statuses as last seen.
    pub fn await_answers(&self) -> Result<()> {
        poll::until(&format!("answers for {}", self.host), PATIENCE, || match self.ask(16, "") {
            Ok(tally) if tally.failures() == 0 => Ok(()),
            Ok(tally) => Err(format!("{:?}", tally.statuses)),
            Err(why) => Err(format!("{why:#}")),
        })
    }
}

/// Answers by the group of their pods: the part of the pods' names before those of ReplicaSet and pod.
#[must_use]
pub fn by_workload(tally: &Tally) -> std::collections::BTreeMap<String, u64> {
    let mut counts = std::collections::BTreeMap::new();
    for (pod, number) in &tally.pods {
        let workload = pod.rsplitn(3, '-').last().unwrap_or_default();
        *counts.entry(workload.to_owned()).or_default() += number;
    }
    counts
}

/// What the images are here, by a part of their names.
fn images() -> Result<Vec<(&'static str, Image)>> {
    let local = |name: &str, path: PathBuf| (format!("/usr/local/bin/{name}"), path);
    let of = |name: &str, path: PathBuf| Image {
        entrypoint: vec![name.to_owned()],
        files: vec![local(name, path)],
        args: Vec::new(),
    };
    let controller = Image {
        entrypoint: vec!["/sluicegate".to_owned()],
        args: Vec::new(),
        files: vec![
            ("/sluicegate".to_owned(), paths::controller()?),
            ("/sluicegate.wasm".to_owned(), paths::wasm("sluicegate.wasm")?),
        ],
    };
    let mut app = of("pod", paths::built("pod")?);
    app.args = ["--listen", "0.0.0.0:8080"].map(str::to_owned).to_vec();
    let mut all = vec![("sluicegate:", controller), ("registry.local/hello:", app)];
    if let Ok(release) = paths::envoy_gateway() {
        all.push(("envoyproxy/gateway:", of("envoy-gateway", release.join("envoy-gateway"))));
        all.push(("envoyproxy/envoy:distroless-v1.39.", of("envoy", paths::envoy_of("1.39")?)));
    }
    if let Ok(release) = paths::istio() {
        let mut proxy = of("pilot-agent", release.join("pilot-agent"));
        let template = "envoy_bootstrap_tmpl.json";
        proxy.files.push(local("envoy", fs::canonicalize(paths::envoy()?)?));
        proxy.files.push((format!("/var/lib/istio/envoy/{template}"), release.join(template)));
        all.push(("istio/pilot:", of("pilot-discovery", release.join("pilot-discovery"))));
        all.push(("istio/proxyv2:", proxy));
    }
    Ok(all)
}

/// `registry.local/hello:v3` fails, and any other version of it does not.
fn image(images: &[(&'static str, Image)], name: &str) -> Option<Image> {
    let mut image = images.iter().find(|(part, _)| name.contains(part))?.1.clone();
    if name == "registry.local/hello:v3" {
        image.args.extend(["--errors", "20%"].map(str::to_owned));
    }
    Some(image)
}
