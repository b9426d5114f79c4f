//! What a document may not say in a cluster. Pure.

use crate::api::document::{Document, Meaning, Problem};

/// The document, or why it is refused here though a folder would take it.
pub fn fit(mut document: Document) -> Document {
    let wrong = match (&document.meaning, &document.name) {
        (Ok(Meaning::Deploy(deploy)), Some(name)) => {
            let splits = deploy.splits.iter().map(|(split, _)| split.as_str());
            wrong(name, deploy.command.is_some(), deploy.workload.is_some(), deploy.images.is_empty(), splits)
        }
        (Ok(Meaning::Test(test)), Some(name)) => {
            let splits = test.splits.iter().map(String::as_str);
            wrong(name, test.command.is_some(), test.workload.is_some(), test.images.is_empty(), splits)
        }
        _ => None,
    };
    if let Some(message) = wrong {
        document.meaning = Err(Problem { place: document.place, reason: "NotSupported", message });
    }
    document
}

fn wrong<'a>(
    name: &str,
    command: bool,
    workload: bool,
    nameless: bool,
    mut splits: impl Iterator<Item = &'a str>,
) -> Option<String> {
    if command {
        return Some(
            "spec.workloads: no commands are run in a cluster; leave it out, and name the Deployment with workload \
             and images"
                .to_owned(),
        );
    }
    if workload && nameless {
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
