//! Sticky: by header, cookie or address, as `core` says, user by user.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::key;
use sluicegate_core::spec::{Assignment, SplitSpec, Sticky, StickyKey};
use sluicegate_core::split::Split;
use sluicegate_tests::brain::split;
use sluicegate_tests::client::{Client, Response};
use sluicegate_tests::lab::{self, Door};

use super::{Gate, ask, pod};

at_both_doors! {
    raising_a_weight_moves_nobody_back_and_another_salt_picks_others,
    users_stick_by_the_address_that_envoy_trusts,
    a_new_user_gets_a_cookie_that_keeps_the_subset_whatever_the_weights_become,
}

const USERS: usize = 300;

/// v2 first: it grows from the bottom.
fn sticky(generation: u64, v2: u32, key: StickyKey, salt: &str) -> SplitSpec {
    SplitSpec {
        assignment: Assignment::Sticky(Sticky { key, salt: salt.into() }),
        default: "v1".into(),
        ..split("backend", generation, &[("v2", v2), ("v1", 100 - v2)])
    }
}

/// The users among `names` that get v2; every answer must be what `core` says.
fn in_v2(gate: &Gate, spec: SplitSpec, header: &str) -> Result<BTreeSet<usize>> {
    let Assignment::Sticky(Sticky { salt, .. }) = &spec.assignment else { unreachable!("a sticky split") };
    let seed = key::seed(salt);
    let split = Split::try_from(spec.clone())?;
    gate.publish(spec)?;
    let mut clients = [Client::connect(gate.web)?, Client::connect(gate.web)?, Client::connect(gate.web)?];
    let mut found = BTreeSet::new();
    for user in 0..USERS {
        let name = if header == "x-forwarded-for" {
            format!("10.{}.{}.7", user / 250, user % 250)
        } else {
            format!("user-{user}")
        };
        let value = if header == "cookie" { format!("theme=dark; uid={name}") } else { name.clone() };
        let expected = &split.subsets[split.at(key::point(name.as_bytes(), seed))].name;
        for client in &mut clients {
            let answer = ask(client, &[(header, &value)])?;
            ensure!(pod(&answer) == *expected, "{header} {name}: {}, not {expected}", pod(&answer));
            ensure!(answer.headers("set-cookie").is_empty(), "a known user needs no cookie");
        }
        if expected == "v2" {
            found.insert(user);
        }
    }
    Ok(found)
}

fn raising_a_weight_moves_nobody_back_and_another_salt_picks_others(door: Door) -> Result<()> {
    let gate = Gate::open(door, 2, json!({}))?;
    let key = || StickyKey::Header("x-user".into());
    let mut before = BTreeSet::new();
    for (generation, v2) in [(1, 5), (2, 10), (3, 25), (4, 60)] {
        let now = in_v2(&gate, sticky(generation, v2, key(), "one"), "x-user")?;
        ensure!(before.is_subset(&now), "moved back at {v2}: {:?}", before.difference(&now));
        ensure!(now.len().abs_diff(USERS * v2 as usize / 100) < 45, "{} of {USERS} at {v2}", now.len());
        before = now;
    }
    let lower = in_v2(&gate, sticky(5, 20, key(), "one"), "x-user")?;
    ensure!(lower.is_subset(&before), "lowering a weight brought somebody in");
    let salted = in_v2(&gate, sticky(6, 20, key(), "two"), "x-user")?;
    // Independent: a fifth of a fifth in both.
    ensure!(salted.intersection(&lower).count() < lower.len() / 2, "{lower:?} and {salted:?}");
    // By cookie, the same keys are the same points.
    let by_cookie = StickyKey::Cookie { name: "uid".into(), ttl: None };
    ensure!(in_v2(&gate, sticky(7, 20, by_cookie, "two"), "cookie")? == salted);
    // Without the header: even.
    gate.publish(sticky(8, 20, key(), "one"))?;
    for line in ["", "x-user: \r\n"] {
        let subsets = gate.sequence(200, line)?;
        for window in subsets.windows(100) {
            let v2 = window.iter().filter(|subset| *subset == "v2").count();
            ensure!(v2.abs_diff(20) <= 2, "{line:?}: {v2}");
        }
    }
    Ok(())
}

