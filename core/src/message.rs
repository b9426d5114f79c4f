//! The messages of [`crate::wire`] in the compact encoding, which filters speak. Their JSON is for people and tests.

use crate::{
    codec::{self, Damaged, Reader, Writer},
    counts::Counts,
    sorted::Sorted,
    spec::SplitSpec,
    wire::{Abilities, Ack, Cursor, PROTOCOL, ProxyId, Removed, Report, Series, Subscription, SyncAnswer, SyncRequest},
};

/// Media type of the compact encoding of every message.
pub const MEDIA_TYPE: &str = "application/vnd.sluicegate";

/// First numbers of the messages, unlikely as the start of any text; an incompatible layout gets another.
const ANSWER: u64 = 0x5303;
const REQUEST: u64 = 0x5304;
const REPORT: u64 = 0x5305;

impl Cursor {
    /// Writes a record, empty for no cursor.
    pub(crate) fn write(to: &mut Writer, cursor: Option<Self>) {
        to.record(|w| {
            if let Some(cursor) = cursor {
                w.number(1);
                w.number(cursor.instance);
                w.number(cursor.seq);
            }
        });
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Option<Self>, Damaged> {
        let mut r = from.record()?;
        Ok(match r.flag()? {
            true => Some(Self { instance: r.number()?, seq: r.number()? }),
            false => None,
        })
    }
}

impl ProxyId {
    fn write(&self, to: &mut Writer) {
        to.number(self.epoch);
        to.string(&self.node);
        to.string(&self.plugin);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { epoch: from.number()?, node: from.string()?, plugin: from.string()? })
    }
}

impl SyncRequest {
    /// Bytes for a controller.
    pub fn encode(&self) -> Vec<u8> {
        codec::message(REQUEST, |to| {
            to.record(|w| self.proxy.write(w));
            to.string(&self.version);
            to.number(u64::from(self.abilities.counts) | u64::from(self.abilities.cookies) << 1);
            // Every name of a split has a slash, so no name means hosts.
            to.string(match &self.subscription {
                Subscription::Split(name) => name,
                Subscription::Hosts => "",
            });
            Cursor::write(to, self.cursor);
            to.number(self.hold.into());
            to.number(self.full.into());
            to.list(self.acks.iter(), |w, (name, Ack(generation, digest))| {
                w.string(name);
                w.number(*generation);
                w.number((*digest).into());
            });
        })
    }

    /// From bytes of a filter. Never panics, whatever they are.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = codec::read_message(REQUEST, bytes)?;
        let proxy = ProxyId::read(&mut from.record()?)?;
        let version = from.string()?;
        let abilities = from.number()?;
        let subscription = from.string()?;
        let mut request = Self {
            sluicegate: PROTOCOL,
            proxy,
            version,
            abilities: Abilities { counts: abilities & 1 != 0, cookies: abilities & 2 != 0 },
            subscription: match subscription.as_str() {
                "" => Subscription::Hosts,
                _ => Subscription::Split(subscription),
            },
            cursor: Cursor::read(&mut from)?,
            hold: from.small()?,
            full: from.flag()?,
            acks: Sorted::default(),
        };
        for (name, ack) in from.list(|r| Ok((r.string()?, Ack(r.number()?, r.small()?))))? {
            request.acks.insert(name, ack);
        }
        Ok(request)
    }
}

impl SyncAnswer {
    /// Bytes for a filter.
    pub fn encode(&self) -> Vec<u8> {
        codec::message(ANSWER, |to| {
            Cursor::write(to, Some(self.cursor));
            to.number(self.report.into());
            to.list(self.splits.iter(), |w, split| split.write(w));
            to.list(self.removed.iter(), |w, removed| {
                w.string(&removed.name);
                w.number(removed.generation);
            });
        })
    }

    /// From bytes of an answer. Never panics, whatever they are.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = codec::read_message(ANSWER, bytes)?;
        Ok(Self {
            sluicegate: PROTOCOL,
            cursor: Cursor::read(&mut from)?.ok_or(Damaged)?,
            report: from.small()?,
            splits: from.list(SplitSpec::read)?,
            removed: from.list(|r| Ok(Removed { name: r.string()?, generation: r.number()? }))?,
        })
    }
}

impl Report {
    /// Bytes for a controller.
    pub fn encode(&self) -> Vec<u8> {
        codec::message(REPORT, |to| {
            to.record(|w| self.proxy.write(w));
            to.list(self.series.iter(), |w, series| {
                w.string(&series.split);
                w.string(&series.subset);
                w.number(series.sample.into());
                w.record(|w| series.counts.write(w));
            });
        })
    }

    /// From bytes of a filter. Never panics, whatever they are.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut from = codec::read_message(REPORT, bytes)?;
        Ok(Self {
            sluicegate: PROTOCOL,
            proxy: ProxyId::read(&mut from.record()?)?,
            series: from.list(|r| {
                Ok(Series {
                    split: r.string()?,
                    subset: r.string()?,
                    sample: r.small()?,
                    counts: Counts::read(&mut r.record()?)?,
                })
            })?,
        })
    }
}
