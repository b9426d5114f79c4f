//! Rollouts by example: the table of pods and weights, what a person may say, what ends a rollout.

use sluicegate_core::judge::Verdict;
use sluicegate_core::rollout::{
    Observation, Role, SplitSeen, WHOLE, Weights, Workload,
    command::{Command, Refused},
    deploy::{Before, Phase, State, Why, step},
    desired::Target,
    plan::{AckPolicy, Inconclusive, Judge, Plan, PlanError, Policy, RollbackOrder, SplitSteps, Step, percent},
    probe::{PATIENCE, Reach},
    trial,
};

const POLICY: Policy = Policy {
    rollback: RollbackOrder::Fast,
    inconclusive: Inconclusive::Hold,
    acks: AckPolicy::Hold,
    ack_timeout: 30_000,
    deadline: 600_000,
    watch: 60_000,
    settle: 60_000,
    owned: None,
};

fn build(steps: &[f64], judge: Judge, policy: Policy) -> Result<Plan, PlanError> {
    let canary = steps.iter().map(|percent| (percent * 1000.0).round() as u32).collect();
    let step = Step { hold: 10_000, judge };
    Plan::new(vec![step; steps.len()], vec![SplitSteps { split: "n/a".into(), canary }], policy)
}

/// A world in which everything asked for is so at once.
struct Kind {
    plan: Plan,
    state: State,
    seen: Observation,
    wanted: Option<&'static str>,
    now: u64,
}

impl Kind {
    fn new(plan: Plan, replicas: u32) -> Self {
        let main =
            Workload { version: "v1".into(), replicas, ready: replicas, settled: true, trouble: None, floor: None };
        let none = Workload { settled: true, ..Workload::default() };
        let seen = Observation {
            main: Some(main),
            baseline: Some(none.clone()),
            canary: Some(none),
            splits: vec![SplitSeen { weights: Some(Weights::MAIN), acked: true }; plan.splits().len()],
            verdict: Verdict::Inconclusive,
            reach: None,
        };
        Self { plan, state: State::new("v1".into(), 0), seen, wanted: Some("v2"), now: 0 }
    }

    fn obey(&mut self) {
        let desired = self.state.desired(&self.plan);
        let groups = [
            (&mut self.seen.main, desired.main),
            (&mut self.seen.baseline, desired.baseline),
            (&mut self.seen.canary, desired.canary),
        ];
        for (pods, target) in groups {
            let Some(Target { version, replicas }) = target else { continue };
            *pods = Some(Workload { version, replicas, ready: replicas, settled: true, trouble: None, floor: None });
        }
        for (split, weights) in self.seen.splits.iter_mut().zip(desired.weights) {
            split.weights = Some(weights);
        }
    }

    /// One step of the machine; returns whether anything changed.
    fn step(&mut self) -> bool {
        let next = step(&self.plan, self.wanted, &self.state, &self.seen, self.now);
        let changed = next != self.state;
        self.state = next;
        changed
    }

    /// Until nothing happens any more without time passing.
    fn settle(&mut self) -> Phase {
        for _ in 0..100 {
            self.obey();
            if !self.step() {
                return self.state.phase;
            }
        }
        panic!("it never settles: {:?}", self.state)
    }

    /// What a person says, with the time and everything else as it is.
    fn say(&mut self, command: Command) -> Result<Phase, Refused> {
        self.state = self.state.command(&self.plan, command, None, &self.seen, self.now)?;
        Ok(self.state.phase)
    }

    fn pods(&self) -> [u32; 3] {
        let replicas = |w: &Option<Workload>| w.as_ref().map_or(0, |w| w.replicas);
        [&self.seen.main, &self.seen.baseline, &self.seen.canary].map(replicas)
    }
}

fn kind(steps: &[f64], judge: Judge) -> Kind {
    Kind::new(build(steps, judge, POLICY).unwrap(), 10)
}

