//! A Kubernetes cluster: the same documents as objects of its API, and the same rollouts on its Deployments.
//!
//! In the order data meets it:
//!
//! * `app`: starts all of it.
//! * [`cluster`]: the way to the API server, what was last seen there, and the one door for writes.
//! * [`lease`]: who may write.
//! * [`watch`]: follows the objects of our kinds.
//! * [`fit`]: what a document may not say here. Pure.
//! * [`status`]: what a TrafficSplit's status says. Pure.
//! * [`store`]: TrafficSplits in, generations into their status, changes out.
//! * [`outage`]: what is wrong is said once. Pure.
//! * [`records`]: what is remembered of rollouts, in their status; and judgments.
//! * [`report`]: the rest of a rollout's status, for people.
//! * `relay`: from followers to the leader.
//!
//! And for people, each by their own kubeconfig:
//!
//! * `shown`: what objects show, in the shapes of the admin port. Pure.
//! * `rights`: what a person may do.
//! * `person`: what they do.
//! * `dashboard`: the page, on their own machine.

pub(crate) mod app;
pub mod cluster;
pub(crate) mod dashboard;
pub mod events;
pub mod fit;
pub mod lease;
pub mod outage;
pub(crate) mod person;
pub mod records;
pub(crate) mod relay;
pub mod report;
pub(crate) mod rights;
pub(crate) mod shown;
pub mod status;
pub mod store;
pub mod watch;
