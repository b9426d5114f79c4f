//! What a change of weights takes, by our split and by the objects of the gateways themselves, side by side: from the moment the API
//! server has taken it until the last answer by old weights (`make bench-gateways`).
//!
//! In: ways to give weights to the same pods. Out: for each a row of a table, and what became of the goals.

mod change;
mod table;

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::client::Client;
use sluicegate_tests::gateways::{Gateways, Site};

pub(crate) use table::{OURS, Table};

use crate::splits::await_ack;
use change::block;

/// Between canary 0 and 100, and in steps; the last change of each leads back to 0.
const FLIPS: [u32; 6] = [100, 0, 100, 0, 100, 0];
const STEPS: [u32; 12] = [10, 50, 100, 0, 10, 50, 100, 0, 10, 50, 100, 0];
/// How often the changes of both kinds are made, with all ways in another order each time.
const ROUNDS: usize = 4;

/// A way to give weights.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    /// Where requests are sent that these weights decide about.
    pub(crate) site: Site,
    /// The object that has the weights, by the path of its API.
    pub(crate) object: String,
    /// What of it changes when the canary shall get so many of a hundred.
    pub(crate) patch: fn(u32) -> Value,
    /// Who knows whether proxies run them.
    pub(crate) acks: Option<Acks>,
}

/// Who knows whether all proxies run a split: the leading controller, asked by the port that its command line uses, and the status that
/// it gives the object.
pub(crate) struct Acks {
    admin: Client,
    split: &'static str,
    proxies: u32,
}

impl Acks {
    /// Of a split of `default`, which so many proxies have.
    pub(crate) fn of(gateways: &Gateways, split: &'static str, proxies: u32) -> Result<Self> {
        let leases = gateways.get("/apis/coordination.k8s.io/v1/namespaces/sluicegate-system/leases")?;
        let leader = leases["items"][0]["spec"]["holderIdentity"].as_str().context("nobody leads")?;
        let pod = leader.rsplit_once('_').map_or(leader, |(pod, _port)| pod);
        let connect = || Client::connect(SocketAddr::from(([127, 0, 0, 1], 7071)));
        let admin = gateways.node.kubelet.within("sluicegate-system", pod, connect)?.named("localhost");
        Ok(Self { admin, split, proxies })
    }

    fn generation(&mut self) -> Result<u64> {
        self.ask("")?["generation"].as_u64().context("no generation")
    }

    /// Waits for both about this generation, which was applied last; returns when they said so.
    fn wait(&mut self, gateways: &Gateways, generation: u64) -> Result<[Instant; 2]> {
        let split = self.ask(&format!("?wait=acked&generation={generation}&timeout=9"))?;
        let acked = Instant::now();
        ensure!(split["acked"] == self.proxies && split["generation"] == generation, "not acked: {split}");
        await_ack(gateways, self.split, self.proxies)?;
        Ok([acked, Instant::now()])
    }

    fn ask(&mut self, query: &str) -> Result<Value> {
        let answer = self.admin.request("GET", &format!("/v1/splits/default/{}{query}", self.split), &[], b"")?;
        ensure!(answer.status == 200, "status {}: {}", answer.status, answer.text());
        answer.json()
    }
}

/// Measures the ways, all of whose canaries get nothing now.
pub(crate) fn measure(gateways: &Gateways, table: &mut Table, setting: &'static str, ways: &mut [Way]) -> Result<()> {
    for round in 1..=table.rounds {
        fastrand::shuffle(ways);
        for way in &mut *ways {
            eprintln!("{setting}, {}: round {round} of {}", way.name, table.rounds);
            for (kind, weights) in [("flips", &FLIPS[..]), ("steps", &STEPS[..])] {
                let (changes, seen) = block(gateways, way, weights).with_context(|| way.name.to_owned())?;
                table.row(setting, way.name, kind).add(&changes, &seen);
            }
        }
    }
    Ok(())
}

/// How many rounds the command line asks for.
pub(crate) fn rounds() -> usize {
    let asked = std::env::args().find_map(|word| word.strip_prefix("--rounds=")?.parse().ok());
    asked.unwrap_or(ROUNDS)
}

/// The weights of a split.
pub(crate) fn subsets(canary: u32) -> Value {
    let subset = |name: &str, weight: u32| json!({ "name": name, "weight": weight });
    json!({ "spec": { "subsets": [subset("canary", canary), subset("main", 100 - canary), subset("baseline", 0)] } })
}
