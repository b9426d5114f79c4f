//! The pure heart of Sluicegate: no clock, no socket, no randomness source, no async.
//!
//! In the order data meets it:
//!
//! * [`name`]: which names of splits, subsets, headers, cookies and hosts are accepted, and why not.
//! * [`spec`]: a split as it travels (wire, shared data) and is written down.
//! * [`split`]: a split that cannot be wrong, ready to pick from.
//! * [`pick`]: from a point, or from an even sequence, to a subset.
//! * [`key`]: from a sticky key to a point; the cookies the filter issues.
//! * [`decide`]: all of it for one request, the same behind every door.
//! * [`codec`]: the compact encoding.
//! * [`sorted`]: a map that is small in code.
//! * [`snapshot`]: everything a proxy knows, with its merge rule ("never backwards") and its bytes.
//! * [`table`]: a snapshot made ready: splits by name and by host.
//! * [`ready`]: the table in force behind one door, with what the door keeps of each split.
//! * [`wire`]: what filter and controller say to each other. [`message`]: the same as bytes.
//! * [`latency`] and [`counts`]: what came back, per subset. [`ledger`]: counting it behind one door.
//! * [`rollout`]: from observations and commands to the next step of a rollout.
//! * [`judge`]: from what came back to a verdict on a step.
//!
//! Everything that needs time or chance takes it as an argument.

pub mod codec;
pub mod counts;
pub mod decide;
pub mod judge;
pub mod key;
pub mod latency;
pub mod ledger;
pub mod message;
pub mod name;
pub mod pick;
pub mod ready;
pub mod rollout;
pub mod snapshot;
pub mod sorted;
pub mod spec;
pub mod split;
pub mod table;
pub mod wire;
