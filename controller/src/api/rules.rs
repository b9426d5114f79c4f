//! What the CRDs refuse beyond the types of fields, in CEL, so that `kubectl apply` says what [`super::accept`] and
//! [`super::accept_rollout`] say of a folder. In: nothing. Out: values of `x-kubernetes-validations`, in the order they are
//! looked at.
//!
//! These know only fields that have one type. Steps and splits may be written in two ways each; Kubernetes has no type for
//! that, and CEL in a CRD does not see what has none. A ValidatingAdmissionPolicy does: `crds/policy.yaml`.

use serde::Serialize;

/// One rule: CEL that is true of what is accepted, and what to say otherwise.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    rule: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_expression: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field_path: Option<&'static str>,
}

/// With a fixed message.
const fn say(rule: &'static str, message: &'static str) -> Rule {
    Rule { rule, message: Some(message), message_expression: None, field_path: None }
}

/// With a message that CEL makes.
const fn tell(rule: &'static str, expression: &'static str) -> Rule {
    Rule { rule, message: None, message_expression: Some(expression), field_path: None }
}

impl Rule {
    /// About this field of the object that the rule is on.
    const fn at(self, path: &'static str) -> Self {
        Self { field_path: Some(path), ..self }
    }
}

/// A whole TrafficSplit.
pub(super) const SPLIT: [Rule; 7] = [
    say("self.subsets.all(a, self.subsets.exists_one(b, b.name == a.name))", "a subset is listed twice").at(".subsets"),
    say("self.subsets.exists(s, s.weight > 0)", "all weights are 0; give at least one subset a weight above 0")
        .at(".subsets"),
    tell(
        "!has(self.default) || self.subsets.exists(s, s.name == self.default)",
        "'default names subset \"' + self.default + '\", which is not one of the subsets'",
    )
    .at(".default"),
    say(
        "!has(self.overrides) || self.overrides.all(o, self.subsets.exists(s, s.name == o.subset))",
        "an override names a subset which is not one of the subsets",
    )
    .at(".overrides"),
    say(
        "!has(self.assignment) || self.assignment != 'sticky' || has(self.sticky)",
        "assignment: sticky needs to know by what; add for example sticky: { header: x-user-id }",
    )
    .at(".assignment"),
    say(
        "!has(self.sticky) || (has(self.assignment) && self.assignment == 'sticky')",
        "sticky has no effect with this assignment; set assignment: sticky, or leave sticky out",
    )
    .at(".sticky"),
    say(
        "!(has(self.trustUpstream) && self.trustUpstream && has(self.writeDefault) && !self.writeDefault)",
        "trustUpstream needs the header for the default subset too, or the next hop cannot see that it was chosen; \
         leave writeDefault out",
    )
    .at(".writeDefault"),
];

/// A subset's name.
pub(super) const LABEL: [Rule; 1] = [tell(
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "'\"' + self + \"\\\" must be 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit\"",
)];

/// The hosts of a split.
pub(super) const HOSTS: [Rule; 1] = [say(
    r"self.all(h, h.matches('^([*][.])?[-_a-z0-9]{1,63}([.][-_a-z0-9]{1,63})*$') || h.matches('^[\\[][0-9a-f:.]{2,45}[\\]]$'))",
    "a host must be a lower-case DNS name, '*.' and a DNS name, or an address, without port",
)];

/// What stickiness goes by.
pub(super) const STICKY: [Rule; 1] = [say(
    "[has(self.header), has(self.cookie), has(self.sourceAddress)].exists_one(given, given)",
    "sticky goes by exactly one of header, cookie and sourceAddress, for example sticky: { header: x-user-id }",
)];

/// A switch that can only be on.
pub(super) const ONLY_TRUE: [Rule; 1] = [say("self", "this can only be true; leave it out instead")];

/// The name of a header that is read.
pub(super) const HEADER: [Rule; 2] = [
    tell(
        "self.matches('^[-!#$%&\\'*+.^_`|~0-9A-Za-z]+$')",
        "'header \"' + self + '\" is not an HTTP field name (RFC 9110)'",
    ),
    tell(
        "!(self.lowerAscii() in ['host', 'content-length', 'content-type', 'connection', 'transfer-encoding', 'te', \
         'trailer', 'upgrade', 'keep-alive', 'proxy-connection', 'expect', 'cookie', 'set-cookie'])",
        "'header \"' + self + '\" has a meaning of its own in HTTP; choose a name of your own such as x-user-id'",
    ),
];

/// The name of a cookie.
pub(super) const COOKIE: [Rule; 1] = [tell(
    "self.matches('^[-!#$%&\\'*+.^_`|~0-9A-Za-z]+$')",
    "'cookie name \"' + self + '\" is not an HTTP token (RFC 9110)'",
)];

/// An override.
pub(super) const OVERRIDE: [Rule; 1] = [say(
    "has(self.header) != has(self.cookie)",
    "an override looks at one of header and cookie: give exactly one of them",
)];

/// A duration. What is well formed and yet too long or too short is left to the controller.
pub(super) const DURATION: [Rule; 1] = [tell(
    "self.matches('^ *([0-9]+ *d|([0-9.]+ *(h|hrs?|hours?|m|mins?|minutes?|s|secs?|seconds?|ms|msecs?|millis|milliseconds?|[uµn]s|micros|nanos)[ ,]*)+|[Pp][0-9.TtHhMmSs]+) *$')",
    "'\"' + self + '\" is not a duration; write for example 500ms, 90s, 5m or 24h'",
)];

/// An address to call.
pub(super) const URL: [Rule; 1] =
    [say("self.matches('^https?://[^/?#:\\\\s][^\\\\s]*$')", "the url must be http://HOST/… or https://HOST/…")];