#[test]
fn pods_and_weights_follow_the_table_step_by_step() {
    let mut world = kind(&[1.0, 10.0, 25.0, 50.0], Judge::Auto);
    // main, baseline, canary; main is sized for what the step before left to it.
    let table = [(1_000, [10, 1, 1]), (10_000, [10, 2, 2]), (25_000, [9, 3, 3]), (50_000, [6, 6, 6])];
    for (index, (canary, pods)) in table.into_iter().enumerate() {
        assert_eq!(world.settle(), Phase::Hold { step: index });
        assert_eq!(world.pods(), pods, "step {index}");
        assert_eq!(world.seen.splits[0].weights, Some(Weights::of_step(canary)));
        world.seen.verdict = Verdict::Pass;
        assert_eq!(world.settle(), Phase::Hold { step: index }, "not before the hold is over");
        world.now += 10_000;
        assert!(world.step());
        world.seen.verdict = Verdict::Inconclusive;
    }
    assert_eq!(world.state.phase, Phase::Update);
    assert_eq!(world.settle(), Phase::Watch);
    assert_eq!((world.pods(), world.state.stable.as_str()), ([10, 0, 0], "v1"));
    world.now += 60_000;
    assert_eq!(world.settle(), Phase::Promoted);
    assert_eq!(world.state.stable, "v2");
    assert_eq!(world.seen.main.as_ref().unwrap().version, "v2");
}

#[test]
fn plans_that_would_not_do_are_refused_with_the_step_named() {
    let refused = |steps: &[f64]| build(steps, Judge::Auto, POLICY).unwrap_err();
    assert_eq!(refused(&[]), PlanError::NoSteps);
    assert_eq!(refused(&[10.0, 5.0]), PlanError::NotAscending { step: 1, weight: 5_000, before: 10_000 });
    assert_eq!(refused(&[60.0]), PlanError::Range { step: 0, weight: 60_000 });
    assert_eq!(refused(&[0.0, 50.0]), PlanError::Range { step: 0, weight: 0 });
    assert_eq!(refused(&[1.0, 25.0]), PlanError::Last(25_000));
    assert!(refused(&[10.0, 5.0]).to_string().contains("weight 5 of step 2 is not above 10"));
    assert!(build(&[0.1, 0.25, 50.0], Judge::Auto, POLICY).is_ok());
    let twice = SplitSteps { split: "n/a".into(), canary: vec![50_000] };
    let step = Step { hold: 0, judge: Judge::Auto };
    assert_eq!(Plan::new(vec![step], vec![twice.clone(), twice.clone()], POLICY), Err(PlanError::Twice("n/a".into())));
    assert_eq!(Plan::new(vec![step], vec![], POLICY), Err(PlanError::NoSplits));
    let length = PlanError::Length { split: "n/a".into(), has: 1, wants: 2 };
    assert_eq!(Plan::new(vec![step; 2], vec![twice], POLICY), Err(length));
    assert_eq!([1, 250, 12_340, 50_000].map(percent), ["0.001", "0.25", "12.34", "50"]);
}

#[test]
fn a_bad_verdict_takes_the_canary_off_at_once_in_proportion_to_the_old_pods() {
    let mut world = kind(&[10.0, 25.0, 50.0], Judge::Auto);
    world.settle();
    (world.seen.verdict, world.now) = (Verdict::Pass, 10_000);
    world.settle();
    assert_eq!((world.state.phase, world.pods()), (Phase::Hold { step: 1 }, [9, 3, 3]));
    world.seen.verdict = Verdict::Fail;
    assert!(world.step());
    assert_eq!(world.state.phase, Phase::Shed);
    let desired = world.state.desired(&world.plan);
    assert_eq!(desired.weights, [Weights { canary: 0, main: 75_000, baseline: 25_000 }]);
    assert_eq!(desired.canary.unwrap().replicas, 3, "pods go only after the ack");
    assert_eq!(world.settle(), Phase::RolledBack);
    assert_eq!(world.pods(), [10, 0, 0]);
    let rollout = world.state.rollout.clone().unwrap();
    assert_eq!(rollout.back.unwrap().why, Why::Verdict);
    // The same version does not start again by itself; another one does.
    assert_eq!(world.settle(), Phase::RolledBack);
    (world.wanted, world.seen.verdict) = (Some("v3"), Verdict::Inconclusive);
    assert_eq!(world.settle(), Phase::Hold { step: 0 });
}

