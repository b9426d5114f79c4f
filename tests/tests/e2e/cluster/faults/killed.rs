//! Two replicas of the controller, of which the leader is killed again and again.

use super::{RATE, automatic, chronicle, is_in, lab};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::kube::{self, PATIENCE};
use sluicegate_tests::kube_lab::KubeLab;
use sluicegate_tests::poll;
use std::time::{Duration, Instant};

const KILLS: usize = 50;
/// Of so many kills one leaves the leader dead until the other one leads; after the others it comes back at once.
const TAKEOVER: usize = 10;
/// Steps of the plan.
const STEPS: [u32; 4] = [1, 10, 25, 50];

fn leader(lab: &KubeLab, other_than: Option<usize>) -> Result<usize> {
    poll::until("a leader", PATIENCE, || match lab.leader().map_err(|why| format!("{why:#}"))? {
        Some(leader) if Some(leader) != other_than => Ok(leader),
        other => Err(format!("{other:?}")),
    })
}

fn until_later(moment: Duration) -> Result<()> {
    let since = Instant::now();
    poll::until("a moment", PATIENCE, || if since.elapsed() >= moment { Ok(()) } else { Err("not yet") })
}

#[test]
fn a_leader_killed_at_fifty_random_moments_skips_no_step_and_costs_no_request() -> Result<()> {
    let (mut lab, chronicle) = lab(kube::shared()?, "fifty", 2)?;
    // With the same seed the moments are the same, counted from the kill before.
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    lab.apply(&automatic("hello:v1"))?;
    lab.until("the rollout to be idle", "canarydeploys", is_in("Idle"))?;
    let load = lab.load(RATE)?;
    let mut versions = vec!["hello:v2".to_owned()];
    lab.apply(&automatic("hello:v2"))?;
    let (mut kills, mut within) = (0, 0);
    while kills < KILLS {
        until_later(Duration::from_millis(random.u64(100..3500)))?;
        let victim = leader(&lab, None)?;
        lab.replica(victim).kill();
        kills += 1;
        if kills % TAKEOVER == 0 {
            leader(&lab, Some(victim))?;
        }
        lab.replica(victim).restart()?;
        let now = lab.object("canarydeploys", "hello")?;
        let newest = versions.last().context("a version")?.clone();
        within += usize::from(state(&now)["phase"] != "promoted");
        // Kills are of no use when there is nothing left to do: the next version.
        if state(&now)["phase"] == "promoted" && state(&now)["stable"] == format!("app={newest}").as_str() {
            versions.push(format!("hello:v{}", versions.len() + 2));
            lab.apply(&automatic(versions.last().context("a version")?))?;
        }
    }
    let newest = format!("app={}", versions.last().context("a version")?);
    poll::until("promotion", 3 * PATIENCE, || {
        let object = lab.object("canarydeploys", "hello").map_err(|why| format!("{why:#}"))?;
        let done = object["status"]["phase"] == "Promoted" && state(&object)["stable"] == newest.as_str();
        if done { Ok(()) } else { Err(object["status"]["conditions"].to_string()) }
    })?;
    load.stop_clean()?;
    println!("{kills} kills, {within} of them within a rollout; rolled out {versions:?}");
    let rolled_out = chronicle.phases()?;
    ensure!(rolled_out.len() == versions.len(), "{rolled_out:?}");
    for (version, phases) in &rolled_out {
        ensure!(*phases == chronicle::forward(STEPS.len()), "{version}: {phases:?}");
    }
    chronicle.each_step_was_judged_once(STEPS.len() as u64)?;
    let of_each = versions.iter().flat_map(|_| chronicle::planned(&STEPS));
    let planned: Vec<String> = [chronicle::told(0)].into_iter().chain(of_each).collect();
    let published = chronicle.weights()?;
    ensure!(published == planned, "{published:?}");
    let path = format!("/apis/sluicegate.dev/v1alpha1/namespaces/{}/judgments", lab.namespace);
    let judgments = lab.cluster.api().list(&path)?.0;
    ensure!(judgments.len() == STEPS.len() * versions.len(), "{} judgments", judgments.len());
    Ok(())
}

fn state(object: &Value) -> &Value {
    &object["status"]["state"]["machine"]["state"]
}
