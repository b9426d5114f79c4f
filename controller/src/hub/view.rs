//! What people get to see of the hub.

use super::{
    Hub,
    proxy::{Proxy, Standing},
    record::{Record, Spread},
};
use sluicegate_core::{snapshot::Entry, wire::Subscription};

/// One proxy as a split sees it.
#[derive(Debug)]
pub struct Subscriber<'a> {
    /// The proxy.
    pub proxy: &'a Proxy,
    /// How it stands.
    pub standing: Standing,
}

impl Hub {
    /// All splits, deleted ones too, in order of name.
    pub fn records(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.records.iter().map(|(name, record)| (name.as_ref(), record))
    }

    /// One split.
    pub fn record(&self, name: &str) -> Option<&Record> {
        self.records.get(name)
    }

    /// All proxies, lost ones too.
    pub fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.proxies.values()
    }

    /// Live proxies that subscribe to this split: those that run the generation in force, and all.
    pub fn acked(&self, name: &str) -> (usize, usize) {
        self.records.get(name).map_or((0, 0), |record| (record.acked, self.live(name, record)))
    }

    /// The generation in force, or a later one, has reached everybody, or there is nobody.
    pub fn is_settled(&self, name: &str, generation: u64) -> bool {
        self.records.get(name).is_some_and(|r| r.generation() >= generation && r.spread != Spread::Partly)
    }

    /// Those who subscribe to this split, lost ones too, in order of node and epoch.
    pub fn subscribers(&self, name: &str) -> Vec<Subscriber<'_>> {
        let Some(record) = self.records.get(name) else { return Vec::new() };
        let wanted = self.proxies.values().filter(|p| record.is_for(name, &p.subscription));
        let mut all: Vec<_> =
            wanted.map(|proxy| Subscriber { proxy, standing: proxy.standing(name, record) }).collect();
        all.sort_by(|a, b| (&a.proxy.id.node, a.proxy.id.epoch).cmp(&(&b.proxy.id.node, b.proxy.id.epoch)));
        all
    }

    /// Splits that proxies ask for by name and that do not exist, with how many live proxies ask.
    pub fn wanted_in_vain(&self) -> Vec<(&str, usize)> {
        let is_there = |name: &str| self.records.get(name).is_some_and(|r| matches!(r.entry, Entry::Live(_)));
        let asked = self.by_split.iter().filter(|(name, t)| t.live > 0 && !is_there(name));
        let mut all: Vec<_> = asked.map(|(name, topic)| (name.as_ref(), topic.live)).collect();
        all.sort_unstable();
        all
    }

    /// What a proxy subscribes to, as text.
    pub fn subscription_text(subscription: &Subscription) -> &str {
        match subscription {
            Subscription::Split(name) => name,
            Subscription::Hosts => "hosts",
        }
    }
}
