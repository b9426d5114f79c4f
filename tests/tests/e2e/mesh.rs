//! Our manifests for Envoy Gateway and Istio, as a real API server takes them with the real CRDs of both.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::kube::{self, Cluster};
use sluicegate_tests::paths;

const ROUTES: [(&str, &[&str]); 4] = [
    ("envoy-gateway", &["shop/checkout", "--gateway", "infra/public", "--header", "X-My-Subset", "--port", "8080"]),
    ("envoy-gateway", &["web", "--gateway", "public", "--subset", "v1", "--subset", "v2", "--selector", "run=web"]),
    ("istio", &["web"]),
    (
        "istio",
        &[
            "shop/checkout",
            "--gateway",
            "infra/public",
            "--host",
            "*.example.com",
            "--role-label",
            "example.com/app-role",
        ],
    ),
];

pub(super) fn install(cluster: &Cluster) -> Result<()> {
    let dir = paths::mesh_crds()?;
    let dir = dir.to_str().context("a path")?;
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", dir])?;
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", dir]).ok();
    for namespace in ["envoy-gateway-system", "istio-system", "shop"] {
        cluster.try_kubectl(&["create", "namespace", namespace], "")?;
    }
    Ok(())
}

fn routes(proxy: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(paths::controller()?).args(["routes", "--for", proxy]).args(args).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "routes --for {proxy} {args:?}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

#[test]
fn manifests_and_routes_are_taken_by_the_real_crds() -> Result<()> {
    const DRY: [&str; 5] = ["apply", "--server-side", "--dry-run=server", "--validate=strict", "-f"];
    let cluster = kube::shared()?;
    install(cluster)?;
    let mut files = 0;
    for folder in ["envoy-gateway", "istio"] {
        for entry in fs::read_dir(paths::repo().join("examples").join(folder))? {
            let path = entry?.path();
            let path = path.to_str().context("a path")?;
            let said = cluster.kubectl(&[&DRY[..], &[path]].concat()).with_context(|| path.to_owned())?;
            ensure!(said.contains("serverside-applied (server dry run)"), "{said}");
            files += 1;
        }
    }
    ensure!(files >= 5, "{files} files");
    for (proxy, args) in ROUTES {
        let yaml = routes(proxy, args)?;
        cluster.kubectl_with(&[&DRY[..], &["-"]].concat(), &yaml).with_context(|| yaml.clone())?;
    }
    // The CRDs do look: a field that is none of theirs is refused.
    let wrong = routes("istio", &["web"])?.replace("exact:", "equals:");
    let output = cluster.try_kubectl(&[&DRY[..], &["-"]].concat(), &wrong)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success() && said.contains("equals"), "{said}");
    Ok(())
}

#[test]
fn routes_that_would_not_work_are_not_printed() -> Result<()> {
    for (proxy, args, part) in [
        ("envoy-gateway", &["web"][..], "--gateway"),
        ("istio", &["web", "--header", "host"], "has a meaning of its own in HTTP"),
        ("istio", &["web", "--header", "x_subset"], "has an underscore"),
        ("istio", &["web", "--host", "a.com:80"], "without port"),
        ("istio", &["web", "--subset", "V1"], "must be 1 to 63"),
        ("istio", &["web", "--gateway", "a/b/c"], "NAME, or NAMESPACE/NAME"),
        ("istio", &["web", "--selector", "app"], "KEY=VALUE"),
        ("istio", &["web", "--role-label", "a b"], "example.com/app"),
        ("nginx", &["web"], "envoy-gateway, istio"),
    ] {
        let said = routes(proxy, args).err().map(|why| why.to_string()).unwrap_or_default();
        ensure!(said.contains(part), "{proxy} {args:?}: {said}");
    }
    Ok(())
}
