//! What a person may do, as Kubernetes says, and how that is told to them.

use super::cluster::{ClusterError, Kind, ask};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};

/// A verb of RBAC on one of our kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) verb: &'static str,
    pub(crate) kind: Kind,
}

impl Right {
    /// To decide on a step, or on a whole rollout.
    pub(crate) const JUDGE: Self = Self { verb: "create", kind: Kind::Judgment };
    /// To keep a rollout where it is.
    pub(crate) const PAUSE: Self = Self { verb: "patch", kind: Kind::CanaryDeploy };
    /// To change the weight of a test.
    pub(crate) const TRY: Self = Self { verb: "patch", kind: Kind::CanaryTest };
    /// To change the weights of a split.
    pub(crate) const WEIGH: Self = Self { verb: "patch", kind: Kind::TrafficSplit };
    /// All that change something.
    pub(crate) const ALL: [Self; 4] = [Self::JUDGE, Self::PAUSE, Self::TRY, Self::WEIGH];

    /// The verbs of the page that need it.
    pub(crate) fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::JUDGE => &["continue", "promote", "rollback", "undo"],
            Self::PAUSE => &["pause", "resume"],
            Self::TRY => &["weight"],
            Self::WEIGH => &["weights"],
            _ => &[],
        }
    }

    /// Who may not do what, where, and what helps. `namespace`: `None` for all of them.
    pub(crate) fn missing(self, user: &str, namespace: Option<&str>) -> String {
        let place = namespace.map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"));
        let (takes, role) = match self {
            Self::JUDGE => ("continue, promote, roll back and undo", "approver"),
            Self::PAUSE => ("pause and resume", "edit"),
            Self::TRY => ("change the weight of a CanaryTest", "edit"),
            Self::WEIGH => ("change the weights of a split", "edit"),
            _ => ("see them", "view"),
        };
        let (verb, plural) = (self.verb, self.kind.resource().plural);
        format!(
            "{user} may not {verb} {plural} in {place}, which it takes to {takes}; a role such as sluicegate-{role} gives \
             that right: ask who administers the cluster"
        )
    }

    /// Whether whoever the client is has it. `namespace`: `None` for all of them.
    pub(crate) async fn is_given(self, client: &Client, namespace: Option<&str>) -> Result<bool, ClusterError> {
        let resource = self.kind.resource();
        let about = ResourceAttributes {
            group: Some(resource.group),
            resource: Some(resource.plural),
            verb: Some(self.verb.to_owned()),
            namespace: namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(about), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let api = Api::<SelfSubjectAccessReview>::all(client.clone());
        let answer = ask("what you may do", api.create(&PostParams::default(), &review)).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

/// The name the cluster knows whoever the client is by.
pub(crate) async fn user(client: &Client) -> Result<Option<String>, ClusterError> {
    let api = Api::<SelfSubjectReview>::all(client.clone());
    let review = ask("who you are", api.create(&PostParams::default(), &SelfSubjectReview::default())).await?;
    Ok(review.status.and_then(|status| status.user_info?.username))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_told_with_who_what_where_and_what_helps() {
        assert_eq!(
            Right::JUDGE.missing("ada", Some("shop")),
            "ada may not create judgments in namespace shop, which it takes to continue, promote, roll back and undo; a \
             role such as sluicegate-approver gives that right: ask who administers the cluster"
        );
        let list = Right { verb: "list", kind: Kind::TrafficSplit };
        let all = list.missing("ada", None);
        assert!(
            all.contains("may not list trafficsplits in all namespaces") && all.contains("sluicegate-view"),
            "{all}"
        );
    }
}
