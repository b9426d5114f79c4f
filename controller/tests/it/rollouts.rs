//! CanaryDeploy, CanaryTest and Judgment as people write them: what they mean, and what they are told when they mean
//! nothing.

mod refusals;

use sluicegate::api::{
    accept_rollout::{CommandLine, Deploy, Errors, Judgment, Latency, Said, Step, Test},
    canary_deploy::{RollbackKind, ThenKind},
    document::{self, Meaning, Problem},
    judge::{InconclusiveKind, PassWhenKind},
    judgment::{DecisionKind, VerdictKind},
    percent::{Percent, duration},
    rollout::{JudgeKind, WebhookPhase},
};
use std::time::Duration;

fn text(kind: &str, spec: &str) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!("apiVersion: sluicegate.dev/v1alpha1\nkind: {kind}\nmetadata:\n  name: hello\nspec:\n{spec}")
}

fn read(kind: &str, spec: &str) -> Result<Meaning, Problem> {
    let mut documents = document::read(&text(kind, spec));
    assert_eq!(documents.len(), 1);
    let document = documents.remove(0);
    // Where the text is no YAML at all, nothing is known.
    if document.kind.is_some() {
        assert_eq!((document.name.as_deref(), document.kind.as_deref()), (Some("default/hello"), Some(kind)));
    }
    document.meaning
}

fn deploy(spec: &str) -> Deploy {
    match read("CanaryDeploy", spec).unwrap() {
        Meaning::Deploy(deploy) => *deploy,
        other => panic!("{other:?}"),
    }
}

fn test(spec: &str) -> Test {
    match read("CanaryTest", spec).unwrap() {
        Meaning::Test(test) => *test,
        other => panic!("{other:?}"),
    }
}

fn judgment(spec: &str) -> Judgment {
    match read("Judgment", spec).unwrap() {
        Meaning::Judgment(judgment) => *judgment,
        other => panic!("{other:?}"),
    }
}

/// The place and the message, as a user sees them.
fn refused(kind: &str, spec: &str) -> String {
    let problem = read(kind, spec).unwrap_err();
    format!("{}:{}: {}", problem.place.line, problem.place.column, problem.message)
}

/// What every CanaryDeploy needs.
const LEAST: &str = "version: v2\nsplits: [hello]\nsteps: [1, 10, 50]\n";

#[test]
fn what_is_left_out_of_a_canary_deploy_has_sensible_values() {
    let deploy = deploy(LEAST);
    assert_eq!((deploy.name.as_str(), deploy.version.as_str(), deploy.command), ("default/hello", "v2", None));
    let step = |weight| Step { weight, hold: 60_000, judge: JudgeKind::Auto };
    assert_eq!(deploy.steps, [step(1_000), step(10_000), step(50_000)]);
    assert_eq!(deploy.splits, [("default/hello".to_owned(), vec![1_000, 10_000, 50_000])]);
    let judging = &deploy.judging;
    assert_eq!((judging.errors, judging.latency), (Some(Errors::default()), None), "errors are judged");
    assert_eq!((judging.min_requests, judging.alpha, judging.pass_when), (100, 0.01, PassWhenKind::NoHarmSeen));
    assert_eq!((deploy.rollback, deploy.inconclusive), (RollbackKind::Fast, InconclusiveKind::Hold));
    assert_eq!((deploy.watch, deploy.deadline, deploy.ack_timeout, deploy.acks), (0, 600_000, 30_000, ThenKind::Hold));
    assert!(!deploy.paused && deploy.webhooks.is_empty());
}