fn users_stick_by_the_address_that_envoy_trusts(door: Door) -> Result<()> {
    let mut gate = Gate::open(door, 2, json!({}))?;
    let listener = |name| lab::listener_with(name, gate.lab.filter.clone());
    let (web, mut listener) = (listener("web"), listener("by-address"));
    listener.extra = json!({ "use_remote_address": false });
    gate.lab.envoy.set_listeners(vec![web, listener])?;
    gate.web = gate.lab.envoy.listener("by-address")?;
    let address = |generation, v2| sticky(generation, v2, StickyKey::SourceAddress, "addresses");
    let few = in_v2(&gate, address(1, 10), "x-forwarded-for")?;
    let many = in_v2(&gate, address(2, 40), "x-forwarded-for")?;
    ensure!(few.is_subset(&many) && few.len() > 5 && many.len() > few.len());
    // The client's own word is not the last one in the list.
    let mut client = Client::connect(gate.web)?;
    let alone = pod(&ask(&mut client, &[("x-forwarded-for", "10.1.1.7")])?);
    for told in ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4", "5.5.5.5"] {
        let list = format!("{told}, 10.1.1.7");
        ensure!(pod(&ask(&mut client, &[("x-forwarded-for", &list)])?) == alone);
    }
    Ok(())
}

fn cookie_of(answer: &Response) -> Result<String> {
    let all = answer.headers("set-cookie");
    let ours: Vec<&String> = all.iter().filter(|cookie| cookie.starts_with("uid=")).collect();
    ensure!(ours.len() == 1, "{all:?}");
    Ok(ours[0].clone())
}

fn a_new_user_gets_a_cookie_that_keeps_the_subset_whatever_the_weights_become(door: Door) -> Result<()> {
    let gate = Gate::open(door, 2, json!({}))?;
    let key = |ttl| StickyKey::Cookie { name: "uid".into(), ttl };
    // 90/10 with sampling: also requests that are not observed get their cookie.
    gate.publish(sticky(1, 10, key(Some(86_400)), "salt"))?;
    let mut client = Client::connect(gate.web)?;
    let mut users = Vec::new();
    for n in 0..200 {
        let answer = ask(&mut client, if n % 2 == 0 { &[] } else { &[("cookie", "uid=; other=1")] })?;
        let cookie = cookie_of(&answer)?;
        let (value, attributes) = cookie.split_once(';').unwrap_or((&cookie, ""));
        ensure!(attributes == " Path=/; Max-Age=86400; HttpOnly; SameSite=Lax", "{cookie}");
        users.push((value.to_owned(), pod(&answer)));
    }
    let v2 = users.iter().filter(|(_, pod)| pod == "v2").count();
    ensure!(v2.abs_diff(20) <= 2, "new users are split evenly: {v2} of 20");
    let distinct: BTreeSet<&String> = users.iter().map(|(value, _)| value).collect();
    ensure!(distinct.len() == users.len(), "an id was issued twice");
    let mut other = Client::connect(gate.web)?;
    for (generation, weight) in [(2, 10), (3, 35)] {
        gate.publish(sticky(generation, weight, key(None), "salt"))?;
        for (cookie, before) in &users {
            let answer = ask(&mut other, &[("cookie", "a=b"), ("cookie", cookie)])?;
            ensure!(answer.headers("set-cookie").is_empty(), "issued again");
            let now = pod(&answer);
            ensure!(now == *before || (weight > 10 && now == "v2"), "{cookie}: {before} became {now} at {weight}");
        }
    }
    let session = cookie_of(&ask(&mut client, &[])?)?;
    ensure!(session.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{session}");
    Ok(())
}
