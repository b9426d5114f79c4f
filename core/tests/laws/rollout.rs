//! The machine of a CanaryDeploy, explored exhaustively: from every state that can be reached, every observation,
//! command, change of mind and passing of time, with a crash possible before any effect.
//!
//! A crash needs no rule of its own: effects are carried out one at a time, in any order, and the machine may be asked
//! again before any of them, which is what a restart does.

use sluicegate_core::judge::Verdict;
use sluicegate_core::rollout::{
    Observation, Role, SplitSeen, WHOLE, Weights, Workload,
    command::Command,
    deploy::{Phase, State, step},
    desired::{Effect, replicas, step_weights},
    floor::Floor,
    plan::{AckPolicy, Inconclusive, Judge, Plan, Policy, RollbackOrder, SplitSteps, Step},
    probe::{PROBE, Reach},
};
use std::collections::{HashSet, VecDeque};

/// Pods of main at the start.
const FULL: u32 = 4;
/// Later than any time of a plan.
const LATE: u64 = 1_000_000;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    pods: [Workload; 3],
    /// Per split: what is published, what some live proxy may still run, sorted.
    published: Vec<Weights>,
    running: Vec<Vec<Weights>>,
    /// Its user may want yet another version, or the old one.
    fickle: bool,
    /// Proxies may not reach pods that had no traffic before.
    probed: bool,
    /// Whether it matters which old weights a proxy runs; otherwise one of them stands for all.
    exact: bool,
    wanted: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Node {
    state: State,
    world: World,
}

fn at(role: Role) -> usize {
    Role::ALL.iter().position(|r| *r == role).unwrap()
}

impl World {
    fn new(plan: &Plan) -> Self {
        let splits = plan.splits().len();
        let main =
            Workload { version: "v1".into(), replicas: FULL, ready: FULL, settled: true, trouble: None, floor: None };
        let none = Workload { settled: true, ..Workload::default() };
        Self {
            pods: [main, none.clone(), none],
            published: vec![Weights::MAIN; splits],
            running: vec![vec![Weights::MAIN]; splits],
            probed: false,
            fickle: true,
            exact: plan.policy.acks != AckPolicy::Proceed,
            wanted: Some("v2"),
        }
    }

    /// The same with an autoscaler on main.
    fn scaled(mut self) -> Self {
        self.pods[0].floor = Some(0);
        self
    }

    fn is_scaled(&self) -> bool {
        self.pods[0].floor.is_some()
    }

    /// The autoscaler wants so many pods of main.
    fn scale(&mut self, wanted: u32) {
        let main = &mut self.pods[0];
        if let Some(floor) = main.floor {
            main.replicas = wanted.max(floor).max(1);
            main.ready = main.ready.min(main.replicas);
        }
    }

    fn probed(self) -> Self {
        Self { probed: true, ..self }
    }

    /// The user may only delete it.
    fn single_minded(self) -> Self {
        Self { fickle: false, ..self }
    }

    fn seen(&self, verdict: Verdict) -> Observation {
        let [main, baseline, canary] = self.pods.clone().map(Some);
        let split = |(published, running): (&Weights, &Vec<Weights>)| SplitSeen {
            weights: Some(*published),
            acked: running.as_slice() == [*published],
        };
        let splits = self.published.iter().zip(&self.running).map(split).collect();
        Observation { main, baseline, canary, splits, verdict, reach: Some(Reach { proved: true, unreached: 0 }) }
    }

    fn carry_out(&mut self, effect: &Effect) {
        match effect {
            Effect::Apply { role, target } => {
                let pods = &mut self.pods[at(*role)];
                let same = pods.version == target.version || target.replicas == 0;
                pods.ready = if same { pods.ready.min(target.replicas) } else { 0 };
                if pods.floor.is_none() {
                    pods.replicas = target.replicas;
                }
                pods.settled = true;
                if target.replicas > 0 {
                    pods.version.clone_from(&target.version);
                }
            }
            Effect::Weigh { split, weights } => {
                self.published[*split] = *weights;
                self.running[*split].retain(|w| w != weights);
                if !self.exact {
                    self.running[*split].truncate(1);
                }
                self.running[*split].push(*weights);
                self.running[*split].sort_by_key(|w| (w.canary, w.main));
            }
            Effect::Floor { replicas } => self.pods[0].floor = Some(*replicas),
        }
    }