#[test]
fn every_field_of_a_canary_deploy_arrives() {
    let deploy = deploy(
        "workload: hello-app\nimages: { side: r/side:1, hello-app: r/hello:v2 }\n\
         workloads: { command: [./w.sh, --fast], timeout: 5s }\n\
         splits: [a, { name: other/b, steps: [0.1, 50] }, { name: c }]\n\
         steps: [2.5, { weight: 50, hold: 1h30m, judge: both }]\nhold: 0s\n\
         judge:\n  errors: { max: 1% }\n  latency: { slowerThan: 250ms, p99: 2s }\n  minRequests: 7\n  \
         inconclusive: rollback\n  passWhen: provenHarmless\n  alpha: 0.05\n  prometheus: { url: http://p:9090/ }\n  \
         groups: { g: 40 }\n  marks: { pass: 90, marginal: 60 }\n  \
         metrics: [{ name: m, query: 'x{s=\"{{subset}}\"}', group: g, critical: true, direction: either }]\n\
         rollback: safe\nwatch: 1d\ndeadline: 90s\nacks: { timeout: 500ms, then: proceed }\n\
         webhooks: [{ url: 'https://h/x', phase: onRollback, timeout: 1s, retries: 0, secretFile: s }]\npaused: true\n",
    );
    assert_eq!(deploy.version, "hello-app=r/hello:v2,side=r/side:1");
    assert_eq!((deploy.workload.as_deref(), deploy.images.len()), (Some("hello-app"), 2));
    let command = CommandLine { command: vec!["./w.sh".into(), "--fast".into()], timeout: Duration::from_secs(5) };
    assert_eq!(deploy.command, Some(command));
    assert_eq!(deploy.steps[0], Step { weight: 2_500, hold: 0, judge: JudgeKind::Auto });
    assert_eq!(deploy.steps[1], Step { weight: 50_000, hold: 5_400_000, judge: JudgeKind::Both });
    let splits: Vec<_> = deploy.splits.iter().map(|(name, weights)| (name.as_str(), weights[0])).collect();
    assert_eq!(splits, [("default/a", 2_500), ("other/b", 100), ("default/c", 2_500)]);
    let judging = &deploy.judging;
    assert_eq!(judging.errors, Some(Errors { max: Some(1_000) }));
    assert_eq!(judging.latency, Some(Latency { slower_than: Some(250), p99: Some(2_000) }));
    assert_eq!((judging.min_requests, judging.alpha, judging.marks), (7, 0.05, (90.0, 60.0)));
    assert_eq!(judging.prometheus.as_ref().unwrap().url, "http://p:9090");
    assert_eq!((judging.groups["g"], judging.metrics[0].critical), (40.0, Some(true)));
    assert_eq!((judging.pass_when, deploy.inconclusive), (PassWhenKind::ProvenHarmless, InconclusiveKind::Rollback));
    assert_eq!((deploy.rollback, deploy.watch, deploy.deadline), (RollbackKind::Safe, 86_400_000, 90_000));
    assert_eq!((deploy.acks, deploy.ack_timeout, deploy.paused), (ThenKind::Proceed, 500, true));
    let [hook] = &deploy.webhooks[..] else { panic!() };
    assert_eq!((hook.phase, hook.retries, hook.timeout), (WebhookPhase::OnRollback, 0, Duration::from_secs(1)));
    let hook = hook.clone().seen_from("/etc/app".as_ref());
    assert_eq!(hook.secret_file.unwrap().to_str(), Some("/etc/app/s"));
}

#[test]
fn criteria_that_are_given_stand_alone() {
    let judging = deploy(&format!("{LEAST}judge: {{ latency: {{}} }}\n")).judging;
    assert_eq!((judging.errors, judging.latency), (None, Some(Latency::default())));
    let judging = deploy(&format!("{LEAST}judge: {{ minRequests: 5 }}\n")).judging;
    assert_eq!((judging.errors, judging.min_requests), (Some(Errors::default()), 5), "no criterion is given");
}

