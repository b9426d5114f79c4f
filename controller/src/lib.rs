//! The Sluicegate controller.
//!
//! In the order data meets it:
//!
//! * [`api`]: the YAML people write, and why it was refused.
//! * [`store`]: where the desired weights come from, with their generations: a folder.
//! * [`mod@kube`]: the same from a Kubernetes cluster.
//! * [`hub`]: who must run what, and who does. Pure.
//! * [`tally`]: what the proxies counted. Pure.
//! * [`prometheus`]: what a metrics system says of the subsets.
//! * [`context`]: the state all handlers share, and who waits for it to change.
//! * [`push`], [`report`]: the two conversations with proxies.
//! * [`rollouts`]: leads CanaryDeploys and CanaryTests from step to step.
//! * [`admin`]: what people and monitoring ask.
//! * [`workloads`]: the pods of a rollout, by the user's own command.
//! * [`webhooks`]: other programs are told what a rollout does, and asked before it goes on.
//! * [`ext_proc`]: decides requests in the filter's place, for proxies that cannot load it; a process of its own.
//! * [`listen`]: ports, TLS, tokens, closing in order.
//! * [`app`]: builds and runs all of it; the only place that reads the clock.
//! * [`cli`]: the command line.

pub mod admin;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod context;
pub mod ext_proc;
pub mod hub;
pub mod kube;
pub mod listen;
pub mod prometheus;
pub mod push;
pub mod report;
pub mod rollouts;
pub mod store;
pub mod tally;
pub mod webhooks;
pub mod workloads;
