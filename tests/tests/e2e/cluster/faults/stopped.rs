//! The API server and etcd stopped, killed and forgetful, at the very moment at which a rollout got into a phase.

use super::{Chronicle, RATE, account, automatic, chronicle, is_in, told_to_a_new_proxy};
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use sluicegate_tests::kube::between::Between;
use sluicegate_tests::kube::{Cluster, PATIENCE, Part};
use sluicegate_tests::kube_lab::KubeLab;
use sluicegate_tests::poll;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// The API server is away for so long in most phases …
const SHORT: u64 = 3;
/// … and in one of them: longer than the lease lasts.
const LONG: u64 = 30;

/// What happens to the API server, and whether its last answer got through.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// It stands still, after its answer.
    Stop,
    /// It stands still, and its answer is lost.
    StopUnheard,
    /// It is killed, and its answer is lost.
    Kill,
    /// Etcd is killed, after its answer.
    KillEtcd,
}

/// A controller that goes by the stand-in to a control plane of its own.
struct Stage {
    // Before the cluster: its thread acts on it.
    between: Between,
    lab: KubeLab,
    chronicle: Chronicle,
}

impl Stage {
    fn start(prefix: &str) -> Result<Self> {
        let cluster = Arc::new(Cluster::start()?);
        let (namespace, kubeconfig) = account(&cluster, prefix)?;
        let between = Between::start(cluster.api())?;
        let by = cluster.kubeconfig_by(&kubeconfig, "between", &between.url())?;
        let lab = KubeLab::start_as(&cluster, &namespace, super::REPLICAS, &[&by])?;
        let chronicle = Chronicle::start(&lab)?;
        lab.apply(&automatic("hello:v1"))?;
        lab.until("the rollout to be idle", "canarydeploys", is_in("Idle"))?;
        Ok(Self { between, lab, chronicle })
    }