    fn ack(&mut self) {
        for (running, published) in self.running.iter_mut().zip(&self.published) {
            *running = vec![*published];
        }
    }
}

/// Time enters as "no time has passed" or "all of it", so states that differ only in when they were entered are one.
fn timeless(mut state: State) -> State {
    state.entered = 0;
    state.paused = state.paused.map(|_| 0);
    if let Some(rollout) = &mut state.rollout {
        let tries = &mut rollout.tries;
        (tries.failed, tries.since, tries.unreached) = (tries.failed.min(1), 0, 0);
    }
    state
}

struct Explored {
    nodes: usize,
    edges: usize,
    ends: HashSet<Phase>,
}

/// An undo opens whole lives after the first; one of the plans is enough of them.
fn commands(plan: &Plan) -> Vec<Command> {
    let both = [false, true];
    let mut all = vec![Command::Pause, Command::Resume, Command::Rollback];
    all.extend(plan.policy.owned.map(|_| Command::Undo));
    all.extend(both.map(|over_fail| Command::Continue { over_fail }));
    all.extend(both.map(|over_fail| Command::Promote { over_fail }));
    all
}

const VERDICTS: [Verdict; 3] = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive];

/// What proxies may say of a probe, but for that it is proved.
const REACHES: [Option<Reach>; 3] =
    [None, Some(Reach { proved: false, unreached: 0 }), Some(Reach { proved: true, unreached: 1 })];

/// Everything that can happen next.
fn successors(plan: &Plan, node: &Node) -> Vec<Node> {
    let mut next = Vec::new();
    let mut with_state = |state: State| {
        let state = timeless(state);
        if state != node.state {
            next.push(Node { state, world: node.world.clone() });
        }
    };
    for verdict in VERDICTS {
        let seen = node.world.seen(verdict);
        for now in [0, LATE] {
            with_state(step(plan, node.world.wanted, &node.state, &seen, now));
            // Pods that could not be looked at.
            let blind = Observation { main: None, baseline: None, canary: None, ..seen.clone() };
            with_state(step(plan, node.world.wanted, &node.state, &blind, now));
            let probes = node.world.probed && matches!(node.state.phase, Phase::Probe { .. });
            for reach in REACHES.into_iter().filter(|_| probes) {
                with_state(step(plan, node.world.wanted, &node.state, &Observation { reach, ..seen.clone() }, now));
            }
        }
        for command in commands(plan) {
            if let Ok(state) = node.state.command(plan, command, None, &seen, 0) {
                with_state(state);
            }
        }
    }
    let mut with_world = |change: &dyn Fn(&mut World)| {
        let mut world = node.world.clone();
        change(&mut world);
        if world != node.world {
            next.push(Node { state: node.state.clone(), world });
        }
    };
    for effect in node.state.desired(plan).effects(&node.world.seen(Verdict::Pass)) {
        check_effect(plan, node, &effect);
        with_world(&|world| world.carry_out(&effect));
    }
    with_world(&World::ack);
    for role in Role::ALL {
        with_world(&|world| world.pods[at(role)].ready = world.pods[at(role)].replicas);
        with_world(&|world| world.pods[at(role)].ready = 0);
    }
    with_world(&|world| world.scale(0));
    // The user's mind changes: another version, the old one again, deleted.
    match node.world.wanted {
        Some("v2") => {
            for wanted in [Some("v3"), Some("v1"), None].into_iter().filter(|w| node.world.fickle || w.is_none()) {
                with_world(&|world| world.wanted = wanted);
            }
        }
        Some("v3") => with_world(&|world| world.wanted = None),
        _ => {}
    }
    next
}

