//! The store of a cluster: TrafficSplits in, generations into their status, changes out.
//!
//! Every replica publishes what the status of each split says is in force. The one that holds the lease also compares
//! the specs with that, by the same rules as the folder store, and writes the next generation into the status; only
//! when the API server has taken it is it published. So what proxies hear was written first, and a replica that lags
//! is only late.

use super::{
    cluster::{Cluster, ClusterError, Kind, Objects, revision},
    fit::fit,
    outage::Outage,
    records,
    status::{self, Spread},
    watch::Noticed,
};
use crate::{
    admin::condition,
    api::object,
    context::Context,
    rollouts::AllWanted,
    store::{
        Change, Command, Complaint, Driven, Set, SetError, Sink, Weights, ask, driven,
        plan::{Source, plan},
        rollouts,
        state::Known,
        tell,
    },
};
use futures::{StreamExt, stream};
use kube::api::DynamicObject;
use serde_json::json;
use sluicegate_core::spec::SplitSpec;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

/// Status writes under way at the same time.
const WRITES: usize = 8;
/// Changes that come together are acted on together; and acks are told at most this often.
const REFRESH: Duration = Duration::from_secs(1);
/// What failed is tried again after this long.
const AGAIN: Duration = Duration::from_millis(500);
/// How often a write is tried that others get in the way of, while somebody waits for it.
const TRIES: usize = 8;

/// See the module.
#[derive(Debug)]
pub struct KubeStore {
    cluster: Cluster,
    context: Context,
    known: BTreeMap<String, Known>,
    rollouts: AllWanted,
    complaints: Vec<Complaint>,
    /// Kinds of which not all objects are known yet.
    unlisted: BTreeSet<Kind>,
    begun: bool,
    outage: Outage,
}

impl KubeStore {
    /// Nothing known yet.
    pub fn new(cluster: Cluster, context: Context) -> Self {
        Self {
            cluster,
            context,
            known: BTreeMap::new(),
            rollouts: AllWanted::new(),
            complaints: Vec::new(),
            unlisted: Kind::ALL.into(),
            begun: false,
            outage: Outage::default(),
        }
    }

    /// Runs until it is told to stop. `leads` changes when the lease comes or goes.
    pub async fn run(
        mut self,
        mut noticed: mpsc::Receiver<Noticed>,
        mut queue: mpsc::Receiver<Command>,
        mut leads: watch::Receiver<super::lease::Standing>,
    ) {
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut settled = self.context.settled();
        let mut again = false;
        loop {
            tokio::select! {
                command = queue.recv() => match command {
                    Some(Command::SetWeights { split, weights, reply }) => {
                        let done = self.set_weights(&split, &weights).await;
                        // The asker may have gone; what was done stays done.
                        let _ = reply.send(done);
                    }
                    Some(Command::EditTest { test, reply, .. }) => {
                        let _ = reply.send(Err(SetError::Object(Kind::CanaryTest.title(&test))));
                    }
                    Some(Command::Drive { split, by, weights, reply }) => {
                        let done = self.drive(&split, &by, weights).await;
                        let _ = reply.send(done);
                    }
                    Some(Command::Look(_)) => {}
                    Some(Command::Stop) | None => return,
                },
                Some(one) = noticed.recv() => {
                    let mut matters = self.take(one);
                    while let Ok(one) = noticed.try_recv() {
                        matters |= self.take(one);
                    }
                    if matters {
                        again = !self.reconcile().await;
                    }
                }
                _ = leads.changed() => again = !self.reconcile().await,
                _ = refresh.tick() => {
                    if settled.has_changed().unwrap_or(false) {
                        settled.borrow_and_update();
                        again = !self.reconcile().await;
                    }
                }
                () = tokio::time::sleep(AGAIN), if again => again = !self.reconcile().await,
            }
        }
    }

    /// True: something may have to be done about it.
    fn take(&mut self, noticed: Noticed) -> bool {
        match noticed {
            Noticed::Changed(Kind::TrafficSplit, name) => match self.cluster.get(Kind::TrafficSplit, &name) {
                Some(object) => self.adopt(&name, &object),
                None => self.forget(&name),
            },
            Noticed::Changed(Kind::Deployment, name) => {
                if self.cluster.get(Kind::Deployment, &name).is_none() {
                    self.context.note_deleted();
                }
                return false;
            }
            Noticed::Changed(kind, _) | Noticed::Listed(kind) if Kind::WORKLOADS.contains(&kind) => return false,
            // It is in the log, and tried again.
            Noticed::Failed { .. } => return false,
            Noticed::Changed(..) => {}
            Noticed::Listed(kind) => {
                self.unlisted.remove(&kind);
            }
        }
        true
    }

