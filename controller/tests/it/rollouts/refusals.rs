//! Mistakes, told with their place and a way out. The spec begins in line 6.

use super::{LEAST, refused};

#[test]
fn steps_that_make_no_sense_are_refused_at_their_place() {
    for (steps, told) in [
        ("[]", "8:10: there are no steps; write for example steps: [1, 10, 25, 50]"),
        ("[10, 5]", "8:15: weight 5 is not above 10 of the step before"),
        ("[10, 10, 50]", "8:15: weight 10 is not above 10"),
        ("[60]", "8:11: weight 60 must be above 0 and at most 50"),
        ("[0, 50]", "8:11: weight 0 must be above 0"),
        ("[-1, 50]", "8:11: weight -1 is below 0"),
        ("[0.0005, 50]", "8:11: weight 0.0005 is finer than a thousandth of a percent"),
        ("[1, 10]", "8:14: the last step is 10, not 50: main has to be free of traffic"),
        ("[1, { weight: 40 }]", "8:24: the last step is 40, not 50"),
        ("[{ weight: 1, hold: soon }, 50]", r#"8:30: "soon" is not a duration; write for example 500ms"#),
        ("[{ weight: 1, judge: jury }, 50]", r#"8:31: "jury" is not one of auto, manual, both"#),
        ("[{ weight: 1, jugde: auto }, 50]", r#"8:24: unknown field "jugde", did you mean "judge"?"#),
        ("[{ hold: 1m }, 50]", "missing field"),
        ("[ten, 50]", "8:11: weight ten is not a number of percent"),
        ("[[1], 50]", "a weight in percent such as 10, or { weight, hold, judge }"),
    ] {
        let why = refused("CanaryDeploy", &format!("version: v2\nsplits: [hello]\nsteps: {steps}\n"));
        let right = if told.starts_with("8:") { why.starts_with(told) } else { why.contains(told) };
        assert!(right, "{steps}\n  says {why}\nshould say {told}");
    }
    let many = (1..=101).map(|i| format!("0.{i:03}")).collect::<Vec<_>>().join(", ");
    let why = refused("CanaryDeploy", &format!("version: v2\nsplits: [hello]\nsteps: [{many}]\n"));
    assert!(why.contains("there are 101 steps; at most 100"), "{why}");
}

#[test]
fn splits_that_make_no_sense_are_refused_at_their_place() {
    for (splits, told) in [
        ("[]", "7:11: there are no splits; name the TrafficSplits to drive"),
        ("[a, a]", "7:15: split default/a is listed twice"),
        ("[a, default/a]", "7:15: split default/a is listed twice"),
        ("[Under_Score]", "7:12: name \"Under_Score\" must be 1 to 63 of a-z"),
        ("[{ name: a, steps: [1, 50] }]", "7:30: split default/a lists 2 weights for 3 steps"),
        ("[{ name: a, steps: [1, 2, 3] }]", "7:37: the last step is 3, not 50"),
        ("[{ name: a, steps: [2, 1, 50] }]", "7:34: weight 1 is not above 2"),
        ("[{ nmae: a }]", r#"7:14: unknown field "nmae", did you mean "name"?"#),
    ] {
        let why = refused("CanaryDeploy", &format!("version: v2\nsplits: {splits}\nsteps: [1, 10, 50]\n"));
        assert!(why.starts_with(told), "{splits}\n  says {why}\nshould say {told}");
    }
}

#[test]
fn exactly_one_of_version_and_images_is_needed() {
    for (spec, told) in [
        ("", "there is no version; write version: v2, or images"),
        ("version: ''\n", "6:12: version \"\" must be 1 to 256 characters"),
        ("version: ' v2'\n", "without white space at its ends"),
        ("workload: h\nversion: v2\nimages: { h: r/h:v2 }\n", "7:12: version and images are two ways"),
        ("images: { h: r/h:v2 }\n", "6:11: images are those of a Deployment; name it with workload"),
        ("workload: h\nimages: { h: '' }\n", "7:11: \"h\": \"\" is not a container and its image"),
        ("workload: H\nimages: { h: r/h:v2 }\n", "6:13: workload \"H\" is not the name of a Deployment"),
    ] {
        let why = refused("CanaryDeploy", &format!("{spec}splits: [hello]\nsteps: [1, 50]\n"));
        let right = if told.starts_with(['6', '7']) { why.starts_with(told) } else { why.contains(told) };
        assert!(right, "{spec}\n  says {why}\nshould say {told}");
    }
}

#[test]
fn a_mistake_elsewhere_is_told_with_its_place_and_a_way_out() {
    for (more, told) in [
        ("hold: 5 minutes or so\n", "9:9: \"5 minutes or so\" is not a duration"),
        ("hold: -5m\n", "9:9: \"-5m\" is not a duration"),
        ("deadline: 0s\n", "9:13: \"0s\" must be between 1ms and"),
        ("rollback: quick\n", r#"9:13: "quick" is not one of fast, safe"#),
        ("acks: { then: wait }\n", r#"9:17: "wait" is not one of hold, proceed, rollback"#),
        ("acks: { timeout: 0s }\n", "9:20: \"0s\" must be between"),
        ("judge: { errors: { max: 1/2 } }\n", "9:27: max 1/2 is not a number of percent"),
        ("judge: { latency: { slowerThan: slow } }\n", "9:35: \"slow\" is not a duration"),
        ("judge: { minRequests: 0 }\n", "9:25: minRequests must be at least 1"),
        ("judge: { alpha: 1 }\n", "9:19: alpha 1 must be between 0 and 1"),
        ("judge: { alpha: .nan }\n", "9:19: value `.nan` is not a finite number"),
        ("judge: { marks: { pass: 50, marginal: 60 } }\n", "9:19: marks must be 0 ≤ marginal ≤ pass ≤ 100"),
        ("judge: { passWhen: lucky }\n", r#"9:22: "lucky" is not one of noHarmSeen, provenHarmless"#),
        ("judge: { inconclusive: guess }\n", r#"9:26: "guess" is not one of hold, rollback"#),
        ("judge: { metrics: [{ name: a, query: q }] }\n", "9:21: metrics come from Prometheus; add prometheus"),
        ("judge: { prometheus: { url: 'p:9090' } }\n", "9:31: the url must be http://HOST/"),
        ("webhooks: [{ url: 'ftp://x', phase: notify }]\n", "9:21: the url must be http://HOST/"),
        ("webhooks: [{ url: 'http://', phase: notify }]\n", "9:21: the url must be"),
        ("webhooks: [{ url: 'http://x', phase: before }]\n", r#"9:40: "before" is not one of beforeStart"#),
        ("webhooks: [{ url: 'http://x', phase: notify, retries: 21 }]\n", "9:57: 21 retries are too many"),
        ("webhooks: [{ url: 'http://x', phase: notify, timeout: 1h }]\n", "9:57: \"1h\" must be between 1ms and 600s"),
        ("workloads: { command: [] }\n", "9:25: command is empty; write for example command: [./workloads.sh]"),
        (
            "workloads: { command: ['./w.sh -x'] }\n",
            "9:26: no shell takes \"./w.sh -x\" apart; write command: [./w.sh, -x]",
        ),
        ("workloads: { command: [./w.sh], timeout: 0s }\n", "9:44: \"0s\" must be between"),
        ("step: [1]\n", r#"9:3: unknown field "step", did you mean "steps"?"#),
    ] {
        let why = refused("CanaryDeploy", &format!("{LEAST}{more}"));
        assert!(why.starts_with(told), "{more}  says {why}\nshould say {told}");
    }
}

#[test]
fn metrics_that_make_no_sense_are_refused() {
    const QUERY: &str = "query: 'x{{subset}}'";
    for (metrics, more, told) in [
        (format!("{{ name: '', {QUERY} }}"), "", "a metric needs a name"),
        (format!("{{ name: a, {QUERY} }}, {{ name: a, {QUERY} }}"), "", "metric \"a\" is listed twice"),
        ("{ name: a, query: ' ' }".into(), "", "the query is empty"),
        ("{ name: a, query: up }".into(), "", "put {{subset}} where its name belongs"),
        (format!("{{ name: a, {QUERY}, confidence: 98 }}"), "", "confidence must be between 0 and 1"),
        (format!("{{ name: a, {QUERY}, minPoints: 1 }}"), "", "minPoints must be at least 2"),
        (format!("{{ name: a, {QUERY}, tolerance: -1 }}"), "", "tolerance -1 must be a number, 0 or above"),
        (format!("{{ name: a, {QUERY}, group: slow }}"), ", groups: { slwo: 9 }", "(did you mean \"slow\"?)"),
        (format!("{{ name: a, {QUERY}, group: g }}"), ", groups: { g: 101 }", "write a percent of 0 to 100"),
        (
            format!("{{ name: a, {QUERY}, group: g }}, {{ name: b, {QUERY}, group: h }}"),
            ", groups: { g: 60, h: 60 }",
            "groups count 120 together",
        ),
    ] {
        let judge = format!("judge: {{ prometheus: {{ url: 'http://p' }}, metrics: [{metrics}]{more} }}\n");
        let why = refused("CanaryDeploy", &format!("{LEAST}{judge}"));
        assert!(why.starts_with("9:") && why.contains(told), "{metrics}\n  says {why}\nshould say {told}");
    }
}

#[test]
fn a_canary_test_that_makes_no_sense_is_refused() {
    for (more, told) in [
        ("weight: 51\n", "8:11: weight 51 is above 50: a test never takes most of the traffic"),
        ("weight: 50.001\n", "8:11: weight 50.001 is above 50"),
        ("weight: some\n", "8:11: weight some is not a number of percent"),
        ("weight: 5\nreplicas: 0\n", "9:13: no pod would answer the canary's requests"),
        ("weight: 5\nreplicas: 10001\n", "9:13: 10001 replicas are too many"),
        ("weight: 5\nduration: 0s\n", "9:13: \"0s\" must be between"),
        ("weight: 5\nsteps: [1]\n", r#"9:3: unknown field "steps"; fields here are workload"#),
    ] {
        let why = refused("CanaryTest", &format!("version: v2\nsplits: [hello]\n{more}"));
        assert!(why.starts_with(told), "{more}  says {why}\nshould say {told}");
    }
    let why = refused("CanaryTest", "version: v2\nsplits: [{ name: a, steps: [1] }]\nweight: 1\n");
    assert!(why.starts_with("7:30: a CanaryTest has no steps; its weight"), "{why}");
}

#[test]
fn a_judgment_that_makes_no_sense_is_refused() {
    for (spec, told) in [
        ("rollout: A_B\n", "6:12: rollout \"A_B\" must be NAME or NAMESPACE/NAME"),
        ("rollout: a\n", "6:3: the decision is missing; write decision: continue"),
        ("rollout: a\ndecision: continue\n", "6:3: say who decided; write for example by: alice"),
        ("rollout: a\ndecision: continue\nby: ' '\n", "8:7: say who decided"),
        ("rollout: a\ndecision: go\nby: a\n", r#"7:13: "go" is not one of continue, rollback"#),
        ("rollout: a\ndecision: continue\nby: a\nstep: 0\n", "9:9: steps count from 1"),
        ("rollout: a\ndecision: rollback\nby: a\noverride: true\n", "9:13: override goes with continue"),
        ("rollout: a\nverdict: pass\noverride: true\n", "8:13: override is for persons"),
        ("rollout: a\ndecision: continue\nby: a\nevidence: {}\n", "9:13: evidence goes with a verdict"),
    ] {
        let why = refused("Judgment", spec);
        assert!(why.starts_with(told), "{spec}  says {why}\nshould say {told}");
    }
}
