//! The harness: a real Envoy, real upstreams and the real controller, as child processes or threads of this one,
//! for the end-to-end tests, the demo and the benchmarks. Everything listens on loopback and dies with its owner.
//!
//! In the order a test meets it:
//!
//! * [`paths`]: where the repository, its tools and its build results are; scratch folders; atomic writes.
//! * [`poll`]: wait for a condition with a deadline, and say what was last seen when it does not come.
//! * [`upstream`]: the pods behind the proxy, with behaviours chosen by the request's query.
//! * [`envoy_config`]: the configuration of an Envoy, as values.
//! * [`envoy`]: an Envoy process: start, update, ask its admin port, hot restart, CPU time.
//! * [`controller`]: the real `sluicegate serve` and its CLI.
//! * [`ext_proc`]: the real `sluicegate ext-proc`, and the filter that calls it.
//! * [`prometheus`]: a real Prometheus that scrapes what a test names.
//! * [`kube`]: a real Kubernetes control plane, with a stub in place of the nodes; `kubectl`, and its HTTP API.
//! * [`fault_controller`]: stands in for the controller where a test needs it to misbehave. For faults only.
//! * [`brain`]: a controller in a few lines that tells the filter exactly what a test wants. [`books`]: what the reports
//!   it got add up to.
//! * [`lab`]: pods, Envoy with one of the two doors (the filter, ext-proc), a controller: the usual set-up.
//! * [`pods`]: pods as processes, started by the command of a rollout; [`rollout_lab`]: the set-up around them.
//! * [`kube_lab`]: the same on the Kubernetes control plane: pods of Deployments, which Envoy finds by EndpointSlices.
//! * [`kube_size`]: many splits and rollouts at once, and what the controller asks of the API server for them.
//! * [`node`]: a node that runs pods as processes, each in a network of its own. [`gateways`]: the cluster on it, in which gateways
//!   run as their makers ship them.
//! * [`browser`]: a real Chromium without a window, its pages, mouse and keys.
//! * [`client`]: one connection that can send any bytes; [`load`]: many connections in a closed loop.
//! * [`fleet`]: thousands of proxies without an Envoy, each a long poll of its own.
//! * [`steady`]: a load beside a test; [`ack_loop`]: controller and client in one thread, for the ack.
//! * [`process`], [`ports`] and [`http1`]: what the above are made of.
#![allow(clippy::disallowed_methods, reason = "a harness measures real time and waits for real processes")]

pub mod ack_loop;
pub mod books;
pub mod brain;
pub mod browser;
pub mod client;
pub mod controller;
pub mod envoy;
pub mod envoy_config;
pub mod ext_proc;
pub mod fault_controller;
pub mod fleet;
pub mod gateways;
pub mod http1;
pub mod kube;
pub mod kube_lab;
pub mod kube_size;
pub mod lab;
pub mod load;
pub mod node;
pub mod paths;
pub mod pods;
pub mod poll;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod rollout_lab;
pub mod steady;
pub mod upstream;