    /// Puts in force what the status of a split says, if that is newer.
    fn adopt(&mut self, name: &str, object: &DynamicObject) {
        let Some(new) = status::known(object, name) else { return };
        let before = self.known.get(name).map_or(0, |known| known.generation);
        if new.generation < before {
            return;
        }
        let generation = new.generation;
        let (weights, hosted) = (new.split.clone(), new.hosted);
        let entry = Change { name: name.to_owned(), entry: new.entry(), hosted, since: new.since };
        self.known.insert(name.to_owned(), new);
        if generation > before {
            let text = weights.map(|split| split.subsets.iter().map(|s| format!("{}={}", s.name, s.weight)).collect());
            let text: Vec<String> = text.unwrap_or_default();
            info!(split = name, generation, weights = text.join(" "), "split in force");
            self.context.publish(vec![entry]);
        }
    }

    /// The object is gone.
    fn forget(&mut self, name: &str) {
        let Some(known) = self.known.get_mut(name).filter(|known| known.is_live()) else { return };
        let now = self.context.clock.now();
        let rival = self.context.rival(name).unwrap_or(0);
        (known.generation, known.since) = (known.generation.max(rival) + 1, now.wall);
        (known.split, known.driven) = (None, None);
        info!(split = name, generation = known.generation, "split deleted");
        let change = Change { name: name.to_owned(), entry: known.entry(), hosted: known.hosted, since: known.since };
        self.context.publish(vec![change]);
    }

    /// The next generation of a split. One that nobody remembers begins at the number of the object's version, which is
    /// above every generation that an earlier object of this name can have had.
    fn next(&self, name: &str, object: &DynamicObject) -> u64 {
        let own = match self.known.get(name) {
            Some(known) => known.generation,
            None => revision(object).saturating_sub(1),
        };
        own.max(self.context.rival(name).unwrap_or(0)) + 1
    }

    /// Compares what is wanted with what is in force; true: there is nothing left to do.
    async fn reconcile(&mut self) -> bool {
        if !self.unlisted.is_empty() {
            return true;
        }
        if !self.begun {
            self.begun = true;
            self.rollouts = records::remembered(&self.cluster);
            self.context.remember(self.rollouts.clone());
            self.context.lock().loaded = true;
        }
        let splits = self.cluster.list(Kind::TrafficSplit);
        for (name, object) in &splits {
            self.adopt(name, object);
        }
        let now = self.context.clock.now().wall;
        let mut base = self.known.clone();
        self.let_orphans_go(&mut base);
        let mut sources: Vec<Source> = splits.iter().map(|(name, o)| source(Kind::TrafficSplit, name, o)).collect();
        driven::hold(&base, &mut sources);
        let plan = plan(&base, &sources);
        let mut complaints = plan.complaints;
        for (spec, file) in plan.put {
            let Some(object) = splits.get(&spec.name) else { continue };
            let (generation, name) = (self.next(&spec.name, object), spec.name.clone());
            let before = base.get(&name);
            let hosted = !spec.hosts.is_empty() || before.is_some_and(|known| known.hosted);
            let driven = before.and_then(|known| known.driven.clone());
            base.insert(name, Known { generation, since: now, file, hosted, split: Some(spec), driven });
        }
        complaints.extend(self.rollouts_wanted());
        complaints.iter_mut().for_each(|complaint| complaint.place = None);
        tell(&mut self.complaints, complaints, &self.context);
        self.write(&splits, &base).await
    }

    /// Weights held by a rollout that is not there any more are nobody's.
    fn let_orphans_go(&self, known: &mut BTreeMap<String, Known>) {
        let titles: BTreeSet<String> = Kind::ROLLOUTS
            .iter()
            .flat_map(|kind| self.cluster.list(*kind).into_keys().map(|name| kind.title(&name)))
            .collect();
        for known in known.values_mut() {
            if known.driven.as_ref().is_some_and(|driven| !titles.contains(&driven.by)) {
                known.driven = None;
            }
        }
    }