#[test]
fn traffic_leaves_a_group_whose_pods_are_gone_and_only_a_lost_canary_is_blamed() {
    let v1 = |role| [Some("v1"), Some("v1"), None][role];
    let shed = [(0, 0, WHOLE), (1, WHOLE, 0), (2, WHOLE * 10 / 11, WHOLE - WHOLE * 10 / 11)];
    for (lost, main, baseline) in shed {
        let mut world = kind(&[10.0, 50.0], Judge::Manual);
        assert_eq!(world.settle(), Phase::Hold { step: 0 });
        world.seen.baseline.as_mut().unwrap().ready = 1;
        let gone = Some(Workload { settled: true, ..Workload::default() });
        *[&mut world.seen.main, &mut world.seen.baseline, &mut world.seen.canary][lost] = gone;
        assert!(world.step());
        let role = Role::ALL[lost];
        assert_eq!(world.state.rollout.clone().unwrap().back.unwrap().why, Why::Lost(role));
        let shed = Weights { canary: 0, main, baseline };
        assert_eq!((world.state.phase, world.state.desired(&world.plan).weights), (Phase::Shed, vec![shed]));
        // Whatever was lost is there again.
        world.seen.main.as_mut().unwrap().clone_from(&kind(&[50.0], Judge::Auto).seen.main.unwrap());
        let end = if v1(lost).is_some() { Phase::Hold { step: 0 } } else { Phase::RolledBack };
        assert_eq!(world.settle(), end, "{role}");
    }
}

#[test]
fn pods_that_were_given_another_version_or_are_just_told_are_not_lost() {
    for (version, settled) in [("v9", true), ("v2", false)] {
        let mut world = kind(&[10.0, 50.0], Judge::Manual);
        assert_eq!(world.settle(), Phase::Hold { step: 0 });
        let canary = world.seen.canary.as_mut().unwrap();
        (canary.ready, canary.settled, canary.version) = (0, settled, version.to_owned());
        assert!(!world.step());
    }
}

#[test]
fn a_safe_rollback_restores_main_before_it_moves_any_traffic() {
    let policy = Policy { rollback: RollbackOrder::Safe, ..POLICY };
    let mut world = Kind::new(build(&[25.0, 50.0], Judge::Auto, policy).unwrap(), 10);
    world.settle();
    let before = world.seen.splits[0].weights;
    world.say(Command::Rollback).unwrap();
    assert_eq!(world.state.phase, Phase::Restore);
    assert_eq!(world.state.desired(&world.plan).weights, [before.unwrap()]);
    assert_eq!(world.settle(), Phase::RolledBack);
}

#[test]
fn a_rollback_after_promotion_puts_the_old_version_back() {
    let mut world = kind(&[50.0], Judge::Auto);
    world.settle();
    (world.seen.verdict, world.now) = (Verdict::Pass, 10_000);
    assert_eq!(world.settle(), Phase::Watch);
    world.say(Command::Rollback).unwrap();
    assert_eq!(world.settle(), Phase::RolledBack);
    let main = world.seen.main.clone().unwrap();
    assert_eq!((main.version.as_str(), main.replicas), ("v1", 10));
}

#[test]
fn an_undo_gives_main_the_version_before_with_the_pods_it_has_now() {
    let mut world = kind(&[50.0], Judge::Auto);
    assert_eq!(world.say(Command::Undo), Err(Refused::NoPrevious));
    world.settle();
    assert_eq!(world.say(Command::Undo), Err(Refused::UnderWay));
    (world.seen.verdict, world.now) = (Verdict::Pass, 10_000);
    world.settle();
    world.now += 60_000;
    assert_eq!(world.settle(), Phase::Promoted);
    world.seen.main.as_mut().unwrap().replicas = 12;
    world.say(Command::Undo).unwrap();
    assert_eq!(world.settle(), Phase::RolledBack);
    let main = world.seen.main.clone().unwrap();
    assert_eq!((main.version.as_str(), main.replicas, world.state.stable.as_str()), ("v1", 12, "v1"));
    // It is still wanted, and does not come back by itself; nor is there anything else to undo.
    assert_eq!((world.settle(), world.say(Command::Undo)), (Phase::RolledBack, Err(Refused::NoPrevious)));
}

#[test]
fn a_person_goes_over_an_inconclusive_verdict_but_over_a_fail_only_on_purpose() {
    let mut world = kind(&[10.0, 50.0], Judge::Both);
    world.settle();
    assert_eq!(world.say(Command::Continue { over_fail: false }), Ok(Phase::Scale { step: 1 }));
    assert_eq!(world.say(Command::Continue { over_fail: false }), Err(Refused::NotWaiting));
    world.settle();
    world.seen.verdict = Verdict::Fail;
    assert_eq!(world.say(Command::Continue { over_fail: false }), Err(Refused::Failed));
    assert_eq!(world.say(Command::Continue { over_fail: true }), Ok(Phase::Update));
    assert_eq!(world.settle(), Phase::Watch, "what was overridden does not roll back later");
}

