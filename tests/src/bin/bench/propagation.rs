//! What a weight change takes: from the moment it is sent to the controller until the last answer by old weights, and
//! until every proxy has acked it. Weights swing between 100/0 and 0/100, so each answer tells by which it was decided.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::client::Client;
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Listener, Wasm, cluster};
use sluicegate_tests::http1;
use sluicegate_tests::load::{Latencies, Limits, Load, Tally};
use sluicegate_tests::paths;
use sluicegate_tests::poll;
use sluicegate_tests::upstream::Upstreams;

use crate::args::Args;

/// Requests per second, over all proxies.
const RATE: f64 = 2000.0;
const PODS: [&str; 2] = ["v1", "v2"];
const SPLIT: &str = "/v1/splits/default/bench";

/// The last answers of each pod, in ns since `origin`: when one came, and when one was sent that came.
struct Seen {
    origin: Instant,
    came: [AtomicU64; 2],
    sent: [AtomicU64; 2],
}

#[derive(Default)]
struct Row {
    last_old: Latencies,
    written: Latencies,
    /// From "in force" as the client hears it to the last ack.
    pushed: Latencies,
    acked: Latencies,
    bare: Latencies,
    /// A small file written the way the controller does it: written, synced, renamed, folder synced.
    disk: Latencies,
    /// Requests sent after the ack was known and answered by old weights: promise 1 broken.
    late: u64,
    requests: u64,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if let Err(missing) = paths::controller().and(paths::wasm("sluicegate.wasm")) {
        eprintln!("propagation is left out: {missing:#}");
        return Ok(());
    }
    println!(
        "### Propagation of a weight change: {} changes, {RATE} requests/s\n\n\
         | proxies | workers of each | last answer by old weights | change written and in force | ack by all proxies | of that, after it was in force | bare loopback round trip | bare write to disk | sent after the ack, old weights |\n\
         |---|---|---|---|---|---|---|---|---|",
        args.changes
    );
    for (proxies, workers) in [(1, 2), (8, 1)] {
        let row = measure(args.changes, proxies, workers)?;
        println!(
            "| {proxies} | {workers} | {} | {} | {} | {} | {} | {} | {} of {} |",
            row.last_old, row.written, row.acked, row.pushed, row.bare, row.disk, row.late, row.requests
        );
    }
    println!();
    Ok(())
}

fn measure(changes: usize, proxies: usize, workers: usize) -> Result<Row> {
    eprintln!("propagation: {proxies} proxies, {changes} changes");
    let pods = Upstreams::start(&PODS)?;
    let controller = Controller::start(&[("bench.yaml", &split_yaml("bench", &[("v1", 100), ("v2", 0)], ""))])?;
    let envoys: Vec<Envoy> = (0..proxies).map(|_| envoy(&pods, controller.proxy, workers)).collect::<Result<_>>()?;
    let mut admin = Client::connect(controller.admin)?.named("localhost");
    poll::until("all proxies to be heard of", poll::LONG, || {
        let split = ask(&mut admin, SPLIT).map_err(|error| format!("{error:#}"))?;
        if split["live"] == proxies && split["acked"] == proxies { Ok(()) } else { Err(split.to_string()) }
    })?;

    let seen = Arc::new(Seen { origin: Instant::now(), came: Default::default(), sent: Default::default() });
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = envoys
        .iter()
        .map(|envoy| Ok(load(envoy.listener("web")?, RATE / proxies as f64, &seen, &stop)))
        .collect::<Result<_>>()?;
    let mut bare = Client::connect(pods.addr("v1"))?;
    let disk = paths::scratch("disk")?;
    let mut row = Row::default();
    for change in 0..changes {
        // The next one in some milliseconds, not in step with anything.
        thread::sleep(Duration::from_micros(fastrand::u64(15_000..35_000)));
        let began = Instant::now();
        bare.request("GET", "/", &[], b"")?;
        row.bare.push(began.elapsed());
        let began = Instant::now();
        write_to_disk(disk.path())?;
        row.disk.push(began.elapsed());
        one_change(&mut admin, change, &seen, &mut row)?;
    }
    stop.store(true, Ordering::Relaxed);
    for load in loads {
        let tally = load.join().map_err(|_| anyhow::anyhow!("a load thread died"))??;
        ensure!(tally.failures() == 0, "requests failed: {:?}, {} broken", tally.statuses, tally.broken);
        row.requests += tally.answers();
    }
    Ok(row)
}

