//! HTTP filters: Wasm modules, Lua, the router.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A Wasm plugin. Two plugins with the same `vm_id` and the same code share one VM per thread.
#[derive(Clone, Debug)]
pub struct Wasm {
    /// Name of the plugin, and of its HTTP filter.
    pub name: String,
    /// The module.
    pub module: PathBuf,
    /// The plugin configuration; handed over as JSON text.
    pub config: Value,
    /// Which root of the module.
    pub root_id: String,
    /// Scope of shared data.
    pub vm_id: String,
    /// `FAIL_CLOSED`, `FAIL_OPEN` or `FAIL_RELOAD`.
    pub failure_policy: String,
    /// Environment of the VM.
    pub env: Vec<(String, String)>,
    /// More fields of the plugin configuration message; they win.
    pub extra: Value,
}

impl Wasm {
    /// The plugin `sluicegate` from this module with this configuration, failing closed.
    #[must_use]
    pub fn new(module: &Path, config: Value) -> Self {
        Self {
            name: "sluicegate".to_owned(),
            module: module.to_owned(),
            config,
            root_id: String::new(),
            vm_id: "sluicegate".to_owned(),
            failure_policy: "FAIL_CLOSED".to_owned(),
            env: Vec::new(),
            extra: json!({}),
        }
    }

    /// With another plugin name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The HTTP filter, as xDS JSON.
    #[must_use]
    pub fn filter(&self) -> Value {
        json!({ "name": self.name, "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": self.plugin(),
        }})
    }

    /// The HTTP filter with its configuration in the file `ecds-NAME.json` of `dir`, where [`Self::ecds`] puts it.
    #[must_use]
    pub fn filter_by_ecds(&self, dir: &Path) -> Value {
        let path = dir.join(self.ecds_file());
        json!({ "name": self.name, "config_discovery": {
            "config_source": { "resource_api_version": "V3", "path_config_source": { "path": path, "watched_directory": { "path": dir } } },
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        }})
    }

    /// The resource for [`Self::filter_by_ecds`].
    #[must_use]
    pub fn ecds(&self) -> Value {
        let mut resource = self.filter();
        resource["@type"] = json!("type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig");
        resource
    }

    /// The file name of that resource.
    #[must_use]
    pub fn ecds_file(&self) -> String {
        format!("ecds-{}.json", self.name)
    }

    fn plugin(&self) -> Value {
        let env: serde_json::Map<String, Value> =
            self.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let text = match &self.config {
            // As it is: a test may want something that is not JSON.
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            config => config.to_string(),
        };
        let mut plugin = json!({
            "name": self.name,
            "root_id": self.root_id,
            "failure_policy": self.failure_policy,
            "configuration": { "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text },
            "vm_config": {
                "vm_id": self.vm_id, "runtime": "envoy.wasm.runtime.v8",
                "code": { "local": { "filename": self.module } },
                "environment_variables": { "key_values": env },
            },
        });
        for (name, value) in self.extra.as_object().into_iter().flatten() {
            plugin[name] = value.clone();
        }
        plugin
    }
}

/// A Lua filter with this code.
#[must_use]
pub fn lua(code: &str) -> Value {
    json!({ "name": "lua", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": { "inline_string": code },
    }})
}

/// The router, the last filter of every chain.
#[must_use]
pub fn router() -> Value {
    json!({ "name": "router", "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" } })
}
