//! What rollouts need: pods that are processes, an Envoy that finds them, a controller; and rollouts, step by step.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use sluicegate_tests::poll;
use sluicegate_tests::rollout_lab::{RolloutLab, rollout_yaml};

use crate::print::{faint, typed};
use crate::steps::Steps;

/// Requests per second, all the time.
pub(crate) const RATE: f64 = 1_200.0;
/// Pods of main.
const REPLICAS: u32 = 4;
/// All judged by the evidence.
pub(crate) const STEPS: &str = "[1, 10, 25, 50]";
/// No rollout of the demo takes longer.
const LONGEST: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Theatre {
    pub(crate) lab: RolloutLab,
}

/// A rollout as it was when the demo had waited for it.
pub(crate) struct Reached {
    pub(crate) rollout: Value,
    pub(crate) took: Duration,
    /// Steps that were held until then.
    pub(crate) steps: usize,
}

impl Theatre {
    /// Starts everything; main runs v1, and a rollout waits for another version.
    pub(crate) fn start() -> Result<Self> {
        let theatre = Self { lab: RolloutLab::start(REPLICAS)? };
        let spec = spec("v1", STEPS);
        theatre.lab.write("CanaryDeploy", &spec)?;
        theatre.lab.until_phase("Idle")?;
        println!("  pods    {REPLICAS} of main; tests/workloads.sh starts and stops them, Envoy finds them by EDS");
        println!("  load    {RATE} requests per second");
        typed("cat splits/rollout.yaml");
        let shown = rollout_yaml("CanaryDeploy", &format!("{spec}  workloads: {{ command: [./workloads.sh] }}"));
        shown.lines().for_each(|line| println!("{}", faint(line)));
        Ok(theatre)
    }

    /// Edits the rollout as a person would, so that another version begins.
    pub(crate) fn edit(&self, version: &str, steps: &str) -> Result<Instant> {
        let more = if steps == STEPS { String::new() } else { format!(", steps: {steps}") };
        typed(&format!("vi splits/rollout.yaml   # version: {version}{more}"));
        self.lab.write("CanaryDeploy", &spec(version, steps))?;
        Ok(Instant::now())
    }

    /// Runs the CLI, shows what was typed and what it printed.
    pub(crate) fn sluicegate(&self, args: &[&str]) -> Result<()> {
        let quoted = args.iter().map(|arg| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() });
        typed(&format!("sluicegate {}", quoted.collect::<Vec<_>>().join(" ")));
        print!("{}", self.lab.controller.cli(args)?);
        Ok(())
    }

    /// Shows the rollout of a version step by step until it is so.
    pub(crate) fn follow(&self, version: &str, began: Instant, until: impl Fn(&Value) -> bool) -> Result<Reached> {
        let mut steps = Steps::begin(began);
        let reached = poll::until("the rollout", LONGEST, || {
            let rollout = self.lab.rollout().map_err(|why| format!("{why:#}"))?;
            let ours = rollout["version"] == version;
            if ours {
                steps.show(&rollout);
            }
            if ours && until(&rollout) { Ok(rollout) } else { Err(rollout.to_string()) }
        });
        let held = steps.end();
        Ok(Reached { rollout: reached?, took: began.elapsed(), steps: held })
    }

    /// The same until it is in this phase, which is the last one.
    pub(crate) fn follow_to(&self, version: &str, began: Instant, phase: &str) -> Result<Reached> {
        let over = |rollout: &Value| rollout["phase"] == "Promoted" || rollout["phase"] == "RolledBack";
        let reached = self.follow(version, began, over)?;
        if reached.rollout["phase"] != phase {
            bail!("the rollout of {version} is not {phase}: {}", reached.rollout);
        }
        Ok(reached)
    }
}

fn spec(version: &str, steps: &str) -> String {
    format!(
        "  version: {version}\n  steps: {steps}\n  hold: 2s\n  \
         judge: {{ errors: {{}}, latency: {{ slowerThan: 100ms }}, minRequests: 20 }}\n"
    )
}

/// A number in the evidence, such as `/harm/peak`.
pub(crate) fn number(rollout: &Value, pointer: &str) -> Result<f64> {
    let found = rollout["evidence"].pointer(pointer).and_then(Value::as_f64);
    found.with_context(|| format!("no {pointer} in the evidence: {}", rollout["evidence"]))
}
