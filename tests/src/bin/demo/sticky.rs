//! The same users, again and again, while v2 grows: who is on it stays on it.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use sluicegate_tests::http1;
use sluicegate_tests::load::{Limits, Load};

use crate::print::{good, row, table, thousands};
use crate::stage::{Stage, V2};

const USERS: u64 = 1_000;

/// See the module.
pub(crate) fn run(stage: &Stage) -> Result<()> {
    stage.edit("v1=90 v2=10, assignment: sticky", 90, 10, "assignment: sticky\nsticky: { header: x-user-id }")?;
    let mut rows = vec![row(["weight of v2", "users on v2", "moved to v2", "moved back"])];
    let mut before: Option<Vec<bool>> = None;
    for weight in [10, 25, 75] {
        if before.is_some() {
            stage.set_weight(100 - weight, weight)?;
        }
        let now = ask_all(stage)?;
        let count = now.iter().filter(|on| **on).count() as u64;
        let moves = |from: bool, to: bool| {
            before.iter().flat_map(|before| before.iter().zip(&now)).filter(|(a, b)| (**a, **b) == (from, to)).count()
        };
        let (to, back) = (moves(false, true), moves(true, false));
        ensure!(back == 0, "{back} users moved off v2 although its weight was raised to {weight} %");
        // Five standard deviations of a thousand independent users.
        let expected = USERS * weight / 100;
        let tolerance = 5.0 * (expected as f64 * (100 - weight) as f64 / 100.0).sqrt();
        ensure!(count.abs_diff(expected) as f64 <= tolerance, "{count} of {USERS} users are on v2 at {weight} %");
        let moved = if before.is_some() { [to.to_string(), back.to_string()] } else { ["-".into(), "-".into()] };
        rows.push(row([&format!("{weight} %"), &count.to_string(), &moved[0], &moved[1]]));
        before = Some(now);
    }
    println!(
        "\n{} users, each of whom asked twice at each weight and got the same pod both times:\n",
        thousands(USERS)
    );
    table(&rows);
    println!("\n{}", good("nobody moved back"));
    Ok(())
}

/// Whether each user is on v2. Asks twice, over many connections, so by both workers.
fn ask_all(stage: &Stage) -> Result<Vec<bool>> {
    let write = |number: u64, out: &mut Vec<u8>| {
        let user = number % USERS;
        out.extend_from_slice(format!("GET / HTTP/1.1\r\nhost: test\r\nx-user-id: user-{user}\r\n\r\n").as_bytes());
    };
    let mut on_v2: BTreeMap<u64, bool> = BTreeMap::new();
    let mut torn = None;
    let tally = Load::with(stage.web()?, 16, Box::new(write))?.run_with(&Limits::count(2 * USERS), |answer| {
        let user = answer.number % USERS;
        let now = http1::header(answer.head, "x-pod") == Some(V2.as_bytes());
        if *on_v2.entry(user).or_insert(now) != now {
            torn = Some(user);
        }
    })?;
    ensure!(tally.failures() == 0, "requests failed: {:?}", tally.statuses);
    ensure!(torn.is_none(), "user {} got both pods at the same weights", torn.unwrap_or_default());
    ensure!(on_v2.len() as u64 == USERS, "only {} users got an answer", on_v2.len());
    Ok(on_v2.into_values().collect())
}
