//! Objects that are taken, and objects that are refused by folder and API server alike.

use serde_json::{Value, json};

use super::Bad;

const SPLIT: &str = "TrafficSplit";
const DEPLOY: &str = "CanaryDeploy";
const TEST: &str = "CanaryTest";
const JUDGMENT: &str = "Judgment";

/// `spec` of a split with these fields in place of the usual ones.
fn split(fields: Value) -> Value {
    with(json!({ "subsets": [{ "name": "v1", "weight": 90 }, { "name": "v2", "weight": 10 }] }), fields)
}

fn deploy(fields: Value) -> Value {
    with(json!({ "workload": "app", "images": { "app": "app:v2" }, "splits": ["web"], "steps": [1, 10, 50] }), fields)
}

fn trial(fields: Value) -> Value {
    with(json!({ "workload": "app", "images": { "app": "app:v2" }, "splits": ["web"], "weight": 5 }), fields)
}

fn judgment(fields: Value) -> Value {
    with(json!({ "rollout": "app", "decision": "continue", "by": "alice" }), fields)
}

fn template() -> Value {
    json!({ "metadata": { "labels": { "app": "app" } }, "spec": { "containers": [{ "name": "app", "image": "app:v2" }] } })
}

/// A field that is null is left out.
fn with(mut spec: Value, fields: Value) -> Value {
    let (Value::Object(spec_fields), Value::Object(fields)) = (&mut spec, fields) else { return spec };
    spec_fields.extend(fields);
    spec_fields.retain(|_, value| !value.is_null());
    spec
}

/// What both take.
pub(super) fn good() -> Vec<(&'static str, Value)> {
    vec![
        (SPLIT, split(json!({}))),
        (SPLIT, split(json!({ "default": "v2", "hosts": ["*.example.com", "localhost", "[::1]", "10.0.0.1"] }))),
        (SPLIT, split(json!({ "assignment": "sticky", "sticky": { "cookie": { "name": "uid", "ttl": "30d" } } }))),
        (SPLIT, split(json!({ "assignment": "sticky", "sticky": { "sourceAddress": true, "salt": "x" } }))),
        (
            SPLIT,
            split(json!({ "overrides": [{ "header": "x-canary", "value": "", "subset": "v2" }], "protocol": "grpc" })),
        ),
        (SPLIT, split(json!({ "trustUpstream": true, "writeDefault": true }))),
        (DEPLOY, deploy(json!({ "steps": [50] }))),
        (
            DEPLOY,
            deploy(
                json!({ "steps": [0.001, "0.5%", "2", { "weight": 10 }, { "weight": "25 %", "hold": "1h30m", "judge": "both" }, 50.0] }),
            ),
        ),
        (DEPLOY, deploy(json!({ "splits": ["a", { "name": "b", "steps": [0.1, "5%", 50] }, { "name": "c" }] }))),
        (DEPLOY, deploy(json!({ "workload": null, "images": null, "version": "v2" }))),
        (
            DEPLOY,
            deploy(
                json!({ "hold": "0s", "watch": "7d", "deadline": "1h 30m", "rollback": "safe", "acks": { "timeout": "1.5s", "then": "proceed" } }),
            ),
        ),
        (
            DEPLOY,
            deploy(
                json!({ "judge": { "errors": { "max": "1%" }, "latency": { "slowerThan": "250ms", "p99": "1s" }, "alpha": 0.05 } }),
            ),
        ),
        (
            DEPLOY,
            deploy(json!({ "judge": { "prometheus": { "url": "http://prometheus:9090", "tokenFile": "team/token" },
            "metrics": [{ "name": "a", "query": "x{s=\"{{subset}}\"}", "group": "g" }], "groups": { "g": 60 } } })),
        ),
        (
            DEPLOY,
            deploy(json!({ "patch": { "spec": { "containers": [{ "name": "app", "args": ["-v"], "tty": null }] } } })),
        ),
        (DEPLOY, deploy(json!({ "images": null, "patch": { "metadata": { "annotations": { "a": "b" } } } }))),
        (DEPLOY, deploy(json!({ "workload": null, "images": null, "template": template(), "replicas": 3 }))),
        (DEPLOY, deploy(json!({ "images": null, "template": template(), "autoscaler": { "settle": "5m" } }))),
        (TEST, trial(json!({ "images": null, "patch": { "spec": { "hostname": null } } }))),
        (TEST, trial(json!({ "weight": 0, "replicas": 0 }))),
        (TEST, trial(json!({ "weight": 0.5, "replicas": 3, "duration": "24h" }))),
        (JUDGMENT, judgment(json!({ "step": 3, "override": true, "reason": "looked at it" }))),
        (JUDGMENT, judgment(json!({ "decision": null, "by": null, "verdict": "pass", "evidence": { "requests": 5 } }))),
    ]
}

