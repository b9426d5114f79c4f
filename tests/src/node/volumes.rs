//! The volumes of a pod, as folders of this machine. In: a volume of a pod's spec. Out: a folder with its files, as they were when
//! the pod started: what is changed later is not.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::container::field_of;
use crate::kube::api::Api;

/// The pod that the volumes are of, and who asks for their content.
pub(super) struct Source<'a> {
    pub(super) api: &'a Api,
    pub(super) pod: &'a Value,
}

impl Source<'_> {
    /// Fills the folder `dir` of a volume.
    ///
    /// # Errors
    /// When something of it is not there (yet), or the kind of volume is none that this node has.
    pub(super) fn fill(&self, volume: &Value, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        let name = volume["name"].as_str().unwrap_or_default();
        let kinds = volume.as_object().into_iter().flatten().filter(|(kind, _)| *kind != "name");
        for (kind, source) in kinds {
            match kind.as_str() {
                "projected" => {
                    for part in source["sources"].as_array().into_iter().flatten() {
                        let mut parts = part.as_object().into_iter().flatten();
                        parts.try_for_each(|(kind, source)| self.part(kind, source, dir))?;
                    }
                }
                "emptyDir" => {}
                kind => self.part(kind, source, dir).with_context(|| format!("volume {name}"))?,
            }
        }
        Ok(())
    }

    fn part(&self, kind: &str, source: &Value, dir: &Path) -> Result<()> {
        match kind {
            "secret" | "configMap" => {
                let name = source
                    [if kind == "secret" && source["secretName"].is_string() { "secretName" } else { "name" }]
                .as_str()
                .unwrap_or_default();
                let object = match self.object(kind, name) {
                    Err(_) if source["optional"] == true => return Ok(()),
                    other => other?,
                };
                self.keys(kind, &object, source, dir)
            }
            "downwardAPI" => {
                for item in source["items"].as_array().into_iter().flatten() {
                    let field = item["fieldRef"]["fieldPath"].as_str().unwrap_or_default();
                    write(dir, &item["path"], field_of(self.pod, "", field).as_bytes())?;
                }
                Ok(())
            }
            "serviceAccountToken" => {
                let token = self.token(source)?;
                write(dir, &source["path"], token.as_bytes())
            }
            other => bail!("this node has no volumes of kind {other}"),
        }
    }

    fn object(&self, kind: &str, name: &str) -> Result<Value> {
        let plural = if kind == "secret" { "secrets" } else { "configmaps" };
        self.api.get(&format!("/api/v1/namespaces/{}/{plural}/{name}", self.namespace()))
    }

    fn keys(&self, kind: &str, object: &Value, source: &Value, dir: &Path) -> Result<()> {
        let mut all: Vec<(&str, Vec<u8>)> = Vec::new();
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            let text = value.as_str().unwrap_or_default();
            all.push((key, if kind == "secret" { base64(text)? } else { text.as_bytes().to_vec() }));
        }
        match source["items"].as_array() {
            None => all.iter().try_for_each(|(key, content)| write(dir, &json!(key), content)),
            Some(items) => items.iter().try_for_each(|item| {
                let found = all.iter().find(|(key, _)| item["key"] == **key);
                write(dir, &item["path"], &found.with_context(|| format!("no key {}", item["key"]))?.1)
            }),
        }
    }

    /// A token of the pod's service account, as a kubelet gets it.
    fn token(&self, source: &Value) -> Result<String> {
        let account = self.pod["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{account}/token", self.namespace());
        let audiences: Vec<&str> = source["audience"].as_str().into_iter().collect();
        let spec = json!({ "audiences": audiences, "expirationSeconds": 3600 });
        let request = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec });
        let given = self.api.post(&path, &request)?;
        given["status"]["token"].as_str().map(str::to_owned).context("no token")
    }

    fn namespace(&self) -> &str {
        self.pod["metadata"]["namespace"].as_str().unwrap_or_default()
    }
}

fn write(dir: &Path, path: &Value, content: &[u8]) -> Result<()> {
    let path = dir.join(path.as_str().unwrap_or_default());
    fs::create_dir_all(path.parent().unwrap_or(dir))?;
    fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// What base64 text, with or without its padding, stands for.
pub(super) fn base64(text: &str) -> Result<Vec<u8>> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=' && !byte.is_ascii_whitespace()) {
        let value = memchr::memchr(byte, ALPHABET).with_context(|| format!("{byte} is not of base64"))?;
        bits = bits << 6 | u32::try_from(value)?;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff)?);
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_read_back() {
        for (text, means) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba"), ("Zm9v\nYmFy", "foobar")]
        {
            assert_eq!(base64(text).unwrap(), means.as_bytes(), "{text}");
        }
        assert_eq!(base64("/+8=").unwrap(), [0xff, 0xef]);
        assert!(base64("a-b_").is_err());
    }
}