    fn rollouts_wanted(&mut self) -> Vec<Complaint> {
        let mut sources = Vec::new();
        for kind in [Kind::CanaryDeploy, Kind::CanaryTest, Kind::Judgment] {
            let all = self.cluster.list(kind);
            // One that is being deleted is wanted no more, and one that we wrote ourselves is no order.
            let counts = |o: &DynamicObject| o.metadata.deletion_timestamp.is_none() && !records::is_ours(kind, o);
            sources.extend(all.iter().filter(|(_, o)| counts(o)).map(|(name, o)| source(kind, name, o)));
        }
        let (mut wanted, wrong) = rollouts::wanted(&self.rollouts, &sources);
        for (name, found) in &mut wanted {
            let kind = Kind::ROLLOUTS.into_iter().find(|kind| kind.title(name) == found.file);
            let object = kind.and_then(|kind| self.cluster.get(kind, name));
            found.generation = object.and_then(|object| object.metadata.generation);
        }
        if wanted != self.rollouts {
            self.context.rollouts(wanted.clone());
            self.rollouts = wanted;
        }
        // Those about rollouts are in nobody's plan but this one.
        let others = sources.iter().flat_map(|source| source.documents.iter().map(move |d| (&source.file, d)));
        let refused = others.filter_map(|(file, document)| {
            let problem = document.problem()?;
            let message = problem.message.clone();
            Some(Complaint {
                file: file.clone(),
                place: None,
                split: None,
                refused: true,
                reason: problem.reason,
                message,
            })
        });
        refused.chain(wrong).collect()
    }

    /// Writes every status that does not say this; true: all do, or it is not ours to write.
    async fn write(&mut self, splits: &Objects, wanted: &BTreeMap<String, Known>) -> bool {
        if self.cluster.may_write().is_err() {
            return true;
        }
        let cluster = self.cluster.clone();
        let changed: Vec<_> = splits
            .iter()
            .filter_map(|(name, object)| {
                let status = self.status(name, object, wanted.get(name));
                (object.data.get("status") != Some(&status)).then(|| (name.clone(), Arc::clone(object), status))
            })
            .collect();
        let writes = stream::iter(changed).map(|(name, object, status): (String, Arc<DynamicObject>, _)| {
            let cluster = cluster.clone();
            async move { (name, cluster.write_status(Kind::TrafficSplit, &object, status).await) }
        });
        let mut writes = writes.buffer_unordered(WRITES);
        let mut done = true;
        while let Some((name, written)) = writes.next().await {
            match written {
                Ok(()) => {
                    if let Some(object) = cluster.get(Kind::TrafficSplit, &name) {
                        self.adopt(&name, &object);
                    }
                }
                // The watch brings what it has become.
                Err(ClusterError::Conflict(_) | ClusterError::Missing(_)) => done = false,
                Err(why) => {
                    if self.outage.is_new(&why.reason()) {
                        warn!(split = name, %why, "cannot write the status; what was in force stays; trying on");
                    }
                    done = false;
                }
            }
        }
        if self.outage.is_over() {
            info!("statuses of splits can be written again");
        }
        done
    }

    fn status(&self, name: &str, object: &DynamicObject, known: Option<&Known>) -> serde_json::Value {
        let about: Vec<_> = self.complaints.iter().filter(|c| c.split.as_deref() == Some(name)).collect();
        let inner = self.context.lock();
        let record = inner.hub.record(name).filter(|r| known.is_some_and(|known| known.generation == r.generation()));
        let spread = Spread {
            acked: record.map_or((0, inner.hub.acked(name).1), |_| inner.hub.acked(name)),
            told: record.map(|record| condition::propagated(&inner, name, record)),
        };
        status::status(object, known, &about, &spread, self.context.clock.now().wall)
    }

    /// Reads a split anew, so that what the user wrote a moment ago comes first.
    async fn reread(&mut self, split: &str) -> Result<Arc<DynamicObject>, SetError> {
        let failed =
            |why: ClusterError| SetError::Write { file: Kind::TrafficSplit.title(split), why: why.to_string() };
        self.cluster.may_write().map_err(failed)?;
        let before = self.cluster.get(Kind::TrafficSplit, split);
        match self.cluster.read(Kind::TrafficSplit, split).await.map_err(failed)? {
            // Nothing new: to look at all the others again would take the longer the more there are.
            Some(object) if before.is_some_and(|before| revision(before.as_ref()) == revision(object.as_ref())) => {
                Ok(object)
            }
            Some(object) => {
                self.adopt(split, &object);
                self.reconcile().await;
                Ok(self.cluster.get(Kind::TrafficSplit, split).unwrap_or(object))
            }
            None => Err(ask::no_split(&self.known, split)),
        }
    }