#[test]
fn percents_are_read_exactly() {
    let read = |text: &str| serde_saphyr::from_str::<Percent>(text).unwrap().thousandths();
    for (text, wanted) in [
        ("0", 0),
        ("0.001", 1),
        ("0.29", 290), // 0.29 · 1000 is 289.99999999999994 in binary
        ("1.001", 1_001),
        ("4.35", 4_350),
        ("16.117", 16_117),
        ("50.000", 50_000),
        ("1e1", 10_000),
        ("'12.5'", 12_500),
        ("12.5%", 12_500),
        ("'7 %'", 7_000),
        ("100", 100_000),
    ] {
        assert_eq!(read(text), Ok(wanted), "{text}");
    }
    for thousandths in (0..=100_000).step_by(7) {
        let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
        assert_eq!(read(&text), Ok(thousandths), "{text}");
    }
    for (text, told) in [
        ("0.0001", "finer"),
        ("0.00100001", "finer"),
        ("1e-9", "finer"),
        ("-1", "below 0"),
        ("-0.5", "below 0"),
        ("100.001", "above 100"),
        ("1e300", "above 100"),
        ("99999999999999999999", "above 100"),
        ("ten", "not a number"),
        ("'1,5'", "not a number"),
        ("''", "not a number"),
        ("'%'", "not a number"),
        ("'-'", "not a number"),
        ("'1.'", "not a number"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.contains(told), "{text}: {why}");
    }
}

#[test]
fn percents_are_written_as_they_were_read() {
    for text in ["10", "0.5", "0.001", "\"1%\""] {
        let percent: Percent = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&percent).unwrap(), text);
    }
}

#[test]
fn durations_are_those_of_people() {
    for (text, ms) in [("0s", 0), ("250ms", 250), ("1h30m", 5_400_000), ("7d", 604_800_000), (" 5m ", 300_000)] {
        assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
    }
    for text in ["", "5", "soon", "-5s", "5 bananas", "400d", "99999999999h", "d"] {
        assert_eq!(duration(text), None, "{text}");
    }
}

#[test]
fn a_canary_test_arrives() {
    let least = test("version: v2\nsplits: [hello]\nweight: 0.5\n");
    assert_eq!((least.weight, least.replicas, least.duration), (500, 1, None));
    let full = test(
        "workload: hello\nimages: { hello: r/hello:v2 }\nsplits: [a, { name: b }]\nweight: 50\nreplicas: 3\nduration: 1d\n",
    );
    assert_eq!((full.weight, full.replicas, full.duration), (50_000, 3, Some(86_400_000)));
    assert_eq!(
        (full.splits, full.version.as_str()),
        (vec!["default/a".into(), "default/b".into()], "hello=r/hello:v2")
    );
    assert_eq!(test("version: v2\nsplits: [hello]\nweight: 0\nreplicas: 0\n").replicas, 0, "off");
}

#[test]
fn a_persons_judgment_and_one_by_the_evidence_arrive() {
    let spec = "rollout: hello\nstep: 2\ndecision: continue\nby: ' alice '\nreason: looks fine\noverride: true\n";
    let person = judgment(spec);
    assert_eq!((person.rollout.as_str(), person.step), ("default/hello", Some(1)), "steps count from 0 inside");
    let said = Said::Person { decision: DecisionKind::Continue, by: "alice".into(), over_fail: true };
    assert_eq!((person.said, person.reason.as_deref()), (said, Some("looks fine")));
    let evidence = judgment("rollout: a/b\nversion: v2\nverdict: fail\nevidence: { e: 123.5, windows: [1, 2] }\n");
    assert_eq!((evidence.rollout.as_str(), evidence.version.as_deref(), evidence.step), ("a/b", Some("v2"), None));
    let Said::Evidence { verdict: VerdictKind::Fail, decision: None, evidence } = evidence.said else { panic!() };
    assert_eq!(serde_json::Value::from(evidence), serde_json::json!({ "e": 123.5, "windows": [1, 2] }));
}

#[test]
fn one_mistake_does_not_take_the_others_down() {
    let wrong = text("CanaryTest", "version: v2\nsplits: [hello]\nweight: 51\n");
    let file = format!("{}---\n{wrong}---\n{}", text("CanaryDeploy", LEAST), text("Judgment", "rollout: x\n"));
    let documents = document::read(&file);
    let found: Vec<_> = documents.iter().map(|d| (d.place.line, d.problem().map(|p| p.place.line))).collect();
    assert_eq!(found, [(1, None), (10, Some(17)), (19, Some(24))]);
    assert!(documents.iter().all(|d| !d.is_split() && d.is_of_other_kind() && d.split().is_none()));
}
