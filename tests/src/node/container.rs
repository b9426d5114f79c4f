//! What a container of a pod's spec means for a process: its arguments, environment and files. In: pod and container. Out: the file
//! that `sandbox run` reads.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::volumes::{Source, base64};
use super::{Image, net};
use crate::kube::api::Api;

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The pod as seen from its containers.
pub(super) struct Place<'a> {
    pub(super) pod: &'a Value,
    pub(super) address: &'a str,
    /// The namespace of its network, by path.
    pub(super) net: &'a str,
    /// Its folder, with `volumes/NAME` in it.
    pub(super) dir: &'a Path,
}

impl Place<'_> {
    /// What `sandbox run` is told for a container.
    ///
    /// # Errors
    /// When its environment needs what is not there (yet).
    pub(super) fn spec(&self, api: &Api, container: &Value, image: &Image, root: &Path) -> Result<Value> {
        let env = self.env(api, container)?;
        let list = |field: &str| -> Option<Vec<String>> {
            let all = container[field].as_array()?.iter();
            Some(all.map(|one| expand(one.as_str().unwrap_or_default(), &env)).collect())
        };
        let mut argv = list("command");
        let mut args = list("args");
        if argv.is_none() {
            argv = Some(image.entrypoint.clone());
        }
        let mut argv: Vec<String> = argv.into_iter().flatten().collect();
        argv.extend(image.args.iter().cloned());
        argv.extend(args.take().into_iter().flatten());
        let mut binds: Map<String, Value> = Map::new();
        for (path, from) in &image.files {
            binds.insert(path.clone(), json!(from));
        }
        for mount in container["volumeMounts"].as_array().into_iter().flatten() {
            let text = |field: &str| mount[field].as_str().unwrap_or_default();
            let from = self.dir.join("volumes").join(text("name")).join(text("subPath"));
            binds.insert(text("mountPath").to_owned(), json!(from));
        }
        let namespace = self.pod["metadata"]["namespace"].as_str().unwrap_or_default();
        let files = json!({
            "/etc/resolv.conf": format!(
                "nameserver {}\nsearch {namespace}.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n",
                net::DNS
            ),
            "/etc/hosts": format!("127.0.0.1 localhost\n{} {}\n", self.address, self.name()),
            "/etc/nsswitch.conf": "hosts: files dns\n",
            "/etc/passwd": "root:x:0:0::/:/bin/sh\n",
            "/etc/group": "root:x:0:\n",
        });
        Ok(json!({ "net": self.net, "root": root, "argv": argv, "env": env, "binds": binds, "files": files }))
    }

    fn name(&self) -> &str {
        self.pod["metadata"]["name"].as_str().unwrap_or_default()
    }

    fn env(&self, api: &Api, container: &Value) -> Result<BTreeMap<String, String>> {
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), PATH.to_owned()),
            ("HOME".to_owned(), "/".to_owned()),
            ("HOSTNAME".to_owned(), self.name().to_owned()),
            ("KUBERNETES_SERVICE_HOST".to_owned(), net::API.to_string()),
            ("KUBERNETES_SERVICE_PORT".to_owned(), "443".to_owned()),
        ]);
        for one in container["env"].as_array().into_iter().flatten() {
            let name = one["name"].as_str().unwrap_or_default();
            let value = match one["value"].as_str() {
                Some(text) => Some(expand(text, &env)),
                None => self.value_from(api, &one["valueFrom"]).with_context(|| format!("env {name}"))?,
            };
            env.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(env)
    }

    fn value_from(&self, api: &Api, from: &Value) -> Result<Option<String>> {
        if let Some(field) = from["fieldRef"]["fieldPath"].as_str() {
            return Ok(Some(field_of(self.pod, self.address, field)));
        }
        if let Some(resource) = from["resourceFieldRef"]["resource"].as_str() {
            // This machine has no limits for anybody: two cores, and a gigabyte.
            return Ok(Some(if resource.ends_with("cpu") { "2" } else { "1073741824" }.to_owned()));
        }
        for (kind, plural) in [("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")] {
            let Some(key) = from[kind]["key"].as_str() else { continue };
            let place = Source { api, pod: self.pod };
            let namespace = place.pod["metadata"]["namespace"].as_str().unwrap_or_default();
            let name = from[kind]["name"].as_str().unwrap_or_default();
            let object = api.get(&format!("/api/v1/namespaces/{namespace}/{plural}/{name}"));
            let found = object.as_ref().ok().and_then(|object| object["data"][key].as_str());
            return match found {
                Some(text) if kind == "secretKeyRef" => Ok(Some(String::from_utf8(base64(text)?)?)),
                Some(text) => Ok(Some(text.to_owned())),
                None if from[kind]["optional"] == true => Ok(None),
                None => anyhow::bail!("no key {key} in {plural}/{name}"),
            };
        }
        Ok(None)
    }
}

/// A field of a pod by its path, as `fieldRef` names it; "" when it is not set.
pub(super) fn field_of(pod: &Value, address: &str, path: &str) -> String {
    match path {
        "status.podIP" | "status.podIPs" => return address.to_owned(),
        "status.hostIP" => return net::GATEWAY.to_string(),
        _ => {}
    }
    if let Some((map, key)) = path.split_once("['") {
        let map = &pod["metadata"][map.trim_start_matches("metadata.")];
        return map[key.trim_end_matches("']")].as_str().unwrap_or_default().to_owned();
    }
    let found = path.split('.').fold(pod, |value, part| &value[part]);
    match (found, found.as_object()) {
        // Labels and annotations as a file.
        (_, Some(map)) => map.iter().map(|(key, value)| format!("{key}={value}\n")).collect(),
        (found, None) => found.as_str().unwrap_or_default().to_owned(),
    }
}

/// `$(NAME)` gives way to a variable that is there, `$$` to `$`.
fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'))
            && let Some(value) = env.get(name)
        {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_are_there_are_put_in() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, means) in
            [("x", "x"), ("a $(A)$(A) b", "a 11 b"), ("$(B) $$(A) $A $", "$(B) $(A) $A $"), ("$(A", "$(A")]
        {
            assert_eq!(expand(text, &env), means);
        }
    }

    #[test]
    fn fields_are_found_by_their_paths() {
        let pod = json!({ "metadata": { "name": "p", "labels": { "a/b": "c" } }, "spec": { "nodeName": "n" } });
        let field = |path: &str| field_of(&pod, "10.0.0.1", path);
        assert_eq!([field("metadata.name"), field("metadata.labels['a/b']"), field("spec.nodeName")], ["p", "c", "n"]);
        assert_eq!([field("status.podIP"), field("metadata.annotations['x']")], ["10.0.0.1", ""]);
        assert_eq!(field("metadata.labels"), "a/b=\"c\"\n");
    }
}
