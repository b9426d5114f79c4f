//! The Helm charts, rendered by the real Helm and taken by the real API server.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::kube::{self, Cluster};
use sluicegate_tests::paths;

/// What Helm printed, or why it did not.
pub(crate) fn helm(args: &[&str]) -> Result<Result<String, String>> {
    let output =
        Command::new(paths::helm()?).current_dir(paths::repo()).args(args).output().context("cannot run helm")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

fn template(chart: &str, name: &str, namespace: &str, sets: &[&str]) -> Result<String> {
    let mut args = vec!["template", name, chart, "--namespace", namespace];
    for set in sets {
        args.extend(["--set", set]);
    }
    helm(&args)?.map_err(|why| anyhow::anyhow!("helm {args:?}: {why}"))
}

/// The objects in what Helm rendered; the API server fills in what is not said, and nothing is kept.
fn dry_run(cluster: &Cluster, namespace: &str, yaml: &str) -> Result<Vec<Value>> {
    let args =
        ["-n", namespace, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-"];
    let mut list: Value = serde_json::from_str(&cluster.kubectl_with(&args, yaml).with_context(|| yaml.to_owned())?)?;
    Ok(match list["items"].take() {
        Value::Array(items) => items,
        _ => vec![list],
    })
}

fn weights(split: &Value) -> String {
    let subsets = split["spec"]["subsets"].as_array().into_iter().flatten();
    let each = subsets.map(|one| format!("{}={}", one["name"].as_str().unwrap_or_default(), one["weight"]));
    each.collect::<Vec<_>>().join(" ")
}

#[test]
fn charts_have_nothing_that_lint_complains_of() -> Result<()> {
    for args in
        [&["charts/sluicegate"][..], &["charts/service"], &["charts/service", "--set", "proxy=envoy-gateway,gateway=g"]]
    {
        let said = helm(&[&["lint", "--strict"], args].concat())?;
        ensure!(said.is_ok(), "{said:?}");
    }
    Ok(())
}

#[test]
fn the_chart_of_the_controller_is_taken_in_every_shape() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = cluster.namespace("chart")?;
    let narrow = format!("namespace={namespace}");
    for sets in [
        &[][..],
        &[&narrow, "proxy.tlsSecret=tls", "proxy.tokenSecret=tokens", "replicas=3"],
        &["metrics.port=9090", "networkPolicy.monitoring[0].podSelector.matchLabels.app=prometheus"],
        &["networkPolicy.enabled=false", "podAnnotations.a=b", "nodeSelector.a=b", "imagePullSecrets[0].name=pull"],
    ] {
        dry_run(cluster, &namespace, &template("charts/sluicegate", "sluicegate", &namespace, sets)?)?;
    }
    let refused = template("charts/sluicegate", "sluicegate", &namespace, &["serviceMonitor.enabled=true"]);
    ensure!(refused.is_err_and(|why| format!("{why:#}").contains("lets nobody reach the metrics")));
    let sets = ["serviceMonitor.enabled=true", "networkPolicy.monitoring[0].podSelector.matchLabels.app=prometheus"];
    let monitor = template("charts/sluicegate", "sluicegate", &namespace, &sets)?;
    ensure!(monitor.contains("kind: ServiceMonitor") && monitor.contains("path: /metrics"), "{monitor}");
    // What changes weights is for nobody but the pod itself.
    ensure!(monitor.contains("--admin-listen=127.0.0.1:7071") && !monitor.contains("containerPort: 7071"), "{monitor}");
    Ok(())
}

#[test]
fn the_pods_of_the_controller_may_run_where_policy_is_restricted() -> Result<()> {
    let cluster = kube::shared()?;
    let namespace = cluster.namespace("restricted")?;
    cluster.kubectl(&["label", "namespace", &namespace, "pod-security.kubernetes.io/enforce=restricted"])?;
    let kubeconfig = cluster.kubeconfig().to_str().context("a path")?;
    let name = namespace.as_str();
    let mut args = vec!["install", name, "charts/sluicegate", "--namespace", name, "--kubeconfig", kubeconfig];
    args.extend(["--wait", "--timeout", "60s"]);
    let said = helm(&args)?;
    ensure!(said.is_ok(), "{said:?}");
    let pods = cluster.api().list(&format!("/api/v1/namespaces/{name}/pods"))?.0;
    ensure!(pods.len() == 2, "{pods:#?}");
    let container = &pods[0]["spec"]["containers"][0];
    ensure!(container["securityContext"]["readOnlyRootFilesystem"] == true, "{container:#}");
    let said = helm(&["uninstall", name, "--namespace", name, "--kubeconfig", kubeconfig, "--wait"])?;
    ensure!(said.is_ok(), "{said:?}");
    // The CRDs stay, or all rollouts would go with them.
    cluster.kubectl(&["get", "crd", "trafficsplits.sluicegate.dev"]).map(drop)
}

#[test]
fn the_role_of_the_chart_has_what_it_lists_and_no_more() -> Result<()> {
    let cluster = kube::shared()?;
    let (home, other) = (cluster.namespace("home")?, cluster.namespace("other")?);
    cluster.install_crds()?;
    let yaml = helm(&[
        "template",
        "narrow",
        "charts/sluicegate",
        "--namespace",
        &home,
        "--set",
        &format!("namespace={home}"),
    ])?;
    let yaml = yaml.map_err(anyhow::Error::msg)?;
    cluster.kubectl_with(&["-n", &home, "apply", "-f", "-"], &yaml)?;
    let who = format!("--as=system:serviceaccount:{home}:narrow");
    let may = |verb: &str, what: &str, namespace: &str| -> Result<bool> {
        Ok(cluster.try_kubectl(&["auth", "can-i", verb, what, "-n", namespace, &who], "")?.status.success())
    };
    for (verb, what, here, there) in [
        ("patch", "canarydeploys.sluicegate.dev", true, false),
        ("patch", "canarydeploys.sluicegate.dev/status", true, false),
        ("delete", "canarydeploys.sluicegate.dev", false, false),
        ("create", "judgments.sluicegate.dev", true, false),
        ("create", "deployments.apps", true, false),
        ("delete", "deployments.apps", false, false),
        ("list", "pods", true, false),
        ("create", "pods", false, false),
        ("get", "secrets", false, false),
        ("create", "pods/exec", false, false),
        ("update", "leases.coordination.k8s.io/sluicegate", true, false),
        ("update", "leases.coordination.k8s.io/other", false, false),
        ("create", "rolebindings.rbac.authorization.k8s.io", false, false),
    ] {
        ensure!(may(verb, what, &home)? == here, "{verb} {what} at home should be {here}");
        ensure!(may(verb, what, &other)? == there, "{verb} {what} elsewhere should be {there}");
    }
    Ok(())
}

#[test]
fn the_chart_of_a_service_splits_as_the_pattern_says() -> Result<()> {
    let cluster = kube::shared()?;
    super::mesh::install(cluster)?;
    cluster.install_crds()?;
    let namespace = cluster.namespace("service")?;
    for (sets, wanted) in [
        (&[][..], "canary=0 main=100 baseline=0"),
        (&["canaryWeight=1"], "canary=1 main=98 baseline=1"),
        (&["canaryWeight=50"], "canary=50 main=0 baseline=50"),
        (&["canaryTest=true"], "canary=0 main=100 baseline=0"),
        (&["canaryTest=true", "canaryWeight=5"], "canary=5 main=95 baseline=0"),
    ] {
        for more in [&[][..], &["gateway=public"], &["gateway=public", "proxy=envoy-gateway"], &["proxy=none"]] {
            let yaml = template("charts/service", "hello-app", &namespace, &[sets, more].concat())?;
            let all = dry_run(cluster, &namespace, &yaml)?;
            let splits: Vec<&Value> = all.iter().filter(|one| one["kind"] == "TrafficSplit").collect();
            ensure!(splits.len() == if more.contains(&"gateway=public") { 2 } else { 1 }, "{more:?}: {}", splits.len());
            for split in splits {
                ensure!(weights(split) == wanted, "{sets:?}: {}", weights(split));
            }
        }
    }
    for (set, part) in [
        ("canaryWeight=51", "maximum"),
        ("canaryWeigth=5", "canaryWeigth"),
        ("proxy=envoy-gateway", "needs the Gateway"),
    ] {
        let refused = template("charts/service", "hello-app", &namespace, &[set])
            .err()
            .map(|why| format!("{why:#}"))
            .unwrap_or_default();
        ensure!(refused.contains(part), "{set}: {refused}");
    }
    Ok(())
}
