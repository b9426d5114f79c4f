//! Overrides come before weights; an earlier hop's choice before both, where the split says so.

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::spec::{Override, OverrideSource, SplitSpec};
use sluicegate_tests::brain::split;
use sluicegate_tests::client::Client;
use sluicegate_tests::lab::Door;

use super::{Gate, ask, pod};

at_both_doors! {
    overrides_by_header_and_cookie_come_before_weights_and_the_first_match_wins,
    a_trusted_hop_before_us_has_chosen_already,
}

/// The headers of a request.
type Headers<'a> = &'a [(&'a str, &'a str)];

fn over(source: OverrideSource, value: &str, subset: &str) -> Override {
    Override { source, value: value.into(), subset: subset.into() }
}

fn overrides_by_header_and_cookie_come_before_weights_and_the_first_match_wins(door: Door) -> Result<()> {
    let gate = Gate::open(door, 2, json!({}))?;
    gate.publish(SplitSpec {
        overrides: vec![
            over(OverrideSource::Header("X-Canary".into()), "always", "v2"),
            over(OverrideSource::Header("x-canary".into()), "never", "v1"),
            over(OverrideSource::Cookie("beta".into()), "yes", "v3"),
        ],
        ..split("backend", 1, &[("v1", 0), ("v2", 0), ("v3", 0), ("v4", 1)])
    })?;
    let mut client = Client::connect(gate.web)?;
    let mut subset = |headers: Headers<'_>| -> Result<(String, String)> {
        let answer = ask(&mut client, headers)?;
        Ok((answer.header("x-got-subset").unwrap_or_default(), pod(&answer)))
    };
    let cases: [(Headers<'_>, &str, &str); 11] = [
        (&[("x-canary", "always")], "v2", "v2"),
        (&[("X-CANARY", "always"), ("x-canary", "never")], "v2", "v2"),
        (&[("x-canary", "never")], "", "v1"),
        (&[("x-canary", "never"), ("cookie", "beta=yes")], "", "v1"),
        (&[("cookie", "beta=yes")], "v3", "v3"),
        (&[("cookie", "a=b; beta=\"yes\"")], "v3", "v3"),
        (&[("cookie", "a=b"), ("cookie", "c=d; beta=yes")], "v3", "v3"),
        (&[("cookie", "beta=no; beta=yes")], "v4", "v1"),
        (&[("cookie", "xbeta=yes; beta")], "v4", "v1"),
        (&[("x-canary", "Always")], "v4", "v1"),
        (&[], "v4", "v1"),
    ];
    for (headers, header, pod) in cases {
        let got = subset(headers)?;
        ensure!(got == (header.into(), pod.into()), "{headers:?}: {got:?}");
    }
    Ok(())
}

fn a_trusted_hop_before_us_has_chosen_already(door: Door) -> Result<()> {
    let gate = Gate::open(door, 2, json!({}))?;
    gate.publish(SplitSpec {
        trust_upstream: true,
        write_default: true,
        overrides: vec![over(OverrideSource::Header("x-canary".into()), "always", "v3")],
        ..split("backend", 1, &[("v1", 1), ("v2", 0), ("v3", 0)])
    })?;
    let mut client = Client::connect(gate.web)?;
    let cases: [(Headers<'_>, &str); 6] = [
        (&[("x-sluicegate-subset", "v2")], "v2"),
        (&[("x-sluicegate-subset", "v1"), ("x-canary", "always")], "v1"),
        (&[("x-canary", "always")], "v3"),
        (&[("x-sluicegate-subset", "v9")], "v1"),
        (&[("x-sluicegate-subset", "")], "v1"),
        (&[], "v1"),
    ];
    for (headers, expected) in cases {
        let answer = ask(&mut client, headers)?;
        ensure!(answer.header("x-got-subset").as_deref() == Some(expected), "{headers:?}: {answer:?}");
        ensure!(pod(&answer) == expected);
    }
    let by_subset = [("v1", 4), ("v2", 1), ("v3", 1)].map(|(subset, n)| (subset.to_owned(), n)).into();
    gate.brain.wait_books(&format!("{by_subset:?}"), |books| {
        let counted = books.by_subset();
        if counted == by_subset { Ok(()) } else { Err(format!("{counted:?}")) }
    })
}
