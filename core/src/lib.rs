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
//! * [`wire`]: what filter and controller say to each other. [`message`]: the same as bytes.
//! * [`latency`] and [`counts`]: what came back, per subset.
//! * [`judge`]: what that, or a metrics system, says about a step.
//!
//! Everything that needs time or chance takes it as an argument.

pub mod codec;
pub mod counts;
pub mod decide;
pub mod judge;
pub mod key;
pub mod latency;
pub mod message;
pub mod name;
pub mod pick;
pub mod snapshot;
pub mod sorted;
pub mod spec;
pub mod split;
pub mod table;
pub mod wire;
