//! Rollouts whose controllers, API server and etcd are killed, stopped and cut off under load: they resume, no step is skipped
//! or judged twice, no weight is published that the plan does not contain, and no request fails.

mod chronicle;
mod killed;
mod stopped;

use super::{service_account, splits};
use anyhow::{Context as _, Result, ensure};
use chronicle::Chronicle;
use sluicegate_tests::kube::Cluster;
use sluicegate_tests::kube_lab::{KubeLab, rollout_yaml};
use std::path::PathBuf;
use std::sync::Arc;

/// Requests per second.
const RATE: f64 = 300.0;
const REPLICAS: u32 = 4;

/// A CanaryDeploy of this image that judges by itself.
fn automatic(image: &str) -> String {
    let spec = "  steps: [1, 10, 25, 50]\n  hold: 1s\n  deadline: 5m\n  judge: { errors: {}, minRequests: 20 }\n";
    rollout_yaml("CanaryDeploy", image, spec)
}

/// A namespace with the account of the chart.
fn account(cluster: &Cluster, prefix: &str) -> Result<(String, PathBuf)> {
    cluster.install_crds()?;
    let namespace = cluster.namespace(prefix)?;
    let kubeconfig = service_account(cluster, &namespace)?;
    Ok((namespace, kubeconfig))
}

/// So many controllers, and somebody who writes down all that they write.
fn lab(cluster: &Arc<Cluster>, prefix: &str, controllers: usize) -> Result<(KubeLab, Chronicle)> {
    let (namespace, kubeconfig) = account(cluster, prefix)?;
    let lab = KubeLab::start_as(cluster, &namespace, REPLICAS, &vec![kubeconfig.as_path(); controllers])?;
    let chronicle = Chronicle::start(&lab).context("nobody writes it down")?;
    Ok((lab, chronicle))
}

/// What a proxy that was never here before is told by a controller: the weight of the canary.
fn told_to_a_new_proxy(lab: &KubeLab, canary: u32) -> Result<()> {
    let answer = splits::sync(&format!("{}/hello", lab.namespace), lab.controller.proxy)?.to_string();
    let expected = format!(r#""name":"canary","weight":{canary}"#);
    ensure!(answer.contains(&expected), "no {expected} in {answer}");
    Ok(())
}

fn is_in(phase: &str) -> impl Fn(&serde_json::Value) -> bool {
    let phase = phase.to_owned();
    move |object| object["status"]["phase"] == phase.as_str()
}