#[test]
fn a_judgment_about_a_step_that_is_over_is_refused() {
    let mut world = kind(&[10.0, 50.0], Judge::Manual);
    world.settle();
    world.say(Command::Continue { over_fail: false }).unwrap();
    world.settle();
    let command = Command::Continue { over_fail: false };
    let late = world.state.command(&world.plan, command, Some(0), &world.seen, world.now);
    assert_eq!(late, Err(Refused::OtherStep { about: 1, now: 2 }));
    assert!(world.state.command(&world.plan, command, Some(1), &world.seen, world.now).is_ok());
}

#[test]
fn a_pause_stops_the_clock_but_not_a_bad_verdict() {
    let mut world = kind(&[10.0, 50.0], Judge::Auto);
    world.settle();
    world.seen.verdict = Verdict::Pass;
    world.now = 9_000;
    world.say(Command::Pause).unwrap();
    assert_eq!(world.say(Command::Pause), Err(Refused::Paused));
    world.now = 100_000;
    assert_eq!(world.settle(), Phase::Hold { step: 0 });
    world.say(Command::Resume).unwrap();
    assert_eq!(world.say(Command::Resume), Err(Refused::NotPaused));
    assert_eq!(world.settle(), Phase::Hold { step: 0 }, "one second is left");
    world.now = 101_000;
    assert!(world.step());
    assert_eq!(world.settle(), Phase::Hold { step: 1 });
    world.say(Command::Pause).unwrap();
    world.seen.verdict = Verdict::Fail;
    assert_eq!(world.settle(), Phase::RolledBack);
}

#[test]
fn promote_leaves_out_the_steps_in_between_and_never_the_acks() {
    let mut world = kind(&[1.0, 10.0, 25.0, 50.0], Judge::Manual);
    world.settle();
    assert_eq!(world.say(Command::Promote { over_fail: false }), Ok(Phase::Scale { step: 3 }));
    world.seen.splits[0].acked = false;
    assert_eq!(world.settle(), Phase::Weigh { step: 3 });
    world.seen.splits[0].acked = true;
    assert_eq!(world.settle(), Phase::Watch);
    assert_eq!(world.say(Command::Promote { over_fail: false }), Err(Refused::Promoting));
}

#[test]
fn without_a_single_proxy_that_acked_nothing_advances_and_the_policy_decides_how_long() {
    let probe = Phase::Probe { before: Before::FirstStep };
    for (acks, end) in
        [(AckPolicy::Hold, probe), (AckPolicy::Proceed, Phase::Hold { step: 0 }), (AckPolicy::Rollback, Phase::Return)]
    {
        let mut world = Kind::new(build(&[50.0], Judge::Manual, Policy { acks, ..POLICY }).unwrap(), 3);
        world.seen.splits[0].acked = false;
        assert_eq!(world.settle(), probe);
        world.now = 29_999;
        assert_eq!(world.settle(), probe);
        world.now = 30_000;
        let mut reached = world.settle();
        if reached == (Phase::Weigh { step: 0 }) {
            world.now = 60_000;
            reached = world.settle();
        }
        assert!(reached == end || reached == Phase::Shed && acks == AckPolicy::Rollback, "{acks:?}: {reached:?}");
    }
}

#[test]
fn pods_that_never_get_ready_end_in_rollback_at_the_deadline() {
    let mut world = kind(&[10.0, 50.0], Judge::Auto);
    world.obey();
    world.step();
    world.obey();
    world.seen.canary.as_mut().unwrap().ready = 0;
    world.now = 599_999;
    assert!(!world.step());
    world.now = 600_000;
    assert!(world.step());
    assert_eq!(world.state.rollout.as_ref().unwrap().back.as_ref().unwrap().why, Why::Deadline);
    assert_eq!(world.settle(), Phase::RolledBack);
}

#[test]
fn another_version_in_mid_rollout_goes_back_first_and_then_starts() {
    let mut world = kind(&[10.0, 50.0], Judge::Manual);
    world.settle();
    world.wanted = Some("v3");
    let mut phases = Vec::new();
    for _ in 0..100 {
        world.obey();
        if !world.step() {
            break;
        }
        phases.push(world.state.phase);
    }
    let back = phases.iter().position(|p| *p == Phase::RolledBack).expect("rolled back");
    let again = phases.iter().position(|p| *p == Phase::Hold { step: 0 }).expect("started again");
    assert!(back < again, "{phases:?}");
    assert_eq!(world.seen.canary.unwrap().version, "v3");
}

