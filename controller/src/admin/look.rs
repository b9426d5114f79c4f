//! What a page is shown, and by whom: a controller shows what it knows, `sluicegate dashboard` what somebody may see of a cluster.

use super::{
    model::{Split, Splits},
    view,
};
use crate::{
    context::Desk,
    rollouts::{
        series::{Fresh, Known},
        view::View,
    },
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Whoever can tell a page what there is: a controller, or a person's look at a cluster.
pub(crate) trait Shown: Clone + Send + Sync + 'static {
    /// Everything as it stands; `charted`: what was told of the series before.
    fn look(&self, about: &About, charted: Option<Known>) -> Look;
    /// Ticks whenever that may have changed.
    fn changes(&self) -> watch::Receiver<()>;
    /// Turns true when the process ends.
    fn closing(&self) -> watch::Receiver<bool>;
    /// Whose look it is, where somebody knows.
    fn looker(&self) -> Option<Looker> {
        None
    }
}

/// What is to be told in detail.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    /// This split.
    pub(crate) split: Option<String>,
    /// This rollout: all its splits, and what was counted over time.
    pub(crate) rollout: Option<String>,
}

/// What a page is shown.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// The clock of whoever tells.
    pub(crate) now: Timestamp,
    pub(crate) splits: Splits,
    pub(crate) rollouts: Vec<View>,
    /// The split that was asked for.
    pub(crate) detail: Option<Split>,
    /// Those of the rollout that was asked for.
    pub(crate) details: Vec<Split>,
    /// What is new in its series.
    pub(crate) fresh: Option<Fresh>,
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
    fn look(&self, about: &About, charted: Option<Known>) -> Look {
        let now = self.context.clock.now();
        let inner = self.context.lock();
        let of = |name: &str| view::split(&inner, name, Some(now.at));
        let rollout = about.rollout.as_deref();
        let led = rollout.and_then(|name| inner.rollouts.get(name)).map_or(&[][..], |view| view.splits.as_slice());
        Look {
            now: now.wall,
            splits: view::splits(&inner),
            rollouts: inner.rollouts.values().cloned().collect(),
            detail: about.split.as_deref().and_then(of),
            details: led.iter().filter_map(|name| of(name)).collect(),
            fresh: rollout.and_then(|name| inner.series.fresh(name, charted)),
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