/// A file that the controller reads for whoever may write the object: never one of its own.
pub(super) const FILE: [Rule; 1] = [say(
    "!self.startsWith('/') && !self.split('/').exists(part, part == '..')",
    "in Kubernetes a file is named as it is mounted for the controller: neither '/' at its beginning nor '..'",
)];

/// What CanaryDeploy and CanaryTest have in common: what is rolled out.
macro_rules! rollout {
    ($($more:expr),* $(,)?) => {
        [
            say(
                "!(has(self.version) && (has(self.images) || has(self.patch)))",
                "version and images or patch are two ways to say the same; keep images for a Deployment, version for a command",
            )
            .at(".version"),
            say(
                "!has(self.images) || has(self.workload)",
                "images are those of a Deployment; name it with workload: NAME",
            )
            .at(".images"),
            say(
                "!has(self.patch) || has(self.workload)",
                "a patch is of a Deployment; name it with workload: NAME",
            )
            .at(".patch"),
            say(
                "has(self.workload) == has(oldSelf.workload) && (!has(self.workload) || self.workload == oldSelf.workload)",
                "workload cannot be changed, or nobody would look after the pods of the other; delete this and make a new one",
            )
            .at(".workload"),
            $($more),*
        ]
    };
}

/// A whole CanaryDeploy.
pub(super) const DEPLOY: [Rule; 8] = rollout![
    say(
        "has(self.version) || has(self.images) || has(self.patch) || has(self.template)",
        "there is no version; write images: { CONTAINER: IMAGE } for a Deployment, or version: v2",
    ),
    say(
        "!has(self.template) || !(has(self.version) || has(self.images) || has(self.patch))",
        "template says everything; leave out version, images and patch",
    )
    .at(".template"),
    say(
        "!has(self.replicas) || has(self.template)",
        "replicas go with template; those of another Deployment are its own business",
    )
    .at(".replicas"),
    say(
        "has(self.template) == has(oldSelf.template)",
        "main belongs to a rollout with template, and not to one without; delete this and make a new one",
    )
    .at(".template"),
];

/// A whole CanaryTest.
pub(super) const TEST: [Rule; 6] = rollout![
    say(
        "has(self.version) || has(self.images) || has(self.patch)",
        "there is no version; write images: { CONTAINER: IMAGE } for a Deployment, or version: v2",
    ),
    say(
        "!has(self.replicas) || self.replicas > 0 || self.weight <= 0.0",
        "no pod would answer the canary's requests; give it replicas, or weight: 0",
    )
    .at(".replicas"),
];

/// A version by name.
pub(super) const VERSION: [Rule; 1] = [tell(
    "self == self.trim() && self.size() > 0",
    "'version \"' + self + '\" must be 1 to 256 characters without white space at its ends'",
)];

/// Images.
pub(super) const IMAGES: [Rule; 1] = [say(
    "self.all(name, name.size() > 0 && !name.contains(' ') && self[name].size() > 0 && !self[name].contains(' '))",
    "an image is written CONTAINER: IMAGE, both without white space",
)];

/// `judge`.
pub(super) const JUDGE: [Rule; 2] = [
    say(
        "!has(self.metrics) || self.metrics.size() == 0 || has(self.prometheus)",
        "metrics come from Prometheus; add prometheus: { url: http://HOST:9090 } to judge",
    )
    .at(".metrics"),
    say(
        "!has(self.groups) || self.groups.all(group, has(self.metrics) && self.metrics.exists(m, has(m.group) && m.group == group))",
        "no metric belongs to one of these groups",
    )
    .at(".groups"),
];

/// Marks of scores.
pub(super) const MARKS: [Rule; 1] = [say(
    "0.0 <= self.marginal && self.marginal <= self.pass && self.pass <= 100.0",
    "marks must be 0 ≤ marginal ≤ pass ≤ 100",
)];

/// A query.
pub(super) const QUERY: [Rule; 1] = [say(
    "self.contains('{{subset}}')",
    "the query must tell the subsets apart; put {{subset}} where its name belongs",
)];

/// A whole Judgment.
pub(super) const JUDGMENT: [Rule; 6] = [
    say(
        "has(self.verdict) || has(self.decision)",
        "the decision is missing; write decision: continue, promote, rollback or undo",
    ),
    say(
        "has(self.verdict) || !has(self.decision) || (has(self.by) && self.by.trim().size() > 0)",
        "say who decided; write for example by: alice",
    ),
    say(
        "!(has(self.override) && self.override && has(self.verdict))",
        "override is for persons; leave out verdict, or override",
    )
    .at(".override"),
    say(
        "!(has(self.override) && self.override && has(self.decision) && self.decision in ['rollback', 'undo'])",
        "override goes with continue and promote; nothing keeps you from rolling back",
    )
    .at(".override"),
    say("has(self.verdict) || !has(self.evidence)", "evidence goes with a verdict; say why you decided so in reason")
        .at(".evidence"),
    say(
        "self.rollout == oldSelf.rollout && has(self.decision) == has(oldSelf.decision) \
         && (!has(self.decision) || self.decision == oldSelf.decision) \
         && has(self.by) == has(oldSelf.by) && (!has(self.by) || self.by == oldSelf.by)",
        "a judgment is not changed once it is given; write another one",
    ),
];

/// The rollout that a judgment is about.
pub(super) const ROLLOUT: [Rule; 1] = [tell(
    "self.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?/)?[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
    "'rollout \"' + self + '\" must be NAME or NAMESPACE/NAME of a CanaryDeploy'",
)];
