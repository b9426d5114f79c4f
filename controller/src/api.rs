//! What people write: YAML documents in, what they mean or a problem with its place out.
//!
//! * [`traffic_split`], [`canary_deploy`], [`canary_test`], [`mod@judgment`]: the types of the kinds; their CRDs are made of
//!   the same types. [`rollout`], [`judge`], [`percent`]: what these types are made of.
//! * [`accept`], [`accept_rollout`]: from what was written to what it means, or why not and at which field.
//! * [`document`]: a file of many documents, each read for itself, so that one mistake does not take the others down.
//! * [`object`]: an object of the Kubernetes API, by the same rules.
//! * [`tree`]: where in the text each field is: for messages, and for editing weights in place.
//! * `rules`: what the CRDs refuse beyond types.
//! * [`nearest`]: the name someone probably meant.

pub mod accept;
pub mod accept_rollout;
pub mod canary_deploy;
pub mod canary_test;
pub mod document;
pub mod judge;
pub mod judgment;
pub mod nearest;
pub mod object;
pub mod percent;
pub mod rollout;
mod rules;
pub mod traffic_split;
pub mod tree;

/// The API group and version of every kind.
pub const API_VERSION: &str = "sluicegate.dev/v1alpha1";
