//! What the hub notes about proxies, with the counts per split kept right at every step.

use super::{
    GRACE, Hub, LISTED,
    proxy::{Acked, MAX_ACKS, Proxy},
};
use crate::clock::Now;
use sluicegate_core::wire::{ProxyId, Subscription, SyncRequest};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

impl Hub {
    /// Notes what a sync says about its proxy. `moved`: unknown so far, or it wants to know something else now.
    pub(super) fn note(&mut self, request: &SyncRequest, moved: bool, now: Now) {
        let epoch = request.proxy.epoch;
        let known = self.proxies.get(&epoch);
        // Whatever touches many splits at once takes the proxy out of all counts and puts it back in afterwards.
        let whole = moved || request.full || known.is_none_or(|p| p.lost.is_some());
        if whole && known.is_some() {
            self.count(epoch, false, now);
        }
        let proxy = self.proxies.entry(epoch).or_insert_with(|| Proxy {
            id: request.proxy.clone(),
            version: String::new(),
            abilities: request.abilities,
            subscription: request.subscription.clone(),
            needs: 0,
            acks: HashMap::new(),
            open: 0,
            first: now,
            heard: now,
            lost: None,
        });
        if proxy.version != request.version || proxy.id != request.proxy {
            proxy.version.clone_from(&request.version);
            proxy.id.clone_from(&request.proxy);
        }
        proxy.abilities = request.abilities;
        proxy.heard = now;
        proxy.lost = None;
        if moved {
            proxy.subscription.clone_from(&request.subscription);
            proxy.needs = self.seq;
        }
        if request.full {
            proxy.acks.retain(|name, _| request.acks.get(name.as_ref()).is_some());
        }
        self.take_acks(request, whole, now);
        if whole {
            self.count(epoch, true, now);
        }
    }

    fn take_acks(&mut self, request: &SyncRequest, whole: bool, now: Now) {
        let mut touched = Vec::new();
        let Some(proxy) = self.proxies.get_mut(&request.proxy.epoch) else { return };
        let mut strays = Vec::new();
        for (name, ack) in request.acks.iter() {
            if proxy.acks.get(name.as_str()).is_some_and(|known| known.ack == *ack) {
                continue;
            }
            let Some((name, _)) = self.records.get_key_value(name.as_str()) else {
                strays.push((name, *ack));
                continue;
            };
            let name = Arc::clone(name);
            let Some(record) = self.records.get_mut(&name) else { continue };
            record.heed(*ack);
            if proxy.acks.len() >= MAX_ACKS && !proxy.acks.contains_key(&name) {
                continue;
            }
            let before = !whole && proxy.counts(&name, record);
            proxy.acks.insert(Arc::clone(&name), Acked { ack: *ack, at: now.at });
            let after = !whole && proxy.counts(&name, record);
            record.acked = record.acked + usize::from(after) - usize::from(before);
            if before != after {
                touched.push(name);
            }
        }
        for (name, ack) in strays {
            self.stray(name, ack);
        }
        for name in touched {
            self.settle(&name, now);
        }
    }

    /// A report came from this proxy.
    pub fn heard(&mut self, id: &ProxyId, now: Now) {
        let Some(proxy) = self.proxies.get_mut(&id.epoch) else { return };
        proxy.heard = now;
        if proxy.lost.is_some() {
            proxy.lost = None;
            self.count(id.epoch, true, now);
        }
    }

    /// A poll of this proxy ended.
    pub(super) fn ended(&mut self, epoch: u64, now: Now) {
        if let Some(proxy) = self.proxies.get_mut(&epoch) {
            proxy.open = proxy.open.saturating_sub(1);
            proxy.heard = now;
        }
    }

    /// Time has passed: finds lost proxies, forgets those lost for long.
    pub fn tick(&mut self, now: Now) {
        let silent = |p: &Proxy| p.open == 0 && now.at.saturating_sub(p.heard.at) > GRACE;
        let lost: Vec<u64> =
            self.proxies.iter().filter(|(_, p)| p.lost.is_none() && silent(p)).map(|(epoch, _)| *epoch).collect();
        for epoch in lost {
            self.count(epoch, false, now);
            if let Some(proxy) = self.proxies.get_mut(&epoch) {
                proxy.lost = Some(now.at);
            }
        }
        self.proxies.retain(|_, p| p.lost.is_none_or(|lost| now.at.saturating_sub(lost) <= LISTED));
        self.by_split.retain(|_, topic| topic.live > 0 || !topic.polls.is_empty());
    }

    /// Puts a proxy into the counts of everything it subscribes to, or takes it out. Lost proxies are in none.
    fn count(&mut self, epoch: u64, is_in: bool, now: Now) {
        let Some(proxy) = self.proxies.get(&epoch).filter(|p| p.lost.is_none()) else { return };
        let names = match &proxy.subscription {
            Subscription::Split(name) => {
                let topic = self.by_split.entry(Arc::from(name.as_str())).or_default();
                topic.live = if is_in { topic.live + 1 } else { topic.live.saturating_sub(1) };
                self.records.get_key_value(name.as_str()).map(|(name, _)| Arc::clone(name)).into_iter().collect()
            }
            Subscription::Hosts => {
                let topic = &mut self.by_hosts;
                topic.live = if is_in { topic.live + 1 } else { topic.live.saturating_sub(1) };
                self.hosted.values().cloned().collect::<Vec<_>>()
            }
        };
        let records: &mut BTreeMap<_, _> = &mut self.records;
        for name in &names {
            let Some(record) = records.get_mut(name) else { continue };
            if proxy.counts(name, record) {
                record.acked = if is_in { record.acked + 1 } else { record.acked.saturating_sub(1) };
            }
        }
        for name in names {
            self.settle(&name, now);
        }
    }
}
