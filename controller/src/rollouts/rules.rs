//! From a CanaryDeploy that makes sense to the machine's plan and the judge's rules. Pure.

use crate::api::{
    accept_rollout::{Deploy, Judging},
    canary_deploy::{RollbackKind, ThenKind},
    judge::{InconclusiveKind, PassWhenKind},
    rollout::JudgeKind,
};
use sluicegate_core::{
    judge::{
        rules::{Classes, Criterion, Limit, PassWhen, Rules, RulesSpec, Weighted},
        window::{Quantile, threshold},
    },
    latency::{EDGES, Histogram, bucket},
    rollout::plan::{AckPolicy, Inconclusive, Judge, Plan, PlanError, Policy, RollbackOrder, SplitSteps, Step},
};

/// The plan of the machine.
pub fn plan(deploy: &Deploy) -> Result<Plan, PlanError> {
    let steps = deploy.steps.iter().map(|step| Step {
        hold: step.hold,
        judge: match step.judge {
            JudgeKind::Auto => Judge::Auto,
            JudgeKind::Manual => Judge::Manual,
            JudgeKind::Both => Judge::Both,
        },
    });
    let splits =
        deploy.splits.iter().map(|(split, canary)| SplitSteps { split: split.clone(), canary: canary.clone() });
    let policy = Policy {
        rollback: match deploy.rollback {
            RollbackKind::Fast => RollbackOrder::Fast,
            RollbackKind::Safe => RollbackOrder::Safe,
        },
        inconclusive: match deploy.inconclusive {
            InconclusiveKind::Hold => Inconclusive::Hold,
            InconclusiveKind::Rollback => Inconclusive::Rollback,
        },
        acks: match deploy.acks {
            ThenKind::Hold => AckPolicy::Hold,
            ThenKind::Proceed => AckPolicy::Proceed,
            ThenKind::Rollback => AckPolicy::Rollback,
        },
        ack_timeout: deploy.ack_timeout,
        deadline: deploy.deadline,
        watch: deploy.watch,
        settle: deploy.settle,
        owned: deploy.replicas,
    };
    Plan::new(steps.collect(), splits.collect(), policy)
}

/// The rules of the judge. `before`: main's latencies so far, for a threshold nobody gave. `None`: nothing is to be judged
/// by counts, or that threshold cannot be known yet.
pub fn rules(judging: &Judging, before: &Histogram) -> Option<Rules> {
    let errors = Criterion::Errors(Classes::default());
    let (mut criteria, mut limits) = (Vec::new(), Vec::new());
    if let Some(wanted) = judging.errors {
        criteria.push(Weighted { criterion: errors, weight: 1.0 });
        limits.extend(wanted.max.map(|max| Limit { criterion: errors, max: f64::from(max) / 100_000.0 }));
    }
    if let Some(wanted) = judging.latency {
        let slower = match wanted.slower_than {
            Some(ms) => edge(ms),
            None => threshold(before, Quantile::P99)?,
        };
        criteria.push(Weighted { criterion: Criterion::SlowerThan(slower), weight: 1.0 });
        let p99 = wanted.p99.map(edge);
        limits.extend(p99.map(|micros| Limit { criterion: Criterion::SlowerThan(micros), max: 0.01 }));
    }
    let spec = RulesSpec {
        criteria,
        limits,
        alpha: judging.alpha,
        min_requests: judging.min_requests,
        pass_when: match judging.pass_when {
            PassWhenKind::NoHarmSeen => PassWhen::NoHarmSeen,
            PassWhenKind::ProvenHarmless => PassWhen::ProvenHarmless,
        },
        ..RulesSpec::default()
    };
    Rules::try_from(spec).ok()
}

/// The bucket edge at or above so many milliseconds, in microseconds; nothing can be told above the last.
fn edge(ms: u64) -> u64 {
    let edge = EDGES.get(bucket(ms.saturating_mul(1_000)));
    edge.or(EDGES.last()).copied().unwrap_or(u64::MAX)
}