#[test]
fn a_state_survives_being_written_down() {
    let mut world = kind(&[10.0, 50.0], Judge::Auto);
    world.settle();
    world.say(Command::Pause).unwrap();
    world.say(Command::Rollback).unwrap();
    let text = serde_json::to_string(&world.state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), world.state);
}

/// A test in a world that obeys at once, but for what the closure changes.
fn run_trial(wanted: Option<&trial::Wanted>, state: &mut trial::State, seen: &mut Observation, now: u64) {
    for _ in 0..50 {
        let desired = state.desired(1);
        if let Some(Target { version, replicas }) = desired.canary {
            seen.canary =
                Some(Workload { version, replicas, ready: replicas, settled: true, trouble: None, floor: None });
        }
        if let Some(weights) = desired.weights.first() {
            seen.splits[0].weights = Some(*weights);
        }
        let next = trial::step(wanted, state, seen, now);
        if next == *state {
            return;
        }
        // Traffic never outlives the pods, and never comes before them.
        assert!(next.weight == 0 || next.canary.replicas > 0, "{next:?}");
        *state = next;
    }
    panic!("it never settles: {state:?}");
}

#[test]
fn a_canary_test_follows_its_weight_up_and_down_and_ends_without_touching_main() {
    let mut seen = Kind::new(build(&[50.0], Judge::Auto, POLICY).unwrap(), 10).seen;
    let main = seen.main.clone();
    let mut state = trial::State::new(0);
    let wanted = |weight, replicas| trial::Wanted { version: "v2".into(), weight, replicas, duration: Some(60_000) };
    for (weight, replicas) in [(1_000, 1), (20_000, 3), (5_000, 1), (50_000, 5)] {
        let wanted = wanted(weight, replicas);
        run_trial(Some(&wanted), &mut state, &mut seen, 5_000);
        assert_eq!((state.phase, state.weight, state.canary.replicas), (trial::Phase::On, weight, replicas));
        let weights = seen.splits[0].weights.unwrap();
        assert_eq!((weights.canary, weights.baseline, weights.main), (weight, 0, 100_000 - weight));
    }
    // Its time is over, and it does not begin again until something else is wanted.
    run_trial(Some(&wanted(50_000, 5)), &mut state, &mut seen, 65_000);
    assert_eq!((state.phase, state.weight, state.canary.replicas), (trial::Phase::Off, 0, 0));
    run_trial(Some(&wanted(40_000, 5)), &mut state, &mut seen, 66_000);
    assert_eq!(state.phase, trial::Phase::On);
    // Weight 0, and deletion.
    run_trial(Some(&wanted(0, 5)), &mut state, &mut seen, 67_000);
    assert_eq!((state.phase, state.canary.replicas), (trial::Phase::Off, 0));
    run_trial(Some(&wanted(10_000, 5)), &mut state, &mut seen, 68_000);
    run_trial(None, &mut state, &mut seen, 69_000);
    assert_eq!((state.phase, seen.main), (trial::Phase::Gone, main));
}

#[test]
fn a_canary_test_keeps_its_pods_until_all_proxies_acked_that_they_get_nothing() {
    let mut seen = Kind::new(build(&[50.0], Judge::Auto, POLICY).unwrap(), 10).seen;
    let mut state = trial::State::new(0);
    let wanted = trial::Wanted { version: "v2".into(), weight: 10_000, replicas: 2, duration: None };
    run_trial(Some(&wanted), &mut state, &mut seen, 0);
    seen.splits[0].acked = false;
    run_trial(None, &mut state, &mut seen, 1_000_000);
    assert_eq!((state.phase, state.canary.replicas), (trial::Phase::Drain, 2));
    // Another version is another test.
    seen.splits[0].acked = true;
    run_trial(None, &mut state, &mut seen, 1_000_000);
    assert_eq!(state.phase, trial::Phase::Gone);
}

fn reach(proved: bool, unreached: u64) -> Option<Reach> {
    Some(Reach { proved, unreached })
}