    /// Has the fault happen once the state of the rollout says so.
    fn arm(&self, phase: &str, fault: Fault) -> Receiver<()> {
        let needle = match phase.split_once(' ') {
            Some((phase, step)) => format!(r#""phase":{{"{phase}":{{"step":{step}}}}}"#),
            None => format!(r#""phase":"{phase}""#),
        };
        let cluster = Arc::clone(&self.lab.cluster);
        let lost = matches!(fault, Fault::StopUnheard | Fault::Kill);
        self.between.trap(&needle, lost, move || match fault {
            Fault::Stop | Fault::StopUnheard => cluster.signal(Part::ApiServer, Signal::SIGSTOP),
            Fault::Kill => cluster.kill(Part::ApiServer),
            Fault::KillEtcd => cluster.kill(Part::Etcd),
        })
    }

    /// Through one phase after the other, each with its fault, in some of which a new proxy is told this weight
    /// of the canary. A new proxy is waited for like any other, so not in all of them.
    fn pass(&self, phases: &[(&str, Fault, u64, Option<u32>)], begin: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut next = phases.iter();
        let (first, fault, ..) = phases.first().context("a phase")?;
        let mut word = self.arm(first, *fault);
        begin()?;
        while let Some((phase, fault, seconds, canary)) = next.next() {
            word.recv_timeout(PATIENCE).with_context(|| format!("it never came to {phase}"))?;
            if let Some(canary) = canary {
                told_to_a_new_proxy(&self.lab, *canary).with_context(|| format!("in {phase}"))?;
            }
            wait(Duration::from_secs(*seconds))?;
            if let Some((phase, fault, ..)) = next.as_slice().first() {
                word = self.arm(phase, *fault);
            }
            self.back(*fault)?;
        }
        Ok(())
    }

    fn back(&self, fault: Fault) -> Result<()> {
        let cluster = &self.lab.cluster;
        match fault {
            Fault::Stop | Fault::StopUnheard => cluster.signal(Part::ApiServer, Signal::SIGCONT),
            Fault::KillEtcd => cluster.restart(Part::Etcd)?,
            Fault::Kill => {
                cluster.restart(Part::ApiServer)?;
                // It is not what is tested, and may take minutes to try again.
                cluster.kill(Part::ControllerManager);
                cluster.restart(Part::ControllerManager)?;
            }
        }
        Ok(())
    }
}

#[test]
fn an_api_server_that_is_away_in_any_phase_is_waited_for_and_nobody_notices() -> Result<()> {
    let mut stage = Stage::start("phases")?;
    let load = stage.lab.load(RATE)?;
    let forward = [
        ("scale 0", Fault::Stop, SHORT, None),
        ("weigh 0", Fault::StopUnheard, SHORT, None),
        // Longer than it takes to try a write many times, shorter than the lease.
        ("hold 0", Fault::Kill, 2 * SHORT, Some(1)),
        ("hold 1", Fault::StopUnheard, LONG, Some(10)),
        ("update", Fault::StopUnheard, SHORT, None),
        ("switch", Fault::StopUnheard, SHORT, None),
        ("cleanUp", Fault::Kill, SHORT, None),
    ];
    stage.pass(&forward, || stage.lab.apply(&automatic("hello:v2")).map(drop))?;
    stage.lab.until("promotion", "canarydeploys", is_in("Promoted"))?;
    let weights = stage.chronicle.weights()?;
    ensure!(weights == chronicle::planned(&[0, 1, 10, 25, 50]), "{weights:?}");
    stage.lab.apply(&automatic("hello:v3"))?;
    stage.lab.until("the second step", "canarydeploys", |o| {
        o["status"]["phase"] == "Hold" && o["status"]["step"] == "2/4"
    })?;
    let back = [
        ("shed", Fault::StopUnheard, SHORT, None),
        ("restore", Fault::Stop, SHORT, None),
        ("return", Fault::StopUnheard, SHORT, None),
        ("clear", Fault::StopUnheard, SHORT, None),
    ];
    // The order is given while the API server is there; what follows from it meets the faults.
    let name = format!("{}/hello", stage.lab.namespace);
    stage.pass(&back, || {
        // Its answer may be lost, too.
        stage.lab.controller.try_cli(&["rollback", &name, "--by", "ada"]).map(drop)
    })?;
    stage.lab.until("the way back to be done", "canarydeploys", is_in("RolledBack"))?;
    load.stop_clean()?;
    let rolled_out = stage.chronicle.phases()?;
    let [(_, good), (_, bad)] = rolled_out.as_slice() else { anyhow::bail!("{rolled_out:?}") };
    ensure!(*good == chronicle::forward(4), "{good:?}");
    let back = [&chronicle::forward(4)[..7], &["shed", "restore", "return", "clear"].map(str::to_owned)].concat();
    ensure!(bad.iter().zip(&back).all(|(seen, wanted)| seen == wanted) && bad.len() == back.len() + 1, "{bad:?}");
    stage.chronicle.each_step_was_judged_once(4)?;
    // Two of the faults end watches, each of them six: once per outage and writer, not once per try.
    is_no_storm(&stage.lab.controller.process().log(), 62)
}

#[test]
fn an_etcd_that_is_killed_and_forgets_and_an_api_server_that_is_busy_are_waited_for() -> Result<()> {
    let mut stage = Stage::start("etcd")?;
    let load = stage.lab.load(RATE)?;
    let cluster = Arc::clone(&stage.lab.cluster);
    let come_to = |step: &str, word: Receiver<()>| {
        word.recv_timeout(PATIENCE).with_context(|| format!("it never came to hold {step}"))
    };
    let first = stage.arm("hold 0", Fault::KillEtcd);
    stage.lab.apply(&automatic("hello:v2"))?;
    come_to("0", first)?;
    told_to_a_new_proxy(&stage.lab, 1)?;
    let second = stage.arm("hold 1", Fault::Kill);
    stage.back(Fault::KillEtcd)?;
    come_to("1", second)?;
    // What was followed is not to be had any more: `410 Gone`, and everything is listed again.
    // Nothing is written meanwhile, so nothing is forgotten that was not read here.
    let before = (stage.chronicle.weights()?, stage.chronicle.phases()?);
    cluster.compact()?;
    let third = stage.arm("hold 2", Fault::Stop);
    stage.back(Fault::Kill)?;
    come_to("2", third)?;
    // Longer than the lease lasts; and a busy server is asked no more often than any other.
    stage.between.set_busy(true);
    stage.back(Fault::Stop)?;
    let asked = count(&stage.between);
    wait(Duration::from_secs(12))?;
    let asked = count(&stage.between) - asked;
    ensure!(asked < 12 * 20, "{asked} requests in 12 s to a server that is busy");
    told_to_a_new_proxy(&stage.lab, 25)?;
    stage.between.set_busy(false);
    for _ in 0..5 {
        stage.between.cut();
        wait(Duration::from_millis(300))?;
    }
    stage.lab.until("promotion", "canarydeploys", is_in("Promoted"))?;
    load.stop_clean()?;
    ensure!(before.0 == [0, 1, 10].map(chronicle::told), "{before:?}");
    ensure!(matches!(before.1.as_slice(), [(_, phases)] if *phases == chronicle::forward(4)[..7]), "{before:?}");
    let weights = stage.chronicle.weights()?;
    ensure!(weights == chronicle::planned(&[0, 1, 10, 25, 50]), "{weights:?}");
    stage.chronicle.each_step_was_judged_once(4)?;
    is_no_storm(&stage.lab.controller.process().log(), 84)
}

/// Lets a fault last: its length is what is tested.
fn wait(long: Duration) -> Result<()> {
    let since = Instant::now();
    poll::until("the time to pass", PATIENCE, || if since.elapsed() >= long { Ok(()) } else { Err("a moment") })
}

fn count(between: &Between) -> u64 {
    between.asked().values().sum()
}

fn is_no_storm(log: &str, most: usize) -> Result<()> {
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN ")).collect();
    ensure!(warnings.len() <= most, "{} warnings:\n{}", warnings.len(), warnings.join("\n"));
    Ok(())
}
