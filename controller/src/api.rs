//! What people write: YAML documents in, checked splits or a problem with its place out.
//!
//! * [`traffic_split`]: the type of `kind: TrafficSplit`; its CRD is made of the same type.
//! * [`accept`]: from what was written to what it means, or why not and at which field.
//! * [`document`]: a file of many documents, each read for itself, so that one mistake does not take the others down.
//! * [`tree`]: where in the text each field is: for messages, and for editing weights in place.
//! * [`nearest`]: the name someone probably meant.

pub mod accept;
pub mod document;
pub mod nearest;
pub mod traffic_split;
pub mod tree;

/// The API group and version of every kind.
pub const API_VERSION: &str = "sluicegate.dev/v1alpha1";