#[test]
fn pods_that_no_proxy_reaches_yet_get_their_weight_only_when_they_are_reached() {
    let mut world = kind(&[10.0, 50.0], Judge::Auto);
    let probe = Phase::Probe { before: Before::FirstStep };
    world.seen.reach = reach(false, 0);
    assert_eq!(world.settle(), probe);
    assert_eq!(world.seen.splits[0].weights, Some(Weights::of_step(1_000)));
    // Two requests find no pod: it is not the version's fault.
    world.seen.reach = reach(false, 2);
    assert!(world.step());
    world.obey();
    assert_eq!((world.state.phase, world.seen.splits[0].weights), (Phase::Scale { step: 0 }, Some(Weights::MAIN)));
    world.seen.reach = reach(false, 0);
    world.now = 3_999;
    assert_eq!(world.settle(), Phase::Scale { step: 0 }, "the pods are left alone for a while");
    world.now = 4_000;
    assert_eq!(world.settle(), probe);
    world.seen.reach = reach(true, 0);
    assert_eq!(world.settle(), Phase::Hold { step: 0 });
    let tries = world.state.rollout.as_ref().unwrap().tries.clone();
    assert_eq!((tries.failed, tries.unreached), (0, 2));
}

#[test]
fn a_probe_without_requests_is_taken_for_good_after_a_while_and_without_counting_proxies_at_once() {
    let mut world = kind(&[0.5, 50.0], Judge::Auto);
    world.seen.reach = reach(false, 0);
    world.settle();
    assert_eq!(world.seen.splits[0].weights, Some(Weights::of_step(500)), "never more than the step");
    world.now = PATIENCE - 1;
    assert_eq!(world.settle(), Phase::Probe { before: Before::FirstStep });
    world.now = PATIENCE;
    assert_eq!(world.settle(), Phase::Hold { step: 0 });
    let mut world = kind(&[10.0, 50.0], Judge::Auto);
    assert_eq!(world.settle(), Phase::Hold { step: 0 });
}

#[test]
fn pods_that_are_never_reached_end_in_rollback_at_the_deadline() {
    let mut world = kind(&[10.0, 50.0], Judge::Auto);
    let mut tries = 0;
    world.seen.reach = reach(false, 0);
    while world.settle() != Phase::RolledBack {
        match world.state.phase {
            Phase::Probe { .. } => {
                (world.seen.reach, tries) = (reach(false, 1), tries + 1);
                world.step();
                world.seen.reach = reach(false, 0);
            }
            _ => world.now += 1_000,
        }
    }
    assert_eq!(world.state.rollout.unwrap().back.unwrap().why, Why::Unreached);
    assert!((15..40).contains(&tries) && world.now >= 600_000, "{tries} tries in {} ms", world.now);
}

#[test]
fn main_is_probed_before_it_gets_all_the_traffic_back_in_either_version() {
    let mut world = kind(&[50.0], Judge::Manual);
    world.settle();
    world.seen.reach = reach(false, 0);
    world.say(Command::Continue { over_fail: false }).unwrap();
    assert_eq!(world.settle(), Phase::Probe { before: Before::Switch });
    let lent = Weights { canary: 49_500, main: 1_000, baseline: 49_500 };
    assert_eq!(world.seen.splits[0].weights, Some(lent));
    world.seen.reach = reach(false, 1);
    assert!(world.step());
    assert_eq!(world.state.phase, Phase::Update);
    // The old version comes back to main: the proxies have to find these pods anew.
    world.seen.reach = reach(false, 0);
    world.say(Command::Rollback).unwrap();
    assert_eq!(world.settle(), Phase::Probe { before: Before::Return });
    assert_eq!(world.seen.splits[0].weights, Some(Weights { canary: 0, main: 1_000, baseline: 99_000 }));
    world.seen.reach = reach(true, 0);
    assert_eq!(world.settle(), Phase::RolledBack);
}

#[test]
fn a_test_gives_its_canary_a_weight_only_when_it_is_reached() {
    let wanted = trial::Wanted { version: "v2".into(), weight: 30_000, replicas: 2, duration: None };
    let mut seen = kind(&[50.0], Judge::Auto).seen;
    let mut state = trial::State::new(0);
    seen.reach = reach(false, 0);
    run_trial(Some(&wanted), &mut state, &mut seen, 0);
    assert_eq!((state.phase, state.weight), (trial::Phase::Probe, 1_000));
    seen.reach = reach(false, 1);
    state = trial::step(Some(&wanted), &state, &seen, 0);
    assert_eq!((state.phase, state.weight, state.tries.failed), (trial::Phase::Scale, 0, 1));
    seen.reach = reach(true, 0);
    run_trial(Some(&wanted), &mut state, &mut seen, 4_000);
    assert_eq!((state.phase, state.weight), (trial::Phase::On, 30_000));
}
