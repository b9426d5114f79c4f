//! What holds for the hub whatever happens: changes, lost answers, zombie polls, other subscriptions, silence.

use crate::support::{at, change, gone, split};
use proptest::{collection::vec, prelude::*};
use sluicegate::hub::{Hub, PollId, Reply, answer::Answer};
use sluicegate_core::{
    snapshot::{Entry, Snapshot},
    wire::{Abilities, Ack, PROTOCOL, ProxyId, Subscription, SyncRequest},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const NAMES: [&str; 3] = ["n/a", "n/b", "n/c"];
const PROXIES: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Publish { splits: Vec<(usize, bool, bool)> },
    Sync { proxy: usize, lost: bool, full: bool },
    Subscribe { proxy: usize, to: usize },
    Hang { proxy: usize },
    Restart { proxy: usize },
    Wait { ms: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let publish = vec((0..NAMES.len(), any::<bool>(), any::<bool>()), 1..3);
    prop_oneof![
        2 => publish.prop_map(|splits| Step::Publish { splits }),
        6 => (0..PROXIES, any::<bool>(), any::<bool>()).prop_map(|(proxy, lost, full)| Step::Sync { proxy, lost, full }),
        1 => (0..PROXIES, 0..=NAMES.len()).prop_map(|(proxy, to)| Step::Subscribe { proxy, to }),
        1 => (0..PROXIES).prop_map(|proxy| Step::Hang { proxy }),
        1 => (0..PROXIES).prop_map(|proxy| Step::Restart { proxy }),
        2 => (1..8_000_u64).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// A filter with the real merge rule.
struct Model {
    epoch: u64,
    snapshot: Snapshot,
    subscription: Subscription,
    acks: Vec<String>,
    first: bool,
    held: BTreeSet<PollId>,
}

impl Model {
    fn new(epoch: u64) -> Self {
        let subscription = Subscription::Split(NAMES[0].into());
        Self { epoch, snapshot: Snapshot::default(), subscription, acks: vec![], first: true, held: BTreeSet::new() }
    }

    fn request(&mut self, full: bool) -> SyncRequest {
        let full = full || self.first;
        self.first = false;
        let touched = std::mem::take(&mut self.acks);
        let ack = |name: &String, entry: &Entry| (name.clone(), Ack(entry.generation(), entry.digest()));
        let entries = self.snapshot.entries.iter().filter(|(name, _)| full || touched.contains(name));
        SyncRequest {
            sluicegate: PROTOCOL,
            proxy: ProxyId { epoch: self.epoch, node: String::new(), plugin: String::new() },
            version: String::new(),
            abilities: Abilities::default(),
            subscription: self.subscription.clone(),
            cursor: self.snapshot.cursor,
            hold: 25_000,
            full,
            acks: entries.map(|(name, entry)| ack(name, entry)).collect(),
        }
    }

    fn take(&mut self, answer: &Answer) {
        let message = answer.message.clone();
        self.acks.extend(message.splits.iter().map(|s| s.name.clone()));
        self.acks.extend(message.removed.iter().map(|r| r.name.clone()));
        self.snapshot.merge(message);
    }
}

struct World {
    hub: Hub,
    models: Vec<Model>,
    ms: u64,
    generation: u64,
    epochs: u64,
    hosted: [bool; 3],
}

impl World {
    fn publish(&mut self, splits: &[(usize, bool, bool)], lose: bool) {
        let changes = splits.iter().map(|(which, live, hosts)| {
            self.generation += 1;
            self.hosted[*which] |= *live && *hosts;
            let hosted = self.hosted[*which];
            let host = format!("{which}.test");
            let hosts: &[&str] = if *hosts { &[&host] } else { &[] };
            let weights = [("v1", self.generation as u32), ("v2", 1)];
            let mut change = match live {
                true => change(split(NAMES[*which], self.generation, &weights, hosts)),
                false => gone(NAMES[*which], self.generation, hosted),
            };
            change.hosted = hosted;
            change
        });
        let changes = changes.collect();
        let wakes = self.hub.publish(changes, at(self.ms));
        for wake in wakes {
            for poll in wake.polls {
                for model in &mut self.models {
                    if model.held.remove(&poll) && !lose {
                        model.take(&wake.answer);
                    }
                }
            }
        }
    }

    /// Returns the answer, or `None` when held.
    fn sync(&mut self, proxy: usize, full: bool) -> Option<Arc<Answer>> {
        let model = &mut self.models[proxy];
        match self.hub.sync(model.request(full), at(self.ms)) {
            Reply::Answer(answer) => Some(answer),
            Reply::Held(poll) => {
                model.held.insert(poll);
                None
            }
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Publish { splits } => self.publish(&splits, false),
            Step::Sync { proxy, lost, full } => {
                let answer = self.sync(proxy, full).filter(|_| !lost);
                answer.inspect(|answer| self.models[proxy].take(answer));
            }
            Step::Subscribe { proxy, to } => {
                let name = NAMES.get(to).map(|name| Subscription::Split((*name).into()));
                self.models[proxy].subscription = name.unwrap_or(Subscription::Hosts);
            }
            Step::Hang { proxy } => {
                for poll in std::mem::take(&mut self.models[proxy].held) {
                    self.hub.close(poll, at(self.ms));
                }
            }
            Step::Restart { proxy } => {
                self.run(Step::Hang { proxy });
                self.epochs += 1;
                self.models[proxy] = Model::new(self.epochs);
            }
            Step::Wait { ms } => {
                self.ms += ms;
                self.hub.tick(at(self.ms));
            }
        }
    }

    /// The counts the hub keeps are those one gets by counting.
    fn check_counts(&self) -> Result<(), TestCaseError> {
        for (name, record) in self.hub.records() {
            let subscribers: Vec<_> =
                self.hub.proxies().filter(|p| p.lost.is_none() && record.is_for(name, &p.subscription)).collect();
            let acked = subscribers.iter().filter(|p| p.acks.get(name).is_some_and(|a| a.ack == record.ack)).count();
            prop_assert_eq!(self.hub.acked(name), (acked, subscribers.len()), "{}", name);
        }
        let held: usize = self.models.iter().map(|m| m.held.len()).sum();
        prop_assert_eq!(self.hub.open_polls(), held);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn everybody_ends_up_with_exactly_what_is_in_force_and_the_counts_are_right_at_every_step(
        steps in vec(step(), 1..40)
    ) {
        let mut world = World {
            hub: Hub::new(7, Duration::from_secs(2)),
            models: (0..PROXIES as u64).map(Model::new).collect(),
            ms: 0,
            generation: 0,
            epochs: PROXIES as u64,
            hosted: [false; 3],
        };
        for step in steps {
            let lose = matches!(&step, Step::Publish { splits } if splits.len() > 1);
            match step {
                Step::Publish { splits } if lose => world.publish(&splits, true),
                step => world.run(step),
            }
            world.check_counts()?;
        }
        for proxy in 0..PROXIES {
            // Whatever got lost: nothing that is not answered can be missing, and it is answered within a few polls.
            let mut answers = 0;
            while let Some(answer) = world.sync(proxy, false) {
                world.models[proxy].take(&answer);
                answers += 1;
                prop_assert!(answers < 4, "answers without end");
            }
            let model = &world.models[proxy];
            for (name, record) in world.hub.records().filter(|(name, r)| r.is_for(name, &model.subscription)) {
                prop_assert_eq!(model.snapshot.entries.get(name), Some(&record.entry));
            }
        }
        world.check_counts()?;
    }
}
