//! The real control plane of the harness itself: what every test on Kubernetes builds on.

use anyhow::Result;
use serde_json::Value;
use sluicegate_tests::kube::stub::Health;
use sluicegate_tests::kube::{self, Cluster, PATIENCE, Part};
use sluicegate_tests::poll;

/// A Deployment of an image, with a Service in front.
fn app(name: &str, image: &str, replicas: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: {name} }}\nspec:\n  replicas: {replicas}\n  \
         selector: {{ matchLabels: {{ app: {name} }} }}\n  template:\n    metadata: {{ labels: {{ app: {name} }} }}\n    \
         spec: {{ containers: [{{ name: app, image: \"{image}\" }}] }}\n---\napiVersion: v1\nkind: Service\n\
         metadata: {{ name: {name} }}\nspec: {{ selector: {{ app: {name} }}, ports: [{{ port: 80 }}] }}\n"
    )
}

fn ready(cluster: &Cluster, namespace: &str, name: &str, wanted: u64) -> Result<Value> {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
    poll::until(&format!("{wanted} ready pods of {name}"), PATIENCE, || {
        let found = cluster.api().get(&path).map_err(|why| format!("{why:#}"))?;
        let status = &found["status"];
        let seen = status["observedGeneration"] == found["metadata"]["generation"];
        let count = status["readyReplicas"].as_u64().unwrap_or(0);
        if seen && count == wanted { Ok(found) } else { Err(status.to_string()) }
    })
}

#[test]
fn a_deployment_gets_ready_and_its_service_has_the_addresses() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = cluster.namespace("plain")?;
    cluster.apply(&namespace, &app("hello", "hello:v1", 3))?;
    ready(cluster, &namespace, "hello", 3)?;
    let slices = format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices");
    poll::until("three addresses of the service", PATIENCE, || {
        let (items, _) = cluster.api().list(&slices).map_err(|why| format!("{why:#}"))?;
        let endpoints = items.iter().flat_map(|one| one["endpoints"].as_array().into_iter().flatten());
        let count = endpoints.filter(|one| one["conditions"]["ready"] == true).count();
        if count == 3 { Ok(()) } else { Err(format!("{count}")) }
    })?;
    cluster.kubectl(&["-n", &namespace, "scale", "deployment/hello", "--replicas=1"])?;
    ready(cluster, &namespace, "hello", 1)?;
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    poll::until("one pod left", PATIENCE, || match cluster.api().list(&pods) {
        Ok((items, _)) if items.len() == 1 => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn pods_of_an_ill_image_are_not_ready_and_say_why() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = cluster.namespace("ill")?;
    let image = format!("{namespace}:v2");
    cluster.stub().health(&image, Health::CrashLoop)?;
    cluster.apply(&namespace, &app("hello", &image, 1))?;
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    poll::until("a pod that crashes", PATIENCE, || {
        let (items, _) = cluster.api().list(&pods).map_err(|why| format!("{why:#}"))?;
        let reason = &items.first().ok_or("no pod")?["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
        if reason == "CrashLoopBackOff" { Ok(()) } else { Err(reason.to_string()) }
    })?;
    ready(cluster, &namespace, "hello", 0)?;
    cluster.stub().health(&image, Health::Ready)?;
    ready(cluster, &namespace, "hello", 1).map(drop)
}

#[test]
fn the_control_plane_survives_the_loss_of_each_part() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply("default", &app("hello", "hello:v1", 1))?;
    ready(&cluster, "default", "hello", 1)?;
    for (replicas, part) in [(2, Part::ApiServer), (3, Part::Etcd), (1, Part::ControllerManager)] {
        cluster.kill(part);
        cluster.restart(part)?;
        cluster.kubectl(&["scale", "deployment/hello", &format!("--replicas={replicas}")])?;
        ready(&cluster, "default", "hello", replicas)?;
    }
    Ok(())
}
