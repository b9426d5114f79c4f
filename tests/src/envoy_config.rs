//! The configuration of an Envoy, as values: listeners with HTTP filters and a route table, and clusters.
//!
//! The route table is the one users are told to write: one route per non-default subset by an exact match of the subset
//! header, then a default route; optionally unrelated routes in front.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::upstream::SUBSET_HEADER;

mod filter;

pub use filter::{Wasm, lua, router};

/// The cluster that the filter's calls to the controller go to.
pub const CONTROLLER_CLUSTER: &str = "sluicegate";

/// One listener with one virtual host.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name, unique in the Envoy.
    pub name: String,
    /// Its port; 0 for any. A listener that a hot restart hands over needs a fixed one.
    pub port: u16,
    /// HTTP filters before the router, in order; see [`Wasm::filter`] and [`lua`].
    pub filters: Vec<Value>,
    /// Unrelated routes in front of ours.
    pub filler_routes: usize,
    /// Routes for non-default subsets: value of the subset header, cluster.
    pub subsets: Vec<(String, String)>,
    /// What requests without a matching subset header get, as a route action, such as [`to_cluster`].
    pub default: Value,
    /// Routes instead of the ones made from the three fields above.
    pub routes: Option<Vec<Value>>,
    /// File and format of an access log.
    pub access_log: Option<(PathBuf, String)>,
    /// More fields of the HTTP connection manager; they win.
    pub extra: Value,
}

impl Listener {
    /// A listener whose default route goes to this cluster.
    #[must_use]
    pub fn new(name: &str, default_cluster: &str) -> Self {
        Self {
            name: name.to_owned(),
            port: 0,
            filters: Vec::new(),
            filler_routes: 0,
            subsets: Vec::new(),
            default: to_cluster(default_cluster),
            routes: None,
            access_log: None,
            extra: json!({}),
        }
    }

    /// With this filter after those it has.
    #[must_use]
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// With a route for this subset.
    #[must_use]
    pub fn subset(mut self, subset: &str, cluster: &str) -> Self {
        self.subsets.push((subset.to_owned(), cluster.to_owned()));
        self
    }

    /// The listener as xDS JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut filters = self.filters.clone();
        filters.push(router());
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": self.name,
            "generate_request_id": false,
            "route_config": { "name": self.name, "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": self.routes() }] },
            "http_filters": filters,
        });
        if let Some((path, format)) = &self.access_log {
            manager["access_log"] = json!([{ "name": "file", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                "path": path, "log_format": { "text_format_source": { "inline_string": format } },
            }}]);
        }
        for (name, value) in self.extra.as_object().into_iter().flatten() {
            manager[name] = value.clone();
        }
        json!({
            "@type": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": self.name,
            "address": loopback(SocketAddr::from(([127, 0, 0, 1], self.port))),
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
        })
    }

    fn routes(&self) -> Vec<Value> {
        if let Some(routes) = &self.routes {
            return routes.clone();
        }
        let filler = (0..self.filler_routes).map(|n| json!({ "match": { "prefix": format!("/other-service-{n}/") }, "route": { "cluster": CONTROLLER_CLUSTER } }));
        let subsets = self.subsets.iter().map(|(subset, cluster)| {
            let header = json!({ "name": SUBSET_HEADER, "string_match": { "exact": subset } });
            json!({ "match": { "prefix": "/", "headers": [header] }, "route": { "cluster": cluster } })
        });
        let mut routes: Vec<Value> = filler.chain(subsets).collect();
        let mut last = self.default.clone();
        last["match"] = json!({ "prefix": "/" });
        routes.push(last);
        routes
    }
}

/// A route action: everything to one cluster.
#[must_use]
pub fn to_cluster(cluster: &str) -> Value {
    json!({ "route": { "cluster": cluster } })
}

/// A route action: Envoy's own split by weights.
#[must_use]
pub fn to_weighted(clusters: &[(&str, u32)]) -> Value {
    let clusters: Vec<Value> =
        clusters.iter().map(|(name, weight)| json!({ "name": name, "weight": weight })).collect();
    json!({ "route": { "weighted_clusters": { "clusters": clusters } } })
}

/// A cluster with these endpoints, as xDS JSON; none make it one without healthy upstreams.
#[must_use]
pub fn cluster(name: &str, endpoints: &[SocketAddr]) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name, "type": "STATIC", "connect_timeout": "0.25s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": lb_endpoints(endpoints) }] },
        "circuit_breakers": { "thresholds": [{ "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000 }] },
    })
}

/// A cluster whose endpoints come from a file, as xDS JSON; the file holds [`endpoints`] and is replaced by rename.
#[must_use]
pub fn cluster_by_eds(name: &str, file: &Path) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
        "name": name, "type": "EDS", "connect_timeout": "1s",
        "eds_cluster_config": { "eds_config": { "resource_api_version": "V3", "path_config_source": { "path": file } } },
    })
}

/// The endpoints of a cluster, as an xDS resource.
#[must_use]
pub fn endpoints(cluster: &str, addresses: &[SocketAddr]) -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster, "endpoints": [{ "lb_endpoints": lb_endpoints(addresses) }],
    })
}

fn lb_endpoints(addresses: &[SocketAddr]) -> Vec<Value> {
    addresses.iter().map(|at| json!({ "endpoint": { "address": loopback(*at) } })).collect()
}

fn loopback(at: SocketAddr) -> Value {
    json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
}

/// `stats_config.stats_tags` of the bootstrap that turn the filter's counters into `sluicegate_requests_total` and
/// `sluicegate_responses_total` with labels. The same list is in envoy/envoy.yaml.
#[must_use]
pub fn stats_tags() -> Value {
    let tags = [
        ("namespace", r"^wasmcustom\.sluicegate(\.ns\.([^.]+))\.split\."),
        ("split", r"^wasmcustom\.sluicegate\.ns\.[^.]+(\.split\.([^.]+))\.subset\."),
        ("subset", r"^wasmcustom\.sluicegate\.ns\.[^.]+\.split\.[^.]+(\.subset\.([^.]+))\."),
        ("outcome", r"^wasmcustom\.sluicegate\.ns\..+(\.outcome\.([^.]+))\.responses_total$"),
        ("plugin", r"^wasmcustom\.sluicegate(\.plugin\.([^.]+))\."),
    ];
    tags.iter().map(|(name, regex)| json!({ "tag_name": name, "regex": regex })).collect()
}

/// A file with xDS resources, as a path config source reads it.
#[must_use]
pub fn resources(version: u64, resources: &[Value]) -> String {
    json!({ "version_info": version.to_string(), "resources": resources }).to_string()
}

/// The bootstrap: listeners and clusters come from files in `dir`, each replaced by rename.
#[must_use]
pub fn bootstrap(dir: &Path, stats_tags: &Value, extra: &Value) -> Value {
    let source = |file: &str| json!({ "resource_api_version": "V3", "path_config_source": { "path": dir.join(file), "watched_directory": { "path": dir } } });
    let mut config = json!({
        "node": { "id": "test", "cluster": "test" },
        "admin": { "address": loopback(SocketAddr::from(([127, 0, 0, 1], 0))) },
        "dynamic_resources": { "lds_config": source("lds.json"), "cds_config": source("cds.json") },
        "stats_config": { "stats_tags": stats_tags },
        "stats_flush_interval": "1s",
    });
    for (name, value) in extra.as_object().into_iter().flatten() {
        config[name] = value.clone();
    }
    config
}
