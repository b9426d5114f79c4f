//! What is rolled out, from written to meant: a version by name, images, a patch of the pod template, or a whole one.
//!
//! The machine knows a version as one text. Images say all in it: `app=registry/app:v2`. What a patch or a template says
//! is in it as a short hash, `app=registry/app:v2,#k3f9x2m7qdv0b`, the same for the same content however it is written.

use crate::api::accept::{Refusal, refuse};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sluicegate_core::name;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::xxh3_64;

/// Longest name of a version.
const MAX_VERSION: usize = 256;
/// Longest name of a Deployment: its copies' are longer by `-baseline`.
const MAX_WORKLOAD: usize = 54;
/// Digits of a hash: those that are not taken for one another.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Content of pods that is more than images, as JSON text: kept as it is, down to what is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    /// A strategic merge patch of main's pod template, with the images.
    Patch(String),
    /// A pod template; main belongs to the rollout.
    Template(String),
}

/// An object as written.
pub(crate) type Object = Map<String, Value>;

/// What a rollout says of it.
#[derive(Debug, Default)]
pub(super) struct Written<'a> {
    pub(super) workload: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) images: Option<&'a BTreeMap<String, String>>,
    pub(super) patch: Option<&'a Object>,
    pub(super) template: Option<&'a Object>,
}

/// The version as one text, with its content: said in exactly one way.
pub(super) fn content(written: &Written<'_>) -> Result<(String, Option<Content>), Refusal> {
    let at = |field: &'static str| ["spec".into(), field.into()];
    let none = BTreeMap::new();
    let images = written.images.unwrap_or(&none);
    if let Some(workload) = written.workload
        && (name::subset(workload).is_err() || workload.len() > MAX_WORKLOAD)
    {
        let message = format!(
            "workload {workload:?} is not the name of a Deployment with copies: 1 to {MAX_WORKLOAD} of a-z, 0-9 and '-'"
        );
        return refuse(at("workload"), message);
    }
    if let Some(template) = written.template {
        if written.version.is_some() || written.patch.is_some() || !images.is_empty() {
            return refuse(at("template"), "template says everything; leave out version, images and patch");
        }
        let images = containers("template", template, true)?;
        let text = canonical(&Value::Object(template.clone()));
        return Ok((version(&images, Some(&text)), Some(Content::Template(text))));
    }
    let wrong = |text: &String| text.is_empty() || text.contains(char::is_whitespace);
    if let Some((container, image)) = images.iter().find(|(c, i)| wrong(c) || wrong(i)) {
        return refuse(at("images"), format!("{container:?}: {image:?} is not a container and its image"));
    }
    match (written.version, written.patch) {
        (Some(_), Some(_)) => refuse(
            at("version"),
            "version and patch are two ways to say the same; keep patch for a Deployment, version for a command",
        ),
        (Some(_), None) if !images.is_empty() => refuse(
            at("version"),
            "version and images are two ways to say the same; keep images for a Deployment, version for a command",
        ),
        (Some(version), None) => {
            let printable = !version.chars().any(char::is_control) && version.trim() == version;
            match version.len() {
                1..=MAX_VERSION if printable => Ok((version.to_owned(), None)),
                _ => refuse(
                    at("version"),
                    format!(
                        "version {version:?} must be 1 to {MAX_VERSION} characters without white space at its ends"
                    ),
                ),
            }
        }
        (None, None) if images.is_empty() => refuse(
            at("version"),
            "there is no version; write version: v2, or images: { CONTAINER: IMAGE } for a Deployment",
        ),
        (None, None) if written.workload.is_none() => {
            refuse(at("images"), "images are those of a Deployment; name it with workload: NAME")
        }
        (None, Some(_)) if written.workload.is_none() => {
            refuse(at("patch"), "a patch is of a Deployment; name it with workload: NAME")
        }
        (None, None) => Ok((version(images, None), None)),
        (None, Some(patch)) => {
            containers("patch", patch, false)?;
            let text = canonical(&with_images(patch, images));
            Ok((version(images, Some(&text)), Some(Content::Patch(text))))
        }
    }
}

/// Checks what both a patch and a template are made of; returns the images of the containers.
fn containers(field: &'static str, written: &Object, whole: bool) -> Result<BTreeMap<String, String>, Refusal> {
    let at = || ["spec".into(), field.into()];
    if let Some(other) = written.keys().find(|key| *key != "metadata" && *key != "spec") {
        let message = format!("unknown field {other:?}; {field} is of a pod: its fields are metadata and spec");
        return refuse(at(), message);
    }
    if written.is_empty() || written.values().any(|value| !value.is_object()) {
        return refuse(at(), format!("{field} is of a pod; write for example {field}: {{ spec: {{ … }} }}"));
    }
    let listed = written.get("spec").and_then(|spec| spec.get("containers"));
    let all = match listed {
        None if !whole => return Ok(BTreeMap::new()),
        Some(Value::Array(all)) if !whole || !all.is_empty() => all,
        _ => return refuse(at(), format!("{field}.spec.containers must list at least one container")),
    };
    let text = |container: &Value, key: &str| container.get(key).and_then(Value::as_str).map(str::to_owned);
    let clean = |text: &String| !text.is_empty() && !text.contains([' ', ',']);
    let one = |container: &Value| {
        let name = text(container, "name").filter(clean);
        let image = text(container, "image").or((!whole).then(String::new));
        name.zip(image.filter(|image| !whole || clean(image)))
    };
    match all.iter().map(one).collect() {
        Some(images) => Ok(images),
        None if whole => refuse(at(), "each of template.spec.containers needs a name and an image"),
        None => refuse(at(), "each of patch.spec.containers needs the name of the container it is about"),
    }
}