/// Main changes its version only while no proxy sends anything there, or on the way back from having been promoted.
fn check_effect(plan: &Plan, node: &Node, effect: &Effect) {
    let Effect::Apply { role: Role::Main, target } = effect else { return };
    if target.version != node.world.pods[0].version && node.state.phase != Phase::Restore {
        let idle = node.world.running.iter().flatten().all(|w| w.main == 0);
        assert!(idle || plan.policy.acks == AckPolicy::Proceed, "main is updated under traffic: {node:#?}");
    }
}

fn check(plan: &Plan, node: &Node) {
    let (state, world) = (&node.state, &node.world);
    let back = state.rollout.as_ref().and_then(|r| r.back.as_ref());
    for (split, weights) in world.published.iter().enumerate() {
        assert_eq!(weights.canary + weights.main + weights.baseline, WHOLE, "{node:#?}");
        let planned = (0..plan.steps().len()).any(|s| step_weights(plan, s)[split] == *weights);
        let back = back.is_some_and(|b| b.weights[split] == *weights);
        let probe = *weights == Weights::of_step(step_weights(plan, 0)[split].canary.min(PROBE))
            || (weights.main == PROBE && weights.canary + weights.baseline == WHOLE - PROBE);
        assert!(*weights == Weights::MAIN || planned || back || probe, "weights that no plan has: {node:#?}");
        assert!(!planned || weights.canary == weights.baseline, "{node:#?}");
    }
    let desired = state.desired(plan);
    if plan.policy.acks != AckPolicy::Proceed && state.phase != Phase::Gone {
        for weights in world.running.iter().flatten().chain(&desired.weights) {
            check_capacity(plan, node, *weights);
        }
    }
    let settled = world.running.iter().zip(&world.published).all(|(r, p)| r.as_slice() == [*p]);
    let done = matches!(state.phase, Phase::RolledBack | Phase::Promoted | Phase::Gone) && state.rollout.is_some();
    if done && plan.policy.acks != AckPolicy::Proceed {
        let rollout = state.rollout.as_ref().unwrap();
        assert!(settled && world.published.iter().all(|w| *w == Weights::MAIN), "{node:#?}");
        let main = if world.is_scaled() { world.pods[0].replicas } else { rollout.replicas };
        assert_eq!(world.pods.each_ref().map(|p| p.replicas), [main, 0, 0], "{node:#?}");
        assert_eq!(world.pods[0].version, state.stable, "{node:#?}");
        let expected = if state.phase == Phase::Promoted { rollout.version.as_str() } else { "v1" };
        assert!(state.phase != Phase::RolledBack || state.stable != rollout.version, "{node:#?}");
        assert!(state.phase != Phase::Promoted || state.stable == expected, "{node:#?}");
    }
    check_floor(plan, node);
    if let Some(rollout) = &state.rollout {
        let steps: Vec<usize> = rollout.judged.iter().map(|j| j.step).collect();
        assert!(steps.windows(2).all(|w| w[0] < w[1]), "a step was judged twice: {node:#?}");
        if !rollout.hurry {
            assert!(steps.iter().enumerate().all(|(i, step)| i == *step), "a step was skipped: {node:#?}");
        }
    }
}

/// The autoscaler leaves main its pods while any traffic is elsewhere, and is its owner's again when all is over.
fn check_floor(plan: &Plan, node: &Node) {
    let (state, world) = (&node.state, &node.world);
    let Some(told) = world.pods[0].floor else { return };
    let elsewhere = world.running.iter().flatten().chain(&world.published).any(|w| *w != Weights::MAIN);
    if elsewhere && plan.policy.acks != AckPolicy::Proceed {
        assert_eq!(Some(told), state.rollout.as_ref().map(|r| r.replicas), "main may lose its pods: {node:#?}");
    }
    assert!(told == 0 || state.floor != Floor::Free, "nobody will tell the autoscaler: {node:#?}");
    assert!(told == 0 || state.phase != Phase::Gone, "nobody is left to tell the autoscaler: {node:#?}");
}

