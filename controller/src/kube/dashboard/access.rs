//! What somebody has no right to, asked of Kubernetes beforehand, so that the page need not offer it.
//!
//! It is only asked for what is shown: the API server refuses what is tried all the same.

use super::sight::Sight;
use crate::{
    admin::look::Shown as _,
    kube::{cluster::ClusterError, rights::Right},
};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

/// An answer is believed for so long; rights change seldom.
const FRESH: Duration = Duration::from_secs(60);
/// After no answer it is asked again.
const AGAIN: Duration = Duration::from_secs(5);

/// Asks for ever; `doubt`: something was refused, so what was answered before is not so any more.
pub(super) async fn run(sight: Sight, doubt: Arc<Notify>) {
    let mut asked: HashMap<String, Instant> = HashMap::new();
    let mut changes = sight.changes();
    loop {
        asked.retain(|_, at| at.elapsed() < FRESH);
        changes.borrow_and_update();
        let all = sight.namespaces();
        let new: Vec<_> = all.into_iter().filter(|namespace| !asked.contains_key(namespace)).collect();
        let wait = match ask(&sight, &new, &mut asked).await {
            Ok(()) => FRESH,
            Err(_) => AGAIN,
        };
        tokio::select! {
            () = sleep(wait) => {}
            () = doubt.notified() => asked.clear(),
            // There may be a new namespace. Without an answer there is none to the next question either.
            _ = changes.changed(), if wait == FRESH => {}
        }
    }
}

async fn ask(sight: &Sight, new: &[String], asked: &mut HashMap<String, Instant>) -> Result<(), ClusterError> {
    let mut open = Right::ALL.to_vec();
    // Who has a right everywhere has it here: four questions in place of four for each.
    if !sight.is_narrow() && new.len() > 1 {
        open = lacks(sight, None, &open).await?;
    }
    for namespace in new {
        let lacks = lacks(sight, Some(namespace), &open).await?;
        asked.insert(namespace.clone(), Instant::now());
        sight.note_lacks(namespace, lacks);
    }
    Ok(())
}

async fn lacks(sight: &Sight, namespace: Option<&str>, of: &[Right]) -> Result<Vec<Right>, ClusterError> {
    let mut lacks = Vec::new();
    for right in of {
        if !right.is_given(sight.client(), namespace).await? {
            lacks.push(*right);
        }
    }
    Ok(lacks)
}
