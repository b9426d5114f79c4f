//! TrafficSplits: from `kubectl apply` to what a proxy is answered.

use super::{World, backend, condition};
use anyhow::{Result, ensure};
use serde_json::Value;
use sluicegate_core::sorted::Sorted;
use sluicegate_core::wire::{Abilities, PROTOCOL, ProxyId, SYNC_PATH, Subscription, SyncRequest};
use sluicegate_tests::client;
use sluicegate_tests::kube::PATIENCE;
use sluicegate_tests::poll;
use std::net::SocketAddr;

const HOSTS: &str = "  hosts: [www.example.com]\n";

fn owner() -> String {
    format!("{}{HOSTS}", backend(1, 1).replace("name: backend", "name: owner"))
}

/// What a proxy that knows nothing is answered.
pub(super) fn sync(split: &str, to: SocketAddr) -> Result<Value> {
    let answer = client::post(to, SYNC_PATH, &request(split)?)?;
    ensure!(answer.status == 200, "{}", answer.text());
    answer.json()
}

/// What that proxy asks.
pub(super) fn request(split: &str) -> Result<Vec<u8>> {
    let request = SyncRequest {
        sluicegate: PROTOCOL,
        proxy: ProxyId { epoch: 7, node: "splits-test".to_owned(), plugin: "test".to_owned() },
        version: "test".to_owned(),
        abilities: Abilities::default(),
        subscription: Subscription::Split(split.to_owned()),
        cursor: None,
        hold: 0,
        full: true,
        acks: Sorted::default(),
    };
    Ok(serde_json::to_vec(&request)?)
}

#[test]
fn an_applied_split_reaches_the_proxies_and_its_status_says_so() -> Result<()> {
    let world = World::new("apply")?;
    world.apply(&backend(90, 10))?;
    let generation = world.until_weights("backend", &[90, 10])?;
    let answer = sync(&format!("{}/backend", world.namespace), world.controller.proxy)?;
    ensure!(answer.to_string().contains("\"weight\":90"), "{answer}");
    let object = world.until("the status", "trafficsplits", "backend", |o| o["status"]["acked"].is_string())?;
    ensure!(object["status"]["generation"] == generation && object["status"]["weights"] == "v1=90 v2=10", "{object}");
    ensure!(condition(&object, "Accepted")["status"] == "True", "{object}");
    world.apply(&backend(50, 50))?;
    ensure!(world.until_weights("backend", &[50, 50])? == generation + 1);
    Ok(())
}

#[test]
fn a_split_edited_to_nonsense_keeps_its_last_good_weights_across_a_restart_and_mends() -> Result<()> {
    let mut world = World::new("nonsense")?;
    world.apply(&backend(90, 10))?;
    let generation = world.until_weights("backend", &[90, 10])?;
    // The API server takes it, since it looks at one object at a time; the rules do not: a host has one split.
    world.apply(&owner())?;
    world.until_weights("owner", &[1, 1])?;
    world.apply(&format!("{}{HOSTS}", backend(50, 50)))?;
    let refused = |o: &Value| condition(o, "Accepted")["status"] == "False";
    let object = world.until("the refusal", "trafficsplits", "backend", refused)?;
    let message = condition(&object, "Accepted")["message"].as_str().unwrap_or_default();
    ensure!(message.contains("already belongs") && message.contains("stays in force"), "{message}");
    ensure!(world.until_weights("backend", &[90, 10])? == generation);
    world.controller.restart()?;
    ensure!(world.until_weights("backend", &[90, 10])? == generation, "the last good split is not known any more");
    world.apply(&backend(20, 80))?;
    ensure!(world.until_weights("backend", &[20, 80])? == generation + 1);
    world.until("the acceptance", "trafficsplits", "backend", |o| condition(o, "Accepted")["status"] == "True")?;
    Ok(())
}

#[test]
fn weights_set_by_hand_are_in_the_spec_and_generations_never_go_back() -> Result<()> {
    let mut world = World::new("set")?;
    world.apply(&backend(90, 10))?;
    let first = world.until_weights("backend", &[90, 10])?;
    world.controller.cli(&["set-weight", &format!("{}/backend", world.namespace), "v1=70", "v2=30"])?;
    let object = world.object("trafficsplits", "backend")?;
    ensure!(object["spec"]["subsets"][0]["weight"] == 70, "{object}");
    let managers = object["metadata"]["managedFields"].to_string();
    ensure!(managers.contains("\"manager\":\"sluicegate\""), "{managers}");
    let second = world.until_weights("backend", &[70, 30])?;
    ensure!(second == first + 1, "{first} then {second}");
    world.controller.kill();
    // Nobody looks while it is changed, deleted and made anew.
    world.cluster.api().delete(&world.path("trafficsplits", "backend"))?;
    poll::until("the deletion", PATIENCE, || match world.object("trafficsplits", "backend") {
        Err(_) => Ok(()),
        Ok(object) => Err(object.to_string()),
    })?;
    world.apply(&backend(10, 90))?;
    world.controller.restart()?;
    let third = world.until_weights("backend", &[10, 90])?;
    ensure!(third > second, "{second} then {third}");
    world.cluster.api().delete(&world.path("trafficsplits", "backend"))?;
    poll::until("the split to be gone", PATIENCE, || {
        let gone = world.controller.json(&format!("/v1/splits/{}/backend", world.namespace)).is_err();
        if gone { Ok(()) } else { Err("still there") }
    })
}

#[test]
fn one_bad_object_does_not_stall_the_others() -> Result<()> {
    let world = World::new("bad")?;
    world.apply(&owner())?;
    world.until_weights("owner", &[1, 1])?;
    world.apply(&owner().replace("name: owner", "name: bad"))?;
    world.apply(&backend(3, 4))?;
    world.until_weights("backend", &[3, 4])?;
    let refused = |o: &Value| condition(o, "Accepted")["status"] == "False";
    world.until("the refusal", "trafficsplits", "bad", refused).map(drop)
}