/// What both refuse.
pub(super) fn bad() -> Vec<Bad> {
    let subset = |name: &str, weight: i64| json!({ "name": name, "weight": weight });
    let mut all: Vec<Bad> = vec![
        (SPLIT, split(json!({ "subsets": [] })), &["spec.subsets", "should have at least 1 items"]),
        (SPLIT, split(json!({ "subsets": [subset("v1", 1), subset("v1", 2)] })), &["spec.subsets", "listed twice"]),
        (
            SPLIT,
            split(json!({ "subsets": [subset("v1", 0), subset("v2", 0)] })),
            &["spec.subsets", "all weights are 0"],
        ),
        (SPLIT, split(json!({ "subsets": [subset("V_1", 1)] })), &["spec.subsets[0].name", "\"V_1\" must be 1 to 63"]),
        (
            SPLIT,
            split(json!({ "subsets": [subset("v1", -1)] })),
            &["spec.subsets[0].weight", "greater than or equal to 0"],
        ),
        (SPLIT, split(json!({ "default": "v3" })), &["spec.default", "default names subset \"v3\""]),
        (SPLIT, split(json!({ "hosts": ["a.com", "a.com"] })), &["spec.hosts[1]", "Duplicate value"]),
        (SPLIT, split(json!({ "hosts": ["a.com:80"] })), &["spec.hosts", "a host must be a lower-case DNS name"]),
        (SPLIT, split(json!({ "assignment": "evenly" })), &["spec.assignment", "Unsupported value", "\"even\""]),
        (SPLIT, split(json!({ "assignment": "sticky" })), &["spec.assignment", "sticky needs to know by what"]),
        (SPLIT, split(json!({ "sticky": { "header": "x-user" } })), &["spec.sticky", "sticky has no effect"]),
        (SPLIT, split(json!({ "assignment": "sticky", "sticky": {} })), &["spec.sticky", "exactly one of header"]),
        (
            SPLIT,
            split(json!({ "assignment": "sticky", "sticky": { "header": "a", "sourceAddress": true } })),
            &["spec.sticky", "exactly one of header"],
        ),
        (
            SPLIT,
            split(json!({ "assignment": "sticky", "sticky": { "sourceAddress": false } })),
            &["spec.sticky.sourceAddress", "only be true"],
        ),
        (
            SPLIT,
            split(json!({ "assignment": "sticky", "sticky": { "header": "Cookie" } })),
            &["spec.sticky.header", "meaning of its own"],
        ),
        (
            SPLIT,
            split(json!({ "assignment": "sticky", "sticky": { "cookie": { "name": "u", "ttl": "soon" } } })),
            &["spec.sticky.cookie.ttl", "is not a duration"],
        ),
        (
            SPLIT,
            split(json!({ "overrides": [{ "value": "x", "subset": "v2" }] })),
            &["spec.overrides[0]", "exactly one of them"],
        ),
        (
            SPLIT,
            split(json!({ "overrides": [{ "header": "x", "value": "x", "subset": "v3" }] })),
            &["spec.overrides", "not one of the subsets"],
        ),
        (
            SPLIT,
            split(json!({ "overrides": [{ "header": "x y", "value": "x", "subset": "v2" }] })),
            &["spec.overrides[0].header", "not an HTTP field name"],
        ),
        (
            SPLIT,
            split(json!({ "trustUpstream": true, "writeDefault": false })),
            &["spec.writeDefault", "leave writeDefault out"],
        ),
        (SPLIT, split(json!({ "subset": [] })), &["unknown field \"spec.subset\""]),
        (DEPLOY, deploy(json!({ "steps": [] })), &["spec.steps", "should have at least 1 items"]),
        (DEPLOY, deploy(json!({ "steps": [1, 10, 25] })), &["spec.steps: the last step is 25, not 50"]),
        (
            DEPLOY,
            deploy(json!({ "steps": [10, 1, 50] })),
            &["spec.steps: weights 10, 1, 50 are not in ascending order"],
        ),
        (
            DEPLOY,
            deploy(json!({ "steps": [10, "10%", 50] })),
            &["spec.steps: weights 10, 10%, 50 are not in ascending order"],
        ),
        (DEPLOY, deploy(json!({ "steps": [0, 50] })), &["spec.steps: weight 0 must be", "above 0"]),
        (DEPLOY, deploy(json!({ "steps": [-5, 50] })), &["spec.steps: weight -5 must be"]),
        (DEPLOY, deploy(json!({ "steps": [50, 60] })), &["spec.steps: weight 60 must be", "at most 50"]),
        (DEPLOY, deploy(json!({ "steps": ["60%", 50] })), &["spec.steps: weight 60% must be"]),
        (DEPLOY, deploy(json!({ "steps": ["ten", 50] })), &["spec.steps: weight ten must be a number of percent"]),
        (DEPLOY, deploy(json!({ "steps": [true, 50] })), &["spec.steps: weight true must be a number of percent"]),
        (DEPLOY, deploy(json!({ "steps": [0.0001, 50] })), &["spec.steps", "finer than a thousandth"]),
        (
            DEPLOY,
            deploy(json!({ "steps": [{ "hold": "5m" }, 50] })),
            &["spec.steps: weight", "must be a number of percent"],
        ),
        (
            DEPLOY,
            deploy(json!({ "steps": [{ "weight": 1, "wait": "5m" }, 50] })),
            &["spec.steps", "its fields are weight, hold, judge"],
        ),
        (DEPLOY, deploy(json!({ "steps": [{ "weight": 1, "hold": "soon" }, 50] })), &["spec.steps", "is a duration"]),
        (
            DEPLOY,
            deploy(json!({ "steps": [{ "weight": 1, "judge": "me" }, 50] })),
            &["spec.steps", "auto, manual, both"],
        ),
        (DEPLOY, deploy(json!({ "splits": [] })), &["spec.splits", "should have at least 1 items"]),
        (DEPLOY, deploy(json!({ "splits": ["web", "web"] })), &["spec.splits", "/web is listed twice"]),
        (DEPLOY, deploy(json!({ "splits": ["We b"] })), &["spec.splits", "1 to 63 of a-z"]),
        (DEPLOY, deploy(json!({ "splits": [7] })), &["spec.splits", "a split is its name"]),
        (
            DEPLOY,
            deploy(json!({ "splits": [{ "name": "web", "weights": [50] }] })),
            &["spec.splits", "its fields are name, steps"],
        ),
        (
            DEPLOY,
            deploy(json!({ "splits": [{ "name": "web", "steps": [50] }] })),
            &["spec.splits", "one weight per step"],
        ),
        (
            DEPLOY,
            deploy(json!({ "splits": [{ "name": "web", "steps": [10, 5, 50] }] })),
            &["spec.splits", "ascending order"],
        ),
        (DEPLOY, deploy(json!({ "version": "v2" })), &["spec.version", "two ways to say the same"]),
        (DEPLOY, deploy(json!({ "images": null })), &["there is no version"]),
        (DEPLOY, deploy(json!({ "workload": null })), &["spec.images", "name it with workload"]),
        (DEPLOY, deploy(json!({ "workload": "My App" })), &["spec.workload", "\"My App\" must be 1 to 63"]),
        (DEPLOY, deploy(json!({ "images": { "app": "a b" } })), &["spec.images", "without white space"]),
        (
            DEPLOY,
            deploy(json!({ "workload": null, "images": null, "version": " v2" })),
            &["spec.version", "\" v2\" must be 1 to 256"],
        ),
        (DEPLOY, deploy(json!({ "patch": {} })), &["spec.patch", "at least 1 properties"]),
        (DEPLOY, deploy(json!({ "patch": { "template": {} } })), &["unknown field \"spec.patch.template\""]),
        (DEPLOY, deploy(json!({ "patch": { "spec": 1 } })), &["spec.patch.spec", "must be of type object"]),
        (
            DEPLOY,
            deploy(json!({ "patch": { "spec": { "containers": [{ "args": [] }] } } })),
            &["spec.patch.spec.containers[0].name", "Required value"],
        ),
        (
            DEPLOY,
            deploy(json!({ "workload": null, "images": null, "patch": { "spec": {} } })),
            &["spec.patch", "name it with workload"],
        ),
        (
            DEPLOY,
            deploy(json!({ "images": null, "version": "v2", "patch": { "spec": {} } })),
            &["spec.version", "two ways to say the same"],
        ),
        (DEPLOY, deploy(json!({ "template": template() })), &["spec.template", "template says everything"]),
        (
            DEPLOY,
            deploy(json!({ "images": null, "template": { "metadata": {} } })),
            &["spec.template.spec", "Required value"],
        ),
        (
            DEPLOY,
            deploy(json!({ "images": null, "template": { "spec": { "containers": [{ "name": "app" }] } } })),
            &["spec.template.spec.containers[0].image", "Required value"],
        ),
        (
            DEPLOY,
            deploy(json!({ "images": null, "template": { "spec": { "containers": [] } } })),
            &["spec.template.spec.containers", "at least 1 items"],
        ),
        (DEPLOY, deploy(json!({ "replicas": 3 })), &["spec.replicas", "replicas go with template"]),
        (
            DEPLOY,
            deploy(json!({ "images": null, "template": template(), "replicas": 0 })),
            &["spec.replicas", "greater than or equal to 1"],
        ),
        (
            DEPLOY,
            deploy(json!({ "autoscaler": { "settle": "soon" } })),
            &["spec.autoscaler.settle", "is not a duration"],
        ),
        (TEST, trial(json!({ "template": template() })), &["unknown field \"spec.template\""]),
        (DEPLOY, deploy(json!({ "hold": "5 fortnights" })), &["spec.hold", "\"5 fortnights\" is not a duration"]),
        (DEPLOY, deploy(json!({ "deadline": "5" })), &["spec.deadline", "\"5\" is not a duration"]),
        (DEPLOY, deploy(json!({ "rollback": "slow" })), &["spec.rollback", "Unsupported value", "\"safe\""]),
        (DEPLOY, deploy(json!({ "judge": { "alpha": 1 } })), &["spec.judge.alpha", "less than 1"]),
        (
            DEPLOY,
            deploy(json!({ "judge": { "minRequests": 0 } })),
            &["spec.judge.minRequests", "greater than or equal to 1"],
        ),
        (
            DEPLOY,
            deploy(json!({ "judge": { "marks": { "pass": 50, "marginal": 60 } } })),
            &["spec.judge.marks", "marginal ≤ pass"],
        ),
        (
            DEPLOY,
            deploy(json!({ "judge": { "metrics": [{ "name": "a", "query": "{{subset}}" }] } })),
            &["spec.judge.metrics", "come from Prometheus"],
        ),
        (
            DEPLOY,
            deploy(json!({ "webhooks": [{ "url": "ftp://x", "phase": "notify" }] })),
            &["spec.webhooks[0].url", "http://HOST"],
        ),
        (
            DEPLOY,
            deploy(json!({ "webhooks": [{ "url": "http://x", "phase": "later" }] })),
            &["spec.webhooks[0].phase", "Unsupported value"],
        ),
        (TEST, trial(json!({ "weight": 51 })), &["spec.weight", "less than or equal to 50"]),
        (TEST, trial(json!({ "weight": null })), &["spec.weight", "Required value"]),
        (TEST, trial(json!({ "replicas": 0 })), &["spec.replicas", "no pod would answer"]),
        (TEST, trial(json!({ "replicas": 20000 })), &["spec.replicas", "less than or equal to 10000"]),
        (
            TEST,
            trial(json!({ "splits": [{ "name": "web", "steps": [50] }] })),
            &["spec.splits", "a CanaryTest has no steps"],
        ),
        (TEST, trial(json!({ "duration": "a while" })), &["spec.duration", "is not a duration"]),
        (JUDGMENT, judgment(json!({ "decision": null })), &["the decision is missing"]),
        (JUDGMENT, judgment(json!({ "by": null })), &["say who decided"]),
        (JUDGMENT, judgment(json!({ "by": "  " })), &["say who decided"]),
        (JUDGMENT, judgment(json!({ "step": 0 })), &["spec.step", "greater than or equal to 1"]),
        (
            JUDGMENT,
            judgment(json!({ "decision": "rollback", "override": true })),
            &["spec.override", "nothing keeps you"],
        ),
        (
            JUDGMENT,
            judgment(json!({ "verdict": "pass", "override": true })),
            &["spec.override", "override is for persons"],
        ),
        (JUDGMENT, judgment(json!({ "evidence": { "a": 1 } })), &["spec.evidence", "say why you decided so in reason"]),
        (JUDGMENT, judgment(json!({ "rollout": "a/b/c" })), &["spec.rollout", "NAME or NAMESPACE/NAME"]),
    ];
    let judge = |metric: Value| {
        deploy(json!({ "judge": { "prometheus": { "url": "http://prometheus:9090" }, "metrics": metric } }))
    };
    let a = json!({ "name": "a", "query": "x{s=\"{{subset}}\"}" });
    all.extend::<[Bad; 4]>([
        (DEPLOY, judge(json!([a, a])), &["spec.judge.metrics[1]", "Duplicate value"]),
        (
            DEPLOY,
            judge(json!([{ "name": "a", "query": "up" }])),
            &["spec.judge.metrics[0].query", "put {{subset}} where"],
        ),
        (
            DEPLOY,
            judge(json!([with(a.clone(), json!({ "confidence": 1 }))])),
            &["metrics[0].confidence", "less than 1"],
        ),
        (
            DEPLOY,
            judge(json!([with(a, json!({ "tolerance": -1 }))])),
            &["metrics[0].tolerance", "greater than or equal to 0"],
        ),
    ]);
    all
}

/// What only a cluster with several tenants refuses.
pub(super) fn foreign() -> Vec<Bad> {
    let prometheus =
        |field: &str, path: &str| deploy(json!({ "judge": { "prometheus": { "url": "http://x", field: path } } }));
    let hook =
        |path: &str| deploy(json!({ "webhooks": [{ "url": "http://x", "phase": "notify", "secretFile": path }] }));
    let token = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    vec![
        (DEPLOY, prometheus("tokenFile", token), &["spec.judge.prometheus.tokenFile", "as it is mounted"]),
        (DEPLOY, prometheus("caFile", "a/../../b"), &["spec.judge.prometheus.caFile", "as it is mounted"]),
        (DEPLOY, hook(token), &["spec.webhooks[0].secretFile", "as it is mounted"]),
        (DEPLOY, deploy(json!({ "splits": ["other/web"] })), &["spec.splits", "of its own namespace only"]),
        (TEST, trial(json!({ "splits": [{ "name": "other/web" }] })), &["spec.splits", "of its own namespace only"]),
        (JUDGMENT, judgment(json!({ "rollout": "other/app" })), &["spec.rollout", "of its own namespace only"]),
    ]
}
