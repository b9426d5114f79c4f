//! The table in force behind one door, with what the door keeps of each split from request to request.

use crate::{
    snapshot::Snapshot,
    split::{Split, SplitError},
    table::Table,
    wire::Subscription,
};

/// What a request is decided by.
#[derive(Debug)]
pub struct Ready<S> {
    table: Table,
    /// Parallel to the table's splits.
    states: Vec<S>,
    /// The only split there is to choose from; `None`: by host.
    single: Option<usize>,
    /// No split at all applies.
    none: bool,
}

impl<S> Default for Ready<S> {
    fn default() -> Self {
        Self { table: Table::default(), states: Vec::new(), single: None, none: false }
    }
}

impl<S> Ready<S> {
    /// What comes after this: by a snapshot, or by the fallback while there has been none (or none of the one split).
    /// `state` makes what is kept of a split that is new or whose content changed, of what was kept of it before.
    /// Splits that are wrong are left out and returned with the reason.
    pub fn next(
        self,
        snapshot: Option<Snapshot>,
        subscription: &Subscription,
        fallback: Option<&Split>,
        mut state: impl FnMut(&Split, Option<S>) -> S,
    ) -> (Self, Vec<(String, SplitError)>) {
        let known = snapshot.is_some();
        let (mut table, refused) = Table::build(snapshot.unwrap_or_default());
        let mut single = match subscription {
            Subscription::Split(name) => table.by_name(name),
            Subscription::Hosts => None,
        };
        let by_name = matches!(subscription, Subscription::Split(_));
        if single.is_none()
            && (!known || by_name)
            && let Some(fallback) = fallback
        {
            single = Some(table.splits().len());
            table.insert(fallback.clone());
        }
        let mut before: Vec<_> = self.states.into_iter().map(Some).collect();
        let mut kept = |split: &Split| {
            let index = self.table.by_name(&split.name)?;
            Some((self.table.get(index)?.generation, before.get_mut(index)?.take()?))
        };
        let states = table.splits().iter().map(|split| match kept(split) {
            Some((generation, kept)) if generation == split.generation => kept,
            changed => state(split, changed.map(|(_, kept)| kept)),
        });
        let states = states.collect();
        (Self { table, states, none: single.is_none() && by_name, single }, refused)
    }

    /// The split that decides a request, and what is kept of it. The authority is asked for only where it matters.
    pub fn split_for(&mut self, authority: impl FnOnce() -> Option<Vec<u8>>) -> Option<(&Split, &mut S)> {
        let index = match self.single {
            Some(index) => index,
            None if self.none => return None,
            None => self.table.by_authority(&authority()?)?,
        };
        Some((self.table.get(index)?, self.states.get_mut(index)?))
    }

    /// All splits, with what is kept of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&Split, &mut S)> {
        self.table.splits().iter().zip(&mut self.states)
    }
}
