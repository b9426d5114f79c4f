//! Follows the objects of one kind, through everything that happens to an API server.
//!
//! In: what the API server tells. Out: [`Cluster`] is kept up to date, and the store hears what changed. Each object
//! comes as plain JSON, so one that makes no sense does not keep the others away.

use super::cluster::{Cluster, Kind, full_name, revision};
use futures::{Stream, TryStreamExt};
use kube::{
    api::DynamicObject,
    runtime::watcher::{self, Event},
};
use std::{collections::BTreeSet, pin::pin, time::Duration};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// After an error the API server is asked again so much later, and longer each time …
const FIRST: Duration = Duration::from_millis(200);
/// … but not longer than this.
const LAST: Duration = Duration::from_secs(2);

/// What the store hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// An object is new, changed or gone.
    Changed(Kind, String),
    /// All objects of this kind are known.
    Listed(Kind),
    /// The API server did not tell what was asked; it is asked again.
    Failed {
        /// Of which kind.
        kind: Kind,
        /// The status of its answer; `None`: there was none.
        status: Option<u16>,
        /// The right that the question takes.
        verb: &'static str,
        /// Why.
        why: String,
    },
}

/// Follows one kind until the receiver is gone.
pub async fn run(cluster: Cluster, kind: Kind, told: mpsc::Sender<Noticed>) {
    loop {
        let events = watcher::watcher(cluster.all(kind), watcher::Config::default());
        // Ends with an error only; what is known stays known.
        if follow(&cluster, kind, &told, events).await.is_none() {
            return;
        }
    }
}

async fn follow(
    cluster: &Cluster,
    kind: Kind,
    told: &mpsc::Sender<Noticed>,
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
) -> Option<()> {
    let mut events = pin!(events);
    let (mut listed, mut wait, mut silent) = (BTreeSet::new(), FIRST, false);
    loop {
        let event = match events.try_next().await {
            Ok(Some(event)) => event,
            Ok(None) => return Some(()),
            Err(why) => {
                if !silent {
                    warn!(kind = kind.name(), why = explain(kind, &why), "cannot follow the API server; trying on");
                }
                silent = true;
                told.send(failed(kind, &why)).await.ok()?;
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LAST);
                continue;
            }
        };
        if std::mem::take(&mut silent) {
            info!(kind = kind.name(), "following the API server again");
        }
        wait = FIRST;
        match event {
            Event::Init => listed = BTreeSet::new(),
            Event::InitApply(object) => {
                listed.insert(full_name(&object));
                note(cluster, kind, told, object).await?;
            }
            Event::InitDone => {
                for name in cluster.list(kind).into_keys().filter(|name| !listed.contains(name)) {
                    forget(cluster, kind, told, &name, u64::MAX).await?;
                }
                cluster.set_listed(kind);
                told.send(Noticed::Listed(kind)).await.ok()?;
            }
            Event::Apply(object) => note(cluster, kind, told, object).await?,
            Event::Delete(object) => {
                let (name, as_of) = (full_name(&object), revision(&object));
                cluster.note(kind, object);
                forget(cluster, kind, told, &name, as_of).await?;
            }
        }
    }
}

async fn note(cluster: &Cluster, kind: Kind, told: &mpsc::Sender<Noticed>, object: DynamicObject) -> Option<()> {
    let name = full_name(&object);
    if cluster.note(kind, object) {
        told.send(Noticed::Changed(kind, name)).await.ok()?;
    }
    Some(())
}

async fn forget(cluster: &Cluster, kind: Kind, told: &mpsc::Sender<Noticed>, name: &str, as_of: u64) -> Option<()> {
    if cluster.drop(kind, name, as_of) {
        told.send(Noticed::Changed(kind, name.to_owned())).await.ok()?;
    }
    Some(())
}

fn failed(kind: Kind, why: &watcher::Error) -> Noticed {
    let (verb, status) = match why {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => ("list", Some(status.code)),
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => ("watch", Some(status.code)),
        _ => ("watch", None),
    };
    Noticed::Failed { kind, status, verb, why: why.to_string() }
}

fn explain(kind: Kind, why: &watcher::Error) -> String {
    match why {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_not_found() => format!(
            "the cluster does not know the kind {}; install the CRDs with `sluicegate crds | kubectl apply \
             --server-side -f -`",
            kind.name()
        ),
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_forbidden() => format!(
            "{}; give the service account the role of the chart, or say --namespace NAME when it may only look there",
            status.message
        ),
        other => other.to_string(),
    }
}