/// The patch that does what both say; the images have the last word.
fn with_images(patch: &Object, images: &BTreeMap<String, String>) -> Value {
    let mut patch = Value::Object(patch.clone());
    if images.is_empty() {
        return patch;
    }
    let listed = &mut patch["spec"]["containers"];
    let mut all = listed.as_array().cloned().unwrap_or_default();
    for (name, image) in images {
        match all.iter_mut().find(|container| container["name"] == **name) {
            Some(container) => container["image"] = json!(image),
            None => all.push(json!({ "name": name, "image": image })),
        }
    }
    *listed = json!(all);
    patch
}

fn version(images: &BTreeMap<String, String>, content: Option<&str>) -> String {
    let images = images.iter().map(|(container, image)| format!("{container}={image}"));
    images.chain(content.map(|text| format!("#{}", hash(text)))).collect::<Vec<_>>().join(",")
}

/// The same for the same text, in every version of this program.
pub fn hash(text: &str) -> String {
    let number = xxh3_64(text.as_bytes());
    let digit = |at: u32| DIGITS[(number >> (5 * at) & 31) as usize];
    (0..12).map(digit).map(char::from).collect()
}

/// JSON with keys in order and whole numbers written as such.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let all = sorted.into_iter().map(|(key, value)| format!("{}:{}", json!(key), canonical(value)));
            format!("{{{}}}", all.collect::<Vec<_>>().join(","))
        }
        Value::Array(all) => format!("[{}]", all.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 && whole.abs() < 9e15 => (whole as i64).to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(patch: Value, images: &[(&str, &str)]) -> Result<(String, Option<Content>), String> {
        let images = images.iter().map(|(name, image)| ((*name).to_owned(), (*image).to_owned())).collect();
        let Value::Object(patch) = patch else { panic!("{patch}") };
        let written =
            Written { workload: Some("web"), images: Some(&images), patch: Some(&patch), ..Written::default() };
        content(&written).map_err(|refusal| refusal.message)
    }

    #[test]
    fn the_same_content_is_the_same_version_however_it_is_written() {
        let one = patched(json!({ "spec": { "priority": 1, "hostname": "a" }, "metadata": {} }), &[("app", "a:v2")]);
        let text = r#"{ "metadata": {}, "spec": { "hostname": "a", "priority": 1.0 } }"#;
        let other = patched(serde_json::from_str(text).unwrap(), &[("app", "a:v2")]);
        assert_eq!(one, other);
        let (version, _) = one.unwrap();
        assert!(version.starts_with("app=a:v2,#") && version.len() == "app=a:v2,#".len() + 12, "{version}");
        let third = patched(json!({ "spec": { "priority": 2, "hostname": "a" }, "metadata": {} }), &[("app", "a:v2")]);
        assert_ne!(third.unwrap().0, version);
    }

    const HASH: &str = "7451jbqqk9pc";

    #[test]
    fn a_hash_stays_what_it_is() {
        // Another one would begin a rollout of every patch with the next version of this program.
        assert_eq!(hash("sluicegate"), HASH);
    }

    #[test]
    fn images_are_put_into_the_patch() {
        let patch = json!({ "spec": { "containers": [{ "name": "app", "args": ["-v"] }] } });
        let Ok((_, Some(Content::Patch(text)))) = patched(patch, &[("app", "a:v2"), ("proxy", "p:v1")]) else {
            panic!("no patch")
        };
        let containers = r#"[{"args":["-v"],"image":"a:v2","name":"app"},{"image":"p:v1","name":"proxy"}]"#;
        assert_eq!(text, format!(r#"{{"spec":{{"containers":{containers}}}}}"#));
        let nulls = patched(json!({ "spec": { "hostname": null } }), &[]);
        assert!(matches!(nulls, Ok((_, Some(Content::Patch(text)))) if text.contains("null")));
    }

    #[test]
    fn what_is_no_pod_is_refused() {
        for (patch, part) in [
            (json!({}), "write for example"),
            (json!({ "spec": 1 }), "write for example"),
            (json!({ "spec": {}, "template": {} }), "unknown field \"template\""),
            (json!({ "spec": { "containers": [{ "image": "a" }] } }), "needs the name"),
            (json!({ "spec": { "containers": {} } }), "must list"),
        ] {
            let refused = patched(patch.clone(), &[]).unwrap_err();
            assert!(refused.contains(part), "{patch}: {refused}");
        }
    }
}
