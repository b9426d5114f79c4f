//! The end-to-end tests: one binary, one module per topic, everything on a real Envoy.
#![allow(clippy::disallowed_methods, reason = "tests measure real time")]

/// Makes two tests of each function: at the filter, and at ext-proc.
macro_rules! at_both_doors {
    ($($case:ident),* $(,)?) => {
        mod wasm {
            $(#[test]
            fn $case() -> anyhow::Result<()> {
                super::$case(sluicegate_tests::lab::Door::Wasm)
            })*
        }

        mod ext_proc {
            $(#[test]
            fn $case() -> anyhow::Result<()> {
                super::$case(sluicegate_tests::lab::Door::ExtProc)
            })*
        }
    };
}

mod ack;
mod assignment;
mod backwards;
mod canary_test;
mod charts;
mod cluster;
mod config;
mod counts;
mod crds;
mod dashboard;
mod dashboard_many;
mod envoy_yaml;
mod ext_proc;
mod fan_out;
mod harness;
mod hostile;
mod kube;
mod last_good;
mod mesh;
mod metrics;
mod observability;
mod plugins;
mod poller;
mod rollout;
mod rollout_disk;
mod rollout_pods;
mod rollout_trouble;
mod rollout_words;
mod weights;
mod with_controller;
