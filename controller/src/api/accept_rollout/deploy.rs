//! A CanaryDeploy from written to meant.

use super::{
    Deploy, Step,
    content::{Written, content},
    judging::judging,
    parts,
};
use crate::api::{
    accept::{Refusal, refuse},
    canary_deploy::CanaryDeploySpec,
    percent::{Percent, WHOLE},
    rollout::StepEntry,
    tree,
};
use std::time::Duration;

/// More steps than anybody takes.
const MAX_STEPS: usize = 100;
/// Most pods of main.
const MAX_REPLICAS: u32 = 10_000;
/// Unless given.
const REPLICAS: u32 = 1;
const HOLD: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(600);
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_secs(60);

/// Of states that were written before it could be given.
pub(super) fn settle() -> u64 {
    SETTLE.as_millis() as u64
}

/// What this document means.
pub fn deploy(name: String, written: &CanaryDeploySpec) -> Result<Deploy, Refusal> {
    let at = |field: &'static str| ["spec".into(), field.into()];
    let own = name.rsplit('/').next().filter(|_| written.template.is_some());
    let workload = written.workload.as_deref().or(own);
    let (version, content) = content(&Written {
        workload,
        version: written.version.as_deref(),
        images: Some(&written.images),
        patch: written.patch.as_ref(),
        template: written.template.as_ref(),
    })?;
    let replicas = replicas(written)?;
    let command = parts::command(written.workloads.as_ref())?;
    let (none, some) = (Duration::ZERO, Duration::from_millis(1));
    let hold = parts::millis(written.hold.as_deref(), HOLD, none, at("hold"))?;
    let steps = steps(&written.steps, hold)?;
    let splits = splits(&name, written, &steps)?;
    let acks = written.acks.as_ref();
    let ack_path = ["spec".into(), "acks".into(), "timeout".into()];
    Ok(Deploy {
        workload: workload.map(str::to_owned),
        version,
        images: written.images.clone(),
        content,
        replicas,
        command,
        steps,
        splits,
        judging: judging(written.judge.as_ref())?,
        inconclusive: written.inconclusive(),
        rollback: written.rollback.unwrap_or_default(),
        watch: parts::millis(written.watch.as_deref(), none, none, at("watch"))?,
        settle: parts::millis(
            written.autoscaler.as_ref().and_then(|a| a.settle.as_deref()),
            SETTLE,
            none,
            ["spec".into(), "autoscaler".into(), "settle".into()],
        )?,
        deadline: parts::millis(written.deadline.as_deref(), DEADLINE, some, at("deadline"))?,
        ack_timeout: parts::millis(acks.and_then(|a| a.timeout.as_deref()), ACK_TIMEOUT, some, ack_path)?,
        acks: acks.and_then(|a| a.then).unwrap_or_default(),
        webhooks: parts::webhooks(&written.webhooks)?,
        paused: written.paused.unwrap_or(false),
        name,
    })
}

/// Pods of main; `None`: they are not the rollout's business.
fn replicas(written: &CanaryDeploySpec) -> Result<Option<u32>, Refusal> {
    let at = || ["spec".into(), "replicas".into()];
    match (written.replicas, &written.template) {
        (None, None) => Ok(None),
        (Some(_), None) => refuse(at(), "replicas go with template; those of another Deployment are its own business"),
        (given, Some(_)) => match given.unwrap_or(REPLICAS) {
            1..=MAX_REPLICAS => Ok(Some(given.unwrap_or(REPLICAS))),
            other => refuse(at(), format!("{other} replicas are not between 1 and {MAX_REPLICAS}")),
        },
    }
}

fn steps(written: &[StepEntry], hold: u64) -> Result<Vec<Step>, Refusal> {
    let all = || vec!["spec".into(), "steps".into()];
    match written.len() {
        0 => {
            let message = "there are no steps; write for example steps: [1, 10, 25, 50]";
            return Err(Refusal { path: all(), message: message.into() });
        }
        1..=MAX_STEPS => {}
        many => {
            let message = format!("there are {many} steps; at most {MAX_STEPS} are accepted");
            return Err(Refusal { path: all(), message });
        }
    }
    let place = |i: usize, field: Option<&'static str>| {
        let mut path: Vec<tree::Step> = all();
        path.push(i.into());
        path.extend(field.map(tree::Step::from));
        path
    };
    let weights: Vec<_> = written
        .iter()
        .enumerate()
        .map(|(i, entry)| match entry {
            StepEntry::Weight(weight) => (weight, place(i, None)),
            StepEntry::Full(full) => (&full.weight, place(i, Some("weight"))),
        })
        .collect();
    let weights = ascending(&weights, &all())?;
    let step = |(i, (entry, weight)): (usize, (&StepEntry, u32))| match entry {
        StepEntry::Weight(_) => Ok(Step { weight, hold, judge: Default::default() }),
        StepEntry::Full(full) => {
            let path = ["spec".into(), "steps".into(), i.into(), "hold".into()];
            let hold = parts::millis(full.hold.as_deref(), Duration::from_millis(hold), Duration::ZERO, path)?;
            Ok(Step { weight, hold, judge: full.judge.unwrap_or_default() })
        }
    };
    written.iter().zip(weights).enumerate().map(step).collect()
}

/// Weights of the canary, each above the one before, the last one 50 %. Each comes with its place.
fn ascending(written: &[(&Percent, Vec<tree::Step>)], all: &[tree::Step]) -> Result<Vec<u32>, Refusal> {
    let mut weights = Vec::new();
    let mut before: Option<(&Percent, u32)> = None;
    for (weight, path) in written {
        let refused = |why: String| Refusal { path: path.clone(), message: why };
        let parsed = weight.thousandths().map_err(|why| refused(format!("weight {weight} {why}")))?;
        if parsed == 0 || parsed > WHOLE / 2 {
            return Err(refused(format!(
                "weight {weight} must be above 0 and at most 50: the baseline beside it gets as much"
            )));
        }
        if let Some((other, earlier)) = before
            && parsed <= earlier
        {
            return Err(refused(format!(
                "weight {weight} is not above {other} of the step before; list them in ascending order"
            )));
        }
        before = Some((weight, parsed));
        weights.push(parsed);
    }
    match before {
        Some((last, parsed)) if parsed != WHOLE / 2 => {
            let path = written.last().map_or_else(|| all.to_vec(), |(_, path)| path.clone());
            let message = format!(
                "the last step is {last}, not 50: main has to be free of traffic before it is updated; add 50 at the end"
            );
            Err(Refusal { path, message })
        }
        _ => Ok(weights),
    }
}

fn splits(own: &str, written: &CanaryDeploySpec, steps: &[Step]) -> Result<Vec<(String, Vec<u32>)>, Refusal> {
    let mut splits = Vec::new();
    for (i, (name, weights)) in parts::splits(own, &written.splits)?.into_iter().enumerate() {
        let path: [tree::Step; 4] = ["spec".into(), "splits".into(), i.into(), "steps".into()];
        if weights.is_empty() {
            splits.push((name, steps.iter().map(|s| s.weight).collect()));
        } else if weights.len() != steps.len() {
            let message = format!(
                "split {name} lists {} weights for {} steps; list one per step, or leave steps out",
                weights.len(),
                steps.len()
            );
            return refuse(path, message);
        } else {
            let place = |j: usize| [&path[..], &[j.into()]].concat();
            let placed: Vec<_> = weights.iter().enumerate().map(|(j, weight)| (weight, place(j))).collect();
            splits.push((name, ascending(&placed, &path)?));
        }
    }
    Ok(splits)
}
