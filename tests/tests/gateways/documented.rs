//! What docs/KUBERNETES.md tells its reader to do, done; and more services by the same manifests.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use sluicegate_tests::gateways::Gateways;
use sluicegate_tests::gateways::document::{self, Step};
use sluicegate_tests::paths;

/// Its last section.
pub(crate) const ROLLOUT: &str = "A first rollout";

/// Does what a section says, with a shorter hold.
pub(crate) fn follow(gateways: &Gateways, section: &str) -> Result<()> {
    let markdown = fs::read_to_string(paths::repo().join("docs/KUBERNETES.md"))?;
    ensure!(markdown.contains("hold: 2m"), "the hold of the documented rollout is another one");
    for step in document::steps(&markdown.replace("hold: 2m", "hold: 2s"), section)? {
        match step {
            Step::Type(lines) => gateways.sh(&lines)?,
            Step::Apply(yaml) => gateways.apply(&yaml)?,
        };
    }
    Ok(())
}

/// A file of examples/ for another service than `hello-app`, reached from outside as `NAME.example.com`.
pub(crate) fn example(file: &str, name: &str) -> Result<String> {
    let path = paths::repo().join("examples").join(file);
    let yaml = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(yaml.replace("hello-app", name).replace("hello.example.com", &format!("{name}.example.com")))
}

/// The documented Deployment under another name, with so many pods.
pub(crate) fn deployment(name: &str, replicas: u32) -> Result<String> {
    let yaml = example("hello-app.yaml", name)?;
    ensure!(yaml.contains("replicas: 4"), "hello-app.yaml has changed");
    Ok(yaml.replace("replicas: 4", &format!("replicas: {replicas}")))
}

/// The same as a canary of version 2 that no rollout leads.
pub(crate) fn canary(name: &str) -> Result<String> {
    let named = |name: &str| format!("metadata: {{ name: {name} }}");
    let yaml = deployment(name, 2)?.replace(&named(name), &named(&format!("{name}-canary")));
    Ok(yaml.replace("dev/role: main", "dev/role: canary").replace("hello:v1", "hello:v2"))
}