    /// Writes new weights into the spec and puts them in force.
    async fn set_weights(&mut self, split: &str, weights: &Weights) -> Result<Set, SetError> {
        for _ in 0..TRIES {
            let object = self.reread(split).await?;
            // What the watch brought a moment ago may not be in force yet, and is not to be written over.
            self.reconcile().await;
            let (old, known) = ask::live(&self.known, split)?;
            let new = ask::weigh(split, old, known, &self.complaints, weights)?;
            let changed = new != *old;
            if !changed && self.context.rival(split).is_none() {
                return Ok(Set { generation: known.generation, changed });
            }
            if changed {
                let subsets: Vec<_> =
                    new.subsets.iter().map(|s| json!({ "name": s.name, "weight": s.weight })).collect();
                let patch = json!({ "spec": { "subsets": subsets } });
                match self.cluster.write(Kind::TrafficSplit, &object, patch).await {
                    Err(ClusterError::Conflict(_)) => continue,
                    other => other.map_err(|why| self.failed(split, &why))?,
                }
            }
            let known = known.clone();
            let put = self.put(split, Some(new), known.driven.clone(), &known).await;
            return Ok(Set { generation: put.map_err(|why| self.failed(split, &why))?, changed });
        }
        Err(self.failed(split, &ClusterError::Conflict(Kind::TrafficSplit.title(split))))
    }

    /// Holds the weights of a split for `by`, or lets go those that it holds; returns the generation in force.
    async fn drive(&mut self, split: &str, by: &str, weights: Option<Weights>) -> Result<u64, SetError> {
        for _ in 0..TRIES {
            // One that is not there is not asked for; the watch tells when it comes.
            let there = self.cluster.get(Kind::TrafficSplit, split).is_some();
            let found = if there { self.reread(split).await } else { Err(ask::no_split(&self.known, split)) };
            match (found, &weights) {
                // Deleted meanwhile: there is nothing to let go.
                (Err(SetError::NoSplit { .. }), None) => return Ok(self.known.get(split).map_or(0, |k| k.generation)),
                (found, _) => drop(found?),
            }
            let (old, known) = ask::live(&self.known, split)?;
            let Some((spec, driven)) = ask::drive(split, old, known, by, weights.clone())? else {
                return Ok(known.generation);
            };
            if known.driven == driven && spec == *old {
                return Ok(known.generation);
            }
            let known = known.clone();
            match self.put(split, Some(spec), driven, &known).await {
                Err(ClusterError::Conflict(_)) => continue,
                other => other.map_err(|why| self.failed(split, &why))?,
            };
            if weights.is_none() {
                // What the spec says is in force again.
                self.reconcile().await;
            }
            return Ok(self.known.get(split).map_or(0, |k| k.generation));
        }
        Err(self.failed(split, &ClusterError::Conflict(Kind::TrafficSplit.title(split))))
    }

    /// Makes this what is in force.
    async fn put(
        &mut self,
        split: &str,
        spec: Option<SplitSpec>,
        driven: Option<Driven>,
        before: &Known,
    ) -> Result<u64, ClusterError> {
        let missing = || ClusterError::Missing(Kind::TrafficSplit.title(split));
        let object = self.cluster.get(Kind::TrafficSplit, split).ok_or_else(missing)?;
        let mut next = Known { split: spec, driven, ..before.clone() };
        if next.split != before.split || self.context.rival(split).is_some() {
            (next.generation, next.since) = (self.next(split, &object), self.context.clock.now().wall);
        }
        let status = self.status(split, &object, Some(&next));
        self.cluster.write_status(Kind::TrafficSplit, &object, status).await?;
        if let Some(object) = self.cluster.get(Kind::TrafficSplit, split) {
            self.adopt(split, &object);
        }
        Ok(self.known.get(split).map_or(0, |known| known.generation))
    }

    fn failed(&self, split: &str, why: &ClusterError) -> SetError {
        SetError::Write { file: Kind::TrafficSplit.title(split), why: why.to_string() }
    }
}

/// An object as the folder store's rules read it: a file of its own.
fn source(kind: Kind, name: &str, object: &DynamicObject) -> Source {
    let document = fit(object::read(kind.name(), name, &object.data));
    Source { file: kind.title(name), documents: vec![document], fault: None }
}
