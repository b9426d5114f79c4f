//! Cost per request: all variants in one Envoy, one slice of each per round in random order, Envoy's CPU clock read
//! around every slice.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::{Result, ensure};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::load::{Limits, Load, Tally, Write};
use sluicegate_tests::poll;

use crate::args::Args;
use crate::machine::Others;
use crate::rig::{Rig, WEIGHTS, host};
use crate::samples::Samples;
use crate::variants::{NONE, Variant, also};
use crate::{Variants, table};

pub(crate) const CONNECTIONS: usize = 16;
/// A round in which other processes used so much of the machine is measured again …
pub(crate) const DISTURBED: f64 = 0.05;
/// … up to so many times as many rounds as asked for; then it counts as it is.
const TRIES: usize = 2;

/// Everything measured for one table.
pub(crate) struct Measured {
    pub(crate) samples: BTreeMap<&'static str, Samples>,
    /// The variants in their order, each with the one it is compared with.
    pub(crate) rows: Vec<(&'static str, &'static str)>,
    pub(crate) requests: u64,
    /// CPU of the load generator and of the upstreams, µs per request.
    pub(crate) load_cpu: f64,
    pub(crate) upstream_cpu: f64,
    pub(crate) workers: usize,
    /// Rounds run, and those of them in which other processes used the machine.
    pub(crate) rounds: usize,
    pub(crate) disturbed: usize,
}

pub(crate) fn run(args: &Args, workers: usize, make: &Variants) -> Result<()> {
    let rig = Rig::start()?;
    let chosen = |rig: &Rig| -> Vec<Variant> {
        let wanted = |one: &Variant| {
            args.only.is_empty() || one.name == NONE || args.only.iter().any(|part| one.name.contains(part))
        };
        make(rig).into_iter().filter(wanted).chain(args.also.iter().map(|file| also(file))).collect()
    };
    let rows: Vec<_> = chosen(&rig).iter().map(|one| (one.name, one.none)).collect();
    let mut measured = Measured {
        samples: BTreeMap::new(),
        rows,
        requests: 0,
        load_cpu: 0.0,
        upstream_cpu: 0.0,
        workers,
        rounds: 0,
        disturbed: 0,
    };
    let mut load_cpu = Duration::ZERO;
    let upstream_before = rig.pods.cpu();
    for start in 1..=args.starts {
        eprintln!(
            "Envoy {start} of {}, {workers} worker(s), {} variants, {} rounds",
            args.starts,
            measured.rows.len(),
            args.rounds
        );
        load_cpu += one_start(args, workers, &rig, chosen(&rig), &mut measured)?;
    }
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / measured.requests as f64;
    (measured.load_cpu, measured.upstream_cpu) =
        (micros(load_cpu), micros(rig.pods.cpu().saturating_sub(upstream_before)));
    println!("{}", table::render(&measured));
    Ok(())
}

fn one_start(args: &Args, workers: usize, rig: &Rig, variants: Vec<Variant>, into: &mut Measured) -> Result<Duration> {
    let listeners = variants.iter().map(|one| one.listener.clone()).collect();
    let mut options = Options::new(listeners, rig.clusters()).workers(workers);
    options.log = "warning".to_owned();
    let envoy = Envoy::start(options)?;
    let mut loads = Vec::new();
    for one in &variants {
        let mut load = Load::with(envoy.listener(one.name)?, CONNECTIONS * workers, requests(one.hosts.clone()))?;
        warm_up(&mut load, one, args.slice)?;
        loads.push(load);
    }

    let mut totals: Vec<Tally> = vec![Tally::default(); variants.len()];
    let mut slices: Vec<Vec<f64>> = vec![Vec::new(); variants.len()];
    let mut order: Vec<usize> = (0..variants.len()).collect();
    let (mut quiet, mut tried) = (0, 0);
    while quiet < args.rounds && tried < args.rounds * TRIES {
        let others = Others::watch(envoy.cpu()?);
        tried += 1;
        fastrand::shuffle(&mut order);
        for &index in &order {
            // The caches still hold the variant before; in production the next request is of the same kind.
            loads[index].run(&Limits::count(args.slice / 4))?;
            let before = envoy.cpu()?;
            let tally = loads[index].run(&Limits::count(args.slice))?;
            let used = envoy.cpu()?.saturating_sub(before);
            slices[index].push(used.as_secs_f64() * 1e6 / args.slice as f64);
            totals[index].merge(&tally);
        }
        if others.share(envoy.cpu()?) < DISTURBED {
            quiet += 1;
        } else if tried <= args.rounds * (TRIES - 1) + quiet {
            // There is still time for a quiet one instead.
            for slices in &mut slices {
                slices.pop();
            }
        }
    }
    into.rounds += tried;
    into.disturbed += tried - quiet;
    let mut load_cpu = Duration::ZERO;
    for ((one, slices), total) in variants.iter().zip(slices).zip(&totals) {
        ensure!(total.failures() == 0, "'{}': {} requests failed: {:?}", one.name, total.failures(), total.statuses);
        check_split(one, total)?;
        into.samples.entry(one.name).or_default().0.push(slices);
        into.requests += total.answers();
        load_cpu += total.cpu;
    }
    Ok(load_cpu)
}

/// Until the code is hot and, for a splitting variant, the weights are there.
pub(crate) fn warm_up(load: &mut Load, one: &Variant, slice: u64) -> Result<()> {
    poll::until(&format!("'{}' to split", one.name), poll::LONG, || {
        let tally = load.run(&Limits::count(slice)).map_err(|error| format!("{error:#}"))?;
        let small = tally.pods.get("canary").copied().unwrap_or(0);
        if one.splits != Some(true) || small > 0 { Ok(()) } else { Err(format!("{:?}", tally.pods)) }
    })?;
    load.run(&Limits::count(slice * 4)).map(drop)
}

/// A variant that does not do its work would be cheap.
pub(crate) fn check_split(one: &Variant, total: &Tally) -> Result<()> {
    let Some(splits) = one.splits else { return Ok(()) };
    for (subset, weight) in WEIGHTS {
        let share = total.pods.get(subset).copied().unwrap_or(0) as f64 * 100.0 / total.answers().max(1) as f64;
        let wanted = if splits { weight as f64 } else { f64::from(u8::from(subset == "main")) * 100.0 };
        ensure!((share - wanted).abs() < 2.5, "'{}' sent {share:.1} % to {subset}, not {wanted} %", one.name);
    }
    Ok(())
}

/// Requests as a browser's, each of another user; the same for all variants.
pub(crate) fn requests(hosts: Range<usize>) -> Write {
    let heads: Vec<Vec<u8>> = hosts
        .map(|n| {
            format!(
                "GET /api/items?page=2 HTTP/1.1\r\nhost: {}\r\nuser-agent: bench/1\r\naccept: application/json\r\n\
                 accept-encoding: gzip\r\ncookie: theme=dark; session=8f14e45fceea167a\r\nx-user-id: ",
                host(n)
            )
            .into_bytes()
        })
        .collect();
    Box::new(move |number, out| {
        out.extend_from_slice(&heads[number as usize % heads.len()]);
        out.extend_from_slice(
            format!("user-{:08}\r\n\r\n", number.wrapping_mul(2_654_435_761) % 100_000_000).as_bytes(),
        );
    })
}
