//! A person edits a file or sets weights; requests obey.

use std::fs;
use std::time::Instant;

use anyhow::{Result, ensure};
use sluicegate_tests::steady::Steady;

use super::{condition, gate, set, settled, split, until};

#[test]
fn requests_obey_an_edited_file() -> Result<()> {
    let (controller, lab) = gate(2, 90, 10)?;
    for (v1, v2) in [(50, 50), (0, 1), (3, 1)] {
        let before = split(&controller)?["generation"].as_u64();
        controller.write_split("backend", &[("v1", v1), ("v2", v2)], "")?;
        until(&controller, "the ack of the edited file", |split| {
            split["generation"].as_u64() > before && split["acked"] == 1
        })?;
        let tally = lab.load(1_000, 4, "")?;
        let share = 1_000 * v2 / (v1 + v2);
        ensure!(tally.failures() == 0 && tally.subset("v2").abs_diff(share) <= 4, "{v1}/{v2}: {:?}", tally.pods);
    }
    Ok(())
}

#[test]
fn when_set_weight_returns_every_worker_obeys() -> Result<()> {
    let (controller, lab) = gate(4, 100, 0)?;
    let load = Steady::start(lab.web()?, 2_000.0)?;
    let mut phases = Vec::new();
    for change in 0..30 {
        let (v1, v2, pod) = if change % 2 == 0 { (0, 1, "v2") } else { (1, 0, "v1") };
        let ended = Instant::now();
        if let Some((_, to, _)) = phases.last_mut() {
            *to = ended;
        }
        let said = set(&controller, v1, v2)?;
        let began = Instant::now();
        ensure!(said.contains("acked by 1/1 proxies"), "{said}");
        phases.push((began, began, pod));
        // Idle connections, so that each worker has requests right after the ack.
        ensure!(lab.load(64, 32, "")?.pods.keys().eq([pod]), "change {change}: not all went to {pod}");
    }
    let seen = load.stop_clean()?;
    let mut checked = 0;
    for (began, ended, pod) in phases {
        for answer in seen.between(began, ended) {
            ensure!(answer.pod == pod, "sent {:?} after the ack, answered by {}", answer.sent - began, answer.pod);
            checked += 1;
        }
    }
    ensure!(checked > 200, "only {checked} requests were sent after an ack");
    Ok(())
}

#[test]
fn set_weight_writes_what_the_person_wrote_and_nothing_else() -> Result<()> {
    let (controller, _lab) = gate(1, 90, 10)?;
    let file = controller.splits().join("backend.yaml");
    let before = fs::read_to_string(&file)?;
    set(&controller, 70, 30)?;
    let after = fs::read_to_string(&file)?;
    ensure!(after == before.replace("90", "70").replace("10", "30"), "{after}");

    let wrong = controller.try_cli(&["set-weight", "backend", "v1=70", "v4=30"])?;
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    ensure!(wrong.status.code() == Some(1) && said.contains("v4") && said.contains("v1, v2"), "{said}");
    ensure!(controller.try_cli(&["set-weight", "backend", "v1:70"])?.status.code() == Some(2));
    ensure!(fs::read_to_string(&file)? == after, "a refused command changed the file");
    Ok(())
}

#[test]
fn a_mistake_in_the_file_leaves_the_last_good_weights_in_force() -> Result<()> {
    let (controller, lab) = gate(2, 0, 1)?;
    controller.write("backend.yaml", "apiVersion: sluicegate.dev/v1alpha1\nkind: TrafficSplit\nmetadata: { name: backend }\nspec:\n  subsets: [{ name: v1, wait: 1 }]\n")?;
    let wrong =
        until(&controller, "the mistake to be noticed", |split| condition(split, "Accepted")["status"] == "False")?;
    let message = condition(&wrong, "Accepted")["message"].as_str().unwrap_or_default().to_owned();
    for part in ["backend.yaml:5", "wait", "weight", "generation 1 stays in force"] {
        ensure!(message.contains(part), "no {part} in: {message}");
    }
    ensure!(lab.load(100, 4, "")?.pods["v2"] == 100);
    let refused = controller.try_cli(&["set-weight", "backend", "v1=1"])?;
    ensure!(!refused.status.success(), "weights were set in a file with a mistake");

    controller.write_split("backend", &[("v1", 1), ("v2", 0)], "")?;
    until(&controller, "the mistake to be mended", |split| split["generation"] == 2)?;
    settled(&controller, 1)?;
    ensure!(lab.load(100, 4, "")?.pods["v1"] == 100);
    Ok(())
}