fn one_change(admin: &mut Client, change: usize, seen: &Seen, row: &mut Row) -> Result<()> {
    let (old, new) = (change % 2, (change + 1) % 2);
    let weights = json!({ "weights": { PODS[old]: 0, PODS[new]: 100 } }).to_string();
    let began = seen.now();
    let headers = [("content-type", "application/json")];
    let answer = admin.request("POST", &format!("{SPLIT}/weights"), &headers, weights.as_bytes())?;
    ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
    let written = seen.now();
    row.written.push(Duration::from_nanos(written - began));
    let generation = answer.json()?["generation"].as_u64().context("no generation in the answer")?;
    let split = ask(admin, &format!("{SPLIT}?wait=acked&generation={generation}&timeout=10"))?;
    let acked = seen.now();
    ensure!(split["acked"] == split["live"], "not acked within ten seconds: {split}");
    row.acked.push(Duration::from_nanos(acked - began));
    row.pushed.push(Duration::from_nanos(acked - written));

    // Answers that are still on their way; a late one would be sent after the ack and still be old.
    thread::sleep(Duration::from_millis(15));
    let last = seen.came[old].load(Ordering::Relaxed).saturating_sub(began);
    row.last_old.push(Duration::from_nanos(last));
    row.late += u64::from(seen.sent[old].load(Ordering::Relaxed) > acked);
    Ok(())
}

fn write_to_disk(dir: &Path) -> Result<()> {
    let mut file = File::create(dir.join("new"))?;
    file.write_all(&[b'x'; 300])?;
    file.sync_all()?;
    fs::rename(dir.join("new"), dir.join("file"))?;
    File::open(dir)?.sync_all().context("cannot sync a folder")
}

fn ask(admin: &mut Client, target: &str) -> Result<Value> {
    let answer = admin.request("GET", target, &[], b"")?;
    ensure!(answer.status == 200, "{target}: status {}: {}", answer.status, answer.text());
    answer.json()
}

fn envoy(pods: &Upstreams, controller: SocketAddr, workers: usize) -> Result<Envoy> {
    let config = json!({ "controller": { "cluster": CONTROLLER_CLUSTER }, "split": "default/bench" });
    let plugin = Wasm::new(&paths::wasm("sluicegate.wasm")?, config);
    let listener = Listener::new("web", "v1").subset("v2", "v2").filter(plugin.filter());
    let mut clusters: Vec<Value> = PODS.iter().map(|pod| cluster(pod, &[pods.addr(pod)])).collect();
    clusters.push(cluster(CONTROLLER_CLUSTER, &[controller]));
    Envoy::start(Options::new(vec![listener], clusters).workers(workers))
}

fn load(to: SocketAddr, rate: f64, seen: &Arc<Seen>, stop: &Arc<AtomicBool>) -> JoinHandle<Result<Tally>> {
    let (seen, stop) = (Arc::clone(seen), Arc::clone(stop));
    thread::spawn(move || {
        let limits = Limits::duration(Duration::from_mins(4)).rate(rate).until(&stop);
        Load::new(to, 8, "")?.run_with(&limits, |answer| {
            let pod = usize::from(http1::header(answer.head, "x-pod") == Some(PODS[1].as_bytes()));
            let sent = u64::try_from((answer.sent - seen.origin).as_nanos()).unwrap_or(0);
            seen.came[pod].fetch_max(seen.now(), Ordering::Relaxed);
            seen.sent[pod].fetch_max(sent, Ordering::Relaxed);
        })
    })
}

impl Seen {
    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}
