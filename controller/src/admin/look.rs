//! What a page is shown, and by whom: a controller shows what it knows, `sluicegate dashboard` what somebody may see of a cluster.

use super::{
    model::{Split, Splits},
    view,
};
use crate::{context::Desk, rollouts::view::View};
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

/// Whoever can tell a page what there is: a controller, or a person's look at a cluster.
pub(crate) trait Shown: Clone + Send + Sync + 'static {
    /// Everything as it stands; `about`: a split to be told in detail.
    fn look(&self, about: Option<&str>) -> Look;
    /// Ticks whenever that may have changed.
    fn changes(&self) -> watch::Receiver<()>;
    /// Turns true when the process ends.
    fn closing(&self) -> watch::Receiver<bool>;
    /// Whose look it is, where somebody knows.
    fn looker(&self) -> Option<Looker> {
        None
    }
}

/// What a page is shown.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The clock of whoever tells.
    pub(crate) now: Timestamp,
    pub(crate) splits: Splits,
    pub(crate) rollouts: Vec<View>,
    pub(crate) detail: Option<Split>,
    /// Only in a cluster.
    pub(crate) access: Option<Access>,
}

/// Somebody who looks at a cluster by their own kubeconfig. The record names them: nobody need say who they are.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Looker {
    /// The name the cluster knows them by.
    pub(crate) user: String,
    /// The context of the kubeconfig.
    pub(crate) context: String,
    /// The one that is shown; `None`: all.
    pub(crate) namespace: Option<String>,
}

/// What stands between them and the cluster.
#[derive(Debug, Default, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Access {
    /// Since when the API server does not answer.
    pub(crate) lost: Option<Timestamp>,
    /// What they have no right to.
    pub(crate) may_not: Vec<MayNot>,
}

/// Verbs that Kubernetes would refuse in a namespace.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MayNot {
    pub(crate) namespace: String,
    /// As the buttons of the page are called.
    pub(crate) verbs: &'static [&'static str],
    /// In a sentence.
    pub(crate) why: String,
}

impl Shown for Desk {
    fn look(&self, about: Option<&str>) -> Look {
        let now = self.context.clock.now();
        let inner = self.context.lock();
        Look {
            now: now.wall,
            splits: view::splits(&inner),
            rollouts: inner.rollouts.values().cloned().collect(),
            detail: about.and_then(|name| view::split(&inner, name, Some(now.at))),
            access: None,
        }
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.context.shown()
    }

    fn closing(&self) -> watch::Receiver<bool> {
        self.context.closing()
    }
}
