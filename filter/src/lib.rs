//! The Proxy-Wasm filter, written against the ABI (0.2.1) itself: only the exports Envoy has to call, every header as
//! bytes, every status handled. The SDK panics where the host answers an unexpected status, and its exports cost more
//! than the work (docs/BENCHMARKS.md).
//!
//! In the order data meets it:
//!
//! * [`config`]: the plugin configuration. [`json`]: what it is written in.
//! * [`abi`]: what Envoy calls. [`host`]: what we call.
//! * [`vm`]: the state of one VM: its roots and the stream at hand.
//! * [`root`]: one plugin configuration in one VM: configure, tick, answers.
//! * [`lease`]: which VM of the process polls. [`poll`]: sync and publish. [`report`]: counts to the controller.
//! * [`version`]: how workers see that there is something new.
//! * [`request`]: the hot path.
//! * [`slots`]: the streams under observation.
//! * [`shared`]: keys and values in shared data.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable,
        clippy::unimplemented
    )
)]
// The map above leads to private modules: nobody links to this crate.
#![allow(rustdoc::private_intra_doc_links)]
// On other targets only the pure parts are built, for their tests.
#![cfg_attr(not(target_family = "wasm"), allow(dead_code))]

pub mod config;
pub mod json;
pub mod lease;
pub mod slots;

#[cfg(target_family = "wasm")]
mod abi;
#[cfg(all(target_family = "wasm", feature = "faults"))]
mod fault;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
mod poll;
#[cfg(all(target_family = "wasm", feature = "observe"))]
mod report;
#[cfg(target_family = "wasm")]
mod request;
#[cfg(target_family = "wasm")]
mod root;
#[cfg(target_family = "wasm")]
mod shared;
#[cfg(target_family = "wasm")]
mod version;
#[cfg(target_family = "wasm")]
mod vm;
