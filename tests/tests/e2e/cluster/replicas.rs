//! Two controllers in one namespace: one writes, both answer, and the other takes over.

use super::{World, backend, splits};
use anyhow::{Result, ensure};
use sluicegate_tests::controller::Controller;
use sluicegate_tests::kube::PATIENCE;
use sluicegate_tests::poll;

#[test]
fn a_follower_answers_passes_on_what_proxies_say_and_takes_over() -> Result<()> {
    let mut world = World::new("replicas")?;
    world.apply(&backend(90, 10))?;
    let first = world.until_weights("backend", &[90, 10])?;
    let follower = Controller::start_in_cluster(&world.kubeconfig, &world.namespace, &[])?;
    let split = format!("{}/backend", world.namespace);
    let path = format!("/v1/splits/{split}");
    poll::until("the follower to know the split", PATIENCE, || match follower.json(&path) {
        Ok(split) if split["generation"] == first => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    // It knows the leader as soon as it has looked at the lease.
    poll::until("the leader to hear of a proxy of the follower", PATIENCE, || {
        let answer = splits::sync(&split, follower.proxy).map_err(|why| format!("{why:#}"))?;
        let known = world.controller.json("/v1/proxies").map_err(|why| format!("{why:#}"))?;
        let answered = answer.to_string().contains("\"weight\":90");
        if answered && known.to_string().contains("splits-test") { Ok(()) } else { Err(known.to_string()) }
    })?;
    let refused = follower.try_cli(&["set-weight", &format!("{}/backend", world.namespace), "v1=1", "v2=1"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && told.contains("another replica"), "{told}");
    world.controller.kill();
    // At once, by what it knows itself.
    let answer = splits::sync(&split, follower.proxy)?;
    ensure!(answer.to_string().contains("\"weight\":90"), "{answer}");
    world.controller = follower;
    world.apply(&backend(20, 80))?;
    let second = world.until_weights("backend", &[20, 80])?;
    ensure!(second == first + 1, "{first} then {second}");
    Ok(())
}
