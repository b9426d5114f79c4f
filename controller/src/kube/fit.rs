//! What a document may not say in a cluster. Pure.

use crate::{
    api::{
        accept_rollout::Deploy,
        document::{Document, Meaning, Problem},
    },
    workloads::Care,
};
use std::path::{Component, Path, PathBuf};

/// Otherwise whoever may edit a rollout could have the controller send its own token somewhere.
const BELOW: &str =
    "files are seen from the folder that is mounted for them; write a path without / at the beginning and without ..";

/// The document, or why it is refused here though a folder would take it.
pub fn fit(mut document: Document) -> Document {
    let wrong = match (&document.meaning, &document.name) {
        (Ok(Meaning::Deploy(deploy)), Some(name)) => {
            let splits = deploy.splits.iter().map(|(split, _)| split.as_str());
            let elsewhere = files(deploy).find(|path| !is_below(path));
            let elsewhere = elsewhere.map(|path| format!("{}: {BELOW}", path.display()));
            elsewhere.or_else(|| wrong(name, &Care::of_deploy(deploy), splits))
        }
        (Ok(Meaning::Test(test)), Some(name)) => {
            wrong(name, &Care::of_test(test), test.splits.iter().map(String::as_str))
        }
        _ => None,
    };
    if let Some(message) = wrong {
        document.meaning = Err(Problem { place: document.place, reason: "NotSupported", message });
    }
    document
}

/// The files that the controller reads for a rollout.
fn files(deploy: &Deploy) -> impl Iterator<Item = &PathBuf> {
    let hooks = deploy.webhooks.iter().flat_map(|hook| [&hook.secret_file, &hook.ca_file]);
    let source = deploy.judging.prometheus.iter().flat_map(|source| [&source.token_file, &source.ca_file]);
    hooks.chain(source).flatten()
}

/// It cannot lead out of the folder it is seen from.
fn is_below(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

fn wrong<'a>(name: &str, care: &Care, mut splits: impl Iterator<Item = &'a str>) -> Option<String> {
    if care.command.is_some() {
        return Some(
            "spec.workloads: no commands are run in a cluster; leave it out, and name the Deployment with workload \
             and images"
                .to_owned(),
        );
    }
    if care.workload.is_some() && care.containers.is_empty() && care.content.is_none() {
        return Some(
            "spec.version: a Deployment's version is made of its images; write images: { CONTAINER: IMAGE } instead"
                .to_owned(),
        );
    }
    let namespace = |name: &str| name.split('/').next().map(str::to_owned);
    let foreign = splits.find(|split| namespace(split) != namespace(name))?;
    Some(format!(
        "spec.splits: {foreign} is in another namespace; whoever may edit this one may not be allowed to move traffic \
         there, so a rollout drives only splits of its own namespace"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::document;

    #[test]
    fn a_rollout_cannot_name_files_of_the_controller() {
        let text = |file: &str| {
            format!(
                "apiVersion: sluicegate.dev/v1alpha1\nkind: CanaryDeploy\nmetadata: {{ name: x }}\nspec:\n  workload: x\n  \
                 images: {{ a: b }}\n  splits: [x]\n  steps: [50]\n  \
                 webhooks: [{{ url: 'http://x.test/', phase: notify, secretFile: '{file}' }}]\n"
            )
        };
        let is_taken = |file: &str| {
            let documents = document::read(&text(file));
            let [document] = &documents[..] else { panic!("{documents:?}") };
            assert!(document.meaning.is_ok(), "{document:?}");
            fit(document.clone()).meaning.is_ok()
        };
        for (file, taken) in [("a/key", true), ("./key", true), ("/var/run/secrets/token", false), ("a/../../x", false)]
        {
            assert_eq!(is_taken(file), taken, "{file}");
        }
    }
}
