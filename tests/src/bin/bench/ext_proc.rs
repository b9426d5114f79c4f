//! The doors side by side: ext-proc beside the filter, Lua and Envoy's own split. CPU of Envoy and of the service behind it, and
//! what a client waits, with one request at a time and with sixteen.

use anyhow::{Result, ensure};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::ext_proc::{ExtProc, filter_to, service_named};
use sluicegate_tests::load::{Limits, Load, Tally};

use crate::args::Args;
use crate::hotpath::{CONNECTIONS, DISTURBED, check_split, requests, warm_up};
use crate::machine::Others;
use crate::rig::Rig;
use crate::samples::{Samples, quantile};
use crate::variants::{COUNTS, LUA, NATIVE, NONE, SPLIT, Variant, one_worker, plain};

const EXT_PROC: &str = "ours, ext-proc, counting";
const EXT_PROC_SPLIT: &str = "ours, ext-proc, split only";
/// In the order of the table.
const ROWS: [&str; 7] = [NONE, NATIVE, LUA, SPLIT, COUNTS, EXT_PROC_SPLIT, EXT_PROC];

/// One variant under measurement.
struct Row {
    variant: Variant,
    /// The service behind it.
    service: Option<ExtProc>,
    /// By CONNECTIONS connections, and by one.
    many: Option<Load>,
    one: Option<Load>,
}

/// What was seen of a variant.
#[derive(Default)]
struct Seen {
    envoy: Samples,
    service: Vec<f64>,
    many: Tally,
    one: Tally,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let rig = Rig::start()?;
    ensure!(rig.ours(), "the filter and the controller have to be built");
    let mut seen: Vec<Seen> = ROWS.iter().map(|_| Seen::default()).collect();
    let (mut rounds, mut disturbed) = (0, 0);
    for start in 1..=args.starts {
        eprintln!("Envoy {start} of {}, {} variants, {} rounds", args.starts, ROWS.len(), args.rounds);
        let (envoy, mut rows) = one_start(args, &rig)?;
        seen.iter_mut().for_each(|seen| seen.envoy.0.push(Vec::new()));
        let mut order: Vec<usize> = (0..rows.len()).collect();
        for _ in 0..args.rounds {
            let others = Others::watch(envoy.cpu()?);
            fastrand::shuffle(&mut order);
            for &at in &order {
                slice(args, &envoy, &mut rows[at], &mut seen[at])?;
            }
            rounds += 1;
            disturbed += usize::from(others.share(envoy.cpu()?) >= DISTURBED);
        }
        // Of all rounds together: who picks at random may be far off in one slice.
        rows.iter().zip(&seen).try_for_each(|(row, seen)| check_split(&row.variant, &seen.many))?;
    }
    println!("{}", table(args, &seen, rounds, disturbed));
    Ok(())
}

fn one_start(args: &Args, rig: &Rig) -> Result<(Envoy, Vec<Row>)> {
    let mut known = one_worker(rig);
    let mut rows = Vec::new();
    let mut clusters = rig.clusters();
    for name in ROWS {
        let found = known.iter().position(|one| one.name == name).map(|at| known.swap_remove(at));
        let (variant, service) = match found {
            Some(variant) => (variant, None),
            None => {
                let only: &[&str] = if name == EXT_PROC_SPLIT { &["--split-only"] } else { &[] };
                let args = [&["--split", "default/bench"], only].concat();
                let service = ExtProc::start_with(rig.controllers[0].proxy, &args)?;
                let cluster = name.replace([',', ' '], "-");
                clusters.push(service_named(&cluster, &[service.addr]));
                let mut variant = Variant { splits: Some(true), ..plain(name) };
                variant.listener = variant.listener.filter(filter_to(&cluster));
                (variant, Some(service))
            }
        };
        rows.push(Row { variant, service, many: None, one: None });
    }
    let listeners = rows.iter().map(|row| row.variant.listener.clone()).collect();
    let mut options = Options::new(listeners, clusters).workers(1);
    options.log = "warning".to_owned();
    let envoy = Envoy::start(options)?;
    for row in &mut rows {
        let to = envoy.listener(row.variant.name)?;
        let mut many = Load::with(to, CONNECTIONS, requests(0..1))?;
        warm_up(&mut many, &row.variant, args.slice)?;
        row.many = Some(many);
        row.one = Some(Load::with(to, 1, requests(0..1))?);
    }
    Ok((envoy, rows))
}

/// One slice by many connections, whose CPU counts, and a shorter one by a single connection.
fn slice(args: &Args, envoy: &Envoy, row: &mut Row, seen: &mut Seen) -> Result<()> {
    let (Some(many), Some(one)) = (&mut row.many, &mut row.one) else { return Ok(()) };
    let service = || row.service.as_ref().map(ExtProc::cpu).transpose().map(Option::unwrap_or_default);
    many.run(&Limits::count(args.slice / 4))?;
    let before = (envoy.cpu()?, service()?);
    let tally = many.run(&Limits::count(args.slice))?;
    let used = (envoy.cpu()?.saturating_sub(before.0), service()?.saturating_sub(before.1));
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6 / args.slice as f64;
    ensure!(tally.failures() == 0, "'{}': {:?}", row.variant.name, tally.statuses);
    if let Some(last) = seen.envoy.0.last_mut() {
        last.push(micros(used.0));
    }
    seen.service.push(micros(used.1));
    seen.many.merge(&tally);
    let alone = one.run(&Limits::count(args.slice / 4))?;
    ensure!(alone.failures() == 0, "'{}': {:?}", row.variant.name, alone.statuses);
    seen.one.merge(&alone);
    Ok(())
}

fn table(args: &Args, seen: &[Seen], rounds: usize, disturbed: usize) -> String {
    let mut out = format!(
        "### The doors side by side: one worker, {} requests a slice, {} Envoy processes\n\n\
         | variant | Envoy CPU µs | added to none | service CPU µs | both × native | one at a time p50 / p99 ms | sixteen at a time p50 / p99 ms |\n\
         |---|---|---|---|---|---|---|\n",
        args.slice, args.starts
    );
    let native = ROWS.iter().zip(seen).find(|(name, _)| **name == NATIVE).map_or(f64::NAN, |(_, seen)| total(seen));
    for (name, own) in ROWS.iter().zip(seen) {
        let added = own.envoy.minus(&seen[0].envoy);
        let ms = |tally: &Tally, q| tally.latencies.quantile(q).as_secs_f64() * 1e3;
        out += &format!(
            "| {name} | {:.1} | {:+.1} ({:+.1} … {:+.1}) | {:.1} | {:.2} | {:.2} / {:.2} | {:.2} / {:.2} |\n",
            own.envoy.quiet().median,
            added.median,
            added.low,
            added.high,
            quantile(&own.service, 0.2),
            total(own) / native,
            ms(&own.one, 0.5),
            ms(&own.one, 0.99),
            ms(&own.many, 0.5),
            ms(&own.many, 0.99),
        );
    }
    out + &format!("\nOther processes disturbed {disturbed} of {rounds} rounds.\n")
}

/// CPU of Envoy and of the service behind it.
fn total(seen: &Seen) -> f64 {
    seen.envoy.quiet().median + quantile(&seen.service, 0.2)
}
