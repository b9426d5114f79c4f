//! How one response is classed: the cases measured on a real Envoy.

use crate::cases;
use proptest::prelude::*;
use sluicegate_core::counts::{
    OUTCOMES,
    Outcome::{self, Abandoned, ClientError, Informational, LocalFailure, Redirect, ServerError, Success, Unreached},
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// The client went away (DC).
const DOWNSTREAM_GONE: u64 = 0x4000;
/// Flags that say an upstream was not, or not wholly, heard: UT LR UR UC UO UPE.
const LOCAL: [u64; 6] = [0x4, 0x8, 0x10, 0x40, 0x80, 0x80_0000];
/// Flags that say there was none: LH UH UF NR NC.
const NONE: [u64; 5] = [0x1, 0x2, 0x20, 0x100, 0x100_0000];

#[test]
fn http_outcomes_are_those_measured() {
    for (case, status, flags, outcome) in [
        ("200 of the upstream", Some(200), 0, Success),
        ("503 of the application itself", Some(503), 0, ServerError),
        ("429 of a later filter", Some(429), 0, ClientError),
        ("418 direct response", Some(418), 0, ClientError),
        ("no healthy upstream", Some(503), 0x2, Unreached),
        ("no cluster", Some(503), 0x100_0000, Unreached),
        ("no route, were its flags asked for", Some(404), 0x100, Unreached),
        ("refused", Some(503), 0x20, Unreached),
        ("reset before headers", Some(503), 0x40, LocalFailure),
        ("stream reset by the upstream", Some(503), 0x10, LocalFailure),
        ("timeout", Some(504), 0x4, LocalFailure),
        ("overflow of the circuit breaker", Some(503), 0x80, LocalFailure),
        ("reset in mid-body", Some(200), 0x80_0000, LocalFailure),
        ("client gone before the answer", None, DOWNSTREAM_GONE, Abandoned),
        ("nothing known", None, 0, Abandoned),
        ("client gone in mid-body", Some(200), DOWNSTREAM_GONE, Success),
        ("client gone after a 500", Some(500), DOWNSTREAM_GONE, ServerError),
        ("websocket closed by the server", Some(101), 0x40, Informational),
        ("upstream failed before any status", None, 0x20, Unreached),
        ("rate limited", Some(503), 0x800, ServerError),
    ] {
        assert_eq!(Outcome::of_http(status, flags), outcome, "{case}");
    }
}

#[test]
fn statuses_are_classed_at_their_edges() {
    for (status, outcome) in [
        (100, Informational),
        (199, Informational),
        (200, Success),
        (299, Success),
        (300, Redirect),
        (399, Redirect),
        (400, ClientError),
        (499, ClientError),
        (500, ServerError),
        (599, ServerError),
        // Not HTTP: no answer a client can use.
        (0, ServerError),
        (99, ServerError),
        (600, ServerError),
        (u16::MAX, ServerError),
    ] {
        assert_eq!(Outcome::of_http(Some(status), 0), outcome, "{status}");
    }
}

#[test]
fn grpc_outcomes_tell_the_server_from_the_caller() {
    let server = [2, 4, 12, 13, 14, 15];
    for code in 0..=20_u64 {
        let outcome = match code {
            0 => Success,
            code if server.contains(&code) => ServerError,
            _ => ClientError,
        };
        assert_eq!(Outcome::of_grpc(Some(code), 0), outcome, "code {code}");
        // gRPC failures of the proxy itself are HTTP 200 with a status, told by the flags.
        assert_eq!(Outcome::of_grpc(Some(code), 0x2), Unreached, "code {code}");
        assert_eq!(Outcome::of_grpc(Some(code), DOWNSTREAM_GONE), outcome, "code {code}");
    }
    assert_eq!(Outcome::of_grpc(None, DOWNSTREAM_GONE), Abandoned);
    assert_eq!(Outcome::of_grpc(None, 0), Abandoned);
    assert_eq!(Outcome::of_grpc(None, 0x20), Unreached);
}

#[test]
fn only_server_errors_and_local_failures_count_against_a_subset() {
    let errors: Vec<&str> = OUTCOMES.iter().filter(|o| o.is_error()).map(|o| o.name()).collect();
    assert_eq!(errors, ["5xx", "local", "unreached"]);
}

#[test]
fn names_are_unique_and_in_the_order_of_the_counters() {
    assert_eq!(OUTCOMES.map(Outcome::name), ["1xx", "2xx", "3xx", "4xx", "5xx", "local", "abandoned", "unreached"]);
    OUTCOMES.iter().enumerate().for_each(|(i, outcome)| assert_eq!(*outcome as usize, i));
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn every_flag_alone_has_one_meaning(bit in 0..64_u32, status in 200..600_u16) {
        let flag = 1_u64 << bit;
        let of = |without| match flag {
            flag if NONE.contains(&flag) => Unreached,
            flag if LOCAL.contains(&flag) => LocalFailure,
            _ => without,
        };
        prop_assert_eq!(Outcome::of_http(Some(status), flag), of(Outcome::of_http(Some(status), 0)));
        prop_assert_eq!(Outcome::of_http(None, flag), of(Abandoned));
    }

    #[test]
    fn flags_of_failures_are_seen_among_all_others(flags in any::<u64>(), status in prop::option::of(200..600_u16)) {
        let any = |of: &[u64]| of.iter().any(|flag| flags & flag != 0);
        for outcome in [Outcome::of_http(status, flags), Outcome::of_grpc(status.map(u64::from), flags)] {
            prop_assert_eq!(outcome == Unreached, any(&NONE));
            prop_assert_eq!(outcome == LocalFailure, any(&LOCAL) && !any(&NONE));
        }
    }
}
