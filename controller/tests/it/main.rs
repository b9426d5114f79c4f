//! The controller from outside: its public types, a real folder, real sockets, the real binary.

mod api;
mod cli;
mod dashboard;
mod driven;
mod edit;
mod examples;
mod ext_proc;
mod hub;
mod hub_laws;
mod judge;
mod judge_metrics;
mod module;
mod prometheus;
mod restart;
mod rollouts;
mod series;
mod serve;
mod store;
mod support;
mod tally;
mod tls;
mod trial;
mod watch;
mod webhooks;
mod workloads;