/// Whatever weights a live proxy may run, the pods they need were told to be there.
fn check_capacity(plan: &Plan, node: &Node, weights: Weights) {
    let Some(rollout) = &node.state.rollout else { return };
    let [main, baseline, canary] = &node.world.pods;
    let planned = (0..plan.steps().len()).any(|s| step_weights(plan, s).contains(&weights));
    if weights.canary > 0 {
        assert!(canary.replicas >= replicas(rollout.replicas, weights.canary), "canary: {weights:?} {node:#?}");
        assert_eq!(canary.version, rollout.version, "{node:#?}");
    }
    if weights.baseline > 0 {
        let needed = if planned { replicas(rollout.replicas, weights.baseline) } else { 1 };
        assert!(baseline.replicas >= needed, "baseline: {weights:?} {node:#?}");
        assert_eq!(baseline.version, node.state.stable, "{node:#?}");
    }
    if weights.main > 0 && !node.world.is_scaled() {
        let needed = if planned || weights == Weights::MAIN { replicas(rollout.replicas, weights.main) } else { 1 };
        assert!(main.replicas >= needed.min(rollout.replicas), "main: {weights:?} {node:#?}");
    }
}

/// Left alone in a kind world, with a person who says continue, it comes to an end.
fn check_ends(plan: &Plan, node: &Node, known: &mut HashSet<Node>) -> Phase {
    let mut node = node.clone();
    let mut path = Vec::new();
    for _ in 0..200 {
        if known.contains(&node) {
            break;
        }
        path.push(node.clone());
        for effect in node.state.desired(plan).effects(&node.world.seen(Verdict::Pass)) {
            node.world.carry_out(&effect);
        }
        node.world.ack();
        node.world.scale(1);
        node.world.pods.iter_mut().for_each(|p| p.ready = p.replicas);
        let seen = node.world.seen(Verdict::Pass);
        let mut state = step(plan, node.world.wanted, &node.state, &seen, LATE);
        for command in [Command::Resume, Command::Continue { over_fail: false }] {
            if timeless(state.clone()) == node.state
                && let Ok(next) = state.command(plan, command, None, &seen, LATE)
            {
                state = next;
            }
        }
        let state = timeless(state);
        if state == node.state && node.state.desired(plan).effects(&node.world.seen(Verdict::Pass)).is_empty() {
            let told = node.world.pods[0].floor.unwrap_or(0);
            assert!(told == 0 && state.floor == Floor::Free, "the autoscaler is not its owner's again: {node:#?}");
            break;
        }
        node.state = state;
    }
    let phase = node.state.phase;
    let ended =
        known.contains(&node) || matches!(phase, Phase::Promoted | Phase::RolledBack | Phase::Gone | Phase::Idle);
    assert!(ended, "it hangs in {phase:?}: {node:#?}");
    known.extend(path);
    phase
}

fn explore(plan: &Plan, world: World) -> Explored {
    let first = Node { state: State::new("v1".into(), 0), world };
    let mut seen = HashSet::from([first.clone()]);
    let mut queue = VecDeque::from([first]);
    let (mut edges, mut ends, mut ending) = (0, HashSet::new(), HashSet::new());
    while let Some(node) = queue.pop_front() {
        check(plan, &node);
        ends.insert(check_ends(plan, &node, &mut ending));
        for next in successors(plan, &node) {
            edges += 1;
            if seen.insert(next.clone()) {
                queue.push_back(next);
            }
        }
    }
    Explored { nodes: seen.len(), edges, ends }
}

fn plan(steps: &[u32], lists: &[&[u32]], judge: Judge, policy: Policy) -> Plan {
    let steps: Vec<Step> = steps.iter().map(|_| Step { hold: 10, judge }).collect();
    let split = |(i, list): (usize, &&[u32])| SplitSteps {
        split: format!("n/{i}"),
        canary: list.iter().map(|percent| percent * 1000).collect(),
    };
    Plan::new(steps, lists.iter().enumerate().map(split).collect(), policy).unwrap()
}

const POLICY: Policy = Policy {
    rollback: RollbackOrder::Fast,
    inconclusive: Inconclusive::Hold,
    acks: AckPolicy::Hold,
    ack_timeout: 100,
    deadline: 100,
    watch: 100,
    settle: 100,
    owned: None,
};

fn run(name: &str, plan: &Plan) {
    run_in(name, plan, World::new(plan));
}

fn run_in(name: &str, plan: &Plan, world: World) {
    let Explored { nodes, edges, ends } = explore(plan, world);
    println!("{name}: {nodes} states, {edges} transitions");
    assert!(nodes > 1_000, "{name}: only {nodes}");
    for end in [Phase::Promoted, Phase::RolledBack, Phase::Gone] {
        assert!(ends.contains(&end), "{name}: no way to {end:?}");
    }
}

#[test]
fn every_reachable_state_of_a_rollout_keeps_its_promises() {
    run("two steps, fast", &plan(&[10, 50], &[&[10, 50]], Judge::Auto, POLICY));
}

#[test]
fn every_reachable_state_keeps_its_promises_when_an_autoscaler_has_main() {
    let policy = Policy { watch: 0, ..POLICY };
    let plan = plan(&[50], &[&[50]], Judge::Manual, policy);
    run_in("one step, manual, scaled", &plan, World::new(&plan).scaled().single_minded());
}

#[test]
fn every_reachable_state_keeps_its_promises_when_proxies_do_not_reach_the_pods() {
    let policy = Policy { watch: 0, ..POLICY };
    let plan = plan(&[10, 50], &[&[10, 50]], Judge::Manual, policy);
    run_in("two steps, manual, probed", &plan, World::new(&plan).probed().single_minded());
}

/// Too many states to visit all: walks at random, each from the beginning.
#[test]
fn long_walks_with_two_splits_and_four_steps_keep_the_promises() {
    let lists: [&[u32]; 2] = [&[1, 10, 25, 50], &[5, 20, 30, 50]];
    let plan = plan(&[1, 10, 25, 50], &lists, Judge::Auto, POLICY);
    let (mut random, mut ending, mut ends) = (0x51_u64, HashSet::new(), HashSet::new());
    for _ in 0..400 {
        let mut node = Node { state: State::new("v1".into(), 0), world: World::new(&plan) };
        for _ in 0..150 {
            check(&plan, &node);
            ends.insert(check_ends(&plan, &node, &mut ending));
            let next = successors(&plan, &node);
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let Some(chosen) = next.into_iter().nth((random >> 33) as usize % 24) else { continue };
            node = chosen;
        }
    }
    assert!([Phase::Promoted, Phase::RolledBack, Phase::Gone].iter().all(|end| ends.contains(end)), "{ends:?}");
}

#[test]
fn every_reachable_state_keeps_its_promises_when_main_is_restored_first() {
    let policy = Policy { rollback: RollbackOrder::Safe, inconclusive: Inconclusive::Rollback, ..POLICY };
    run("two steps, safe", &plan(&[10, 50], &[&[10, 50]], Judge::Both, policy));
}

#[test]
fn every_reachable_state_keeps_its_promises_when_late_acks_roll_back_and_main_is_owned() {
    let policy = Policy { acks: AckPolicy::Rollback, watch: 0, owned: Some(FULL), ..POLICY };
    run("one step, manual, owned", &plan(&[50], &[&[50]], Judge::Manual, policy));
}

#[test]
fn every_reachable_state_keeps_its_promises_when_late_acks_are_not_waited_for() {
    let policy = Policy { acks: AckPolicy::Proceed, watch: 0, ..POLICY };
    let plan = plan(&[50], &[&[50]], Judge::Auto, policy);
    run_in("one step, proceed", &plan, World::new(&plan).single_minded());
}
