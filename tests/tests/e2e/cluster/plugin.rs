//! The verbs of the command line with a kubeconfig: what they may do is what the cluster allows to who asks, and the record
//! names them.

use super::rollouts::{Stage, deploy, manual};
use super::{World, condition};
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sluicegate_tests::kube::PATIENCE;
use sluicegate_tests::{paths, poll};
use std::process::{Command, Output};

/// Runs `kubectl-sluicegate`, which is the controller's binary by another name.
fn plugin(world: &World, kubeconfig: &std::path::Path, args: &[&str]) -> Result<Output> {
    let folder = paths::scratch("plugin")?;
    let own = folder.path().join("kubectl-sluicegate");
    std::os::unix::fs::symlink(paths::controller()?, &own)?;
    let mut command = Command::new(own);
    command.args(args).args(["-n", &world.namespace]).env("KUBECONFIG", kubeconfig).env_remove("SLUICEGATE_ADMIN");
    command.output().context("cannot run the plugin")
}

fn said(world: &World, args: &[&str]) -> Result<String> {
    let output = plugin(world, world.cluster.kubeconfig(), args)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

fn refused(world: &World, args: &[&str]) -> Result<String> {
    let output = plugin(world, world.cluster.kubeconfig(), args)?;
    ensure!(output.status.code() == Some(1), "{args:?} worked: {}", String::from_utf8_lossy(&output.stdout));
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_rollout_is_led_by_the_plugin_alone() -> Result<()> {
    let stage = Stage::new("plugin", 2, "")?;
    let world = &stage.world;
    for (args, why) in [
        (["continue", "hello"], "no rollout is under way"),
        (["describe", "nobody"], "there is no TrafficSplit"),
        (["get", "proxies"], "port-forward"),
    ] {
        let said = refused(world, &args)?;
        ensure!(said.contains(why), "{args:?}: {said}");
    }
    let load = stage.load()?;
    world.apply(&manual(&deploy("hello:v2", "")))?;
    stage.until_with("Hold", |o| o["status"]["step"] == "1/2")?;
    let listed = said(world, &["get", "rollouts"])?;
    ensure!(listed.contains("Hold") && listed.contains("1/2") && listed.contains("10% 1/1"), "{listed}");
    // The controller knows of the ack at once, and writes it into the status within a second or so.
    poll::until("the split to be acked", PATIENCE, || {
        let splits = said(world, &["get", "splits", "-o", "json"]).map_err(|why| format!("{why:#}"))?;
        let splits: Value = serde_json::from_str(&splits).map_err(|why| why.to_string())?;
        let split = &splits["splits"][0];
        if split["subsets"][0]["weight"] == 10 && split["acked"] == 1 { Ok(()) } else { Err(splits.to_string()) }
    })?;
    let described = said(world, &["describe", "hello"])?;
    ensure!(described.contains("[10] ─ 50") && described.contains("Events:"), "{described}");
    ensure!(refused(world, &["continue", "hello", "--step", "2"])?.contains("it is at step 1"));
    ensure!(refused(world, &["set-weight", "hello", "main=5"])?.contains("the weights are held by"));

    let paused = said(world, &["pause", "hello"])?;
    ensure!(paused.contains("Paused"), "{paused}");
    let resumed = said(world, &["resume", "hello"])?;
    ensure!(!resumed.contains("Paused"), "{resumed}");
    said(world, &["continue", "hello", "--reason", "looks good", "--by", "somebody else"])?;
    stage.until_with("Hold", |o| o["status"]["step"] == "2/2")?;
    said(world, &["rollback", "hello"])?;
    let done = stage.until("RolledBack")?;
    load.stop_clean()?;
    ensure!(condition(&done, "RolledBack")["message"].to_string().contains("a person said so"), "{done}");
    let path = format!("/apis/sluicegate.dev/v1alpha1/namespaces/{}/judgments", world.namespace);
    let (judgments, _) = world.cluster.api().list(&path)?;
    let given = judgments.iter().find(|one| one["spec"]["reason"] == "looks good").context("no judgment")?;
    ensure!(given["spec"]["by"] == "admin" && given["spec"]["step"] == 1, "{given}");
    Ok(())
}

#[test]
fn weights_are_set_by_the_plugin_and_acked() -> Result<()> {
    let world = World::new("weigh")?;
    world.apply(&sluicegate_tests::controller::split_yaml("shop", &[("v1", 90), ("v2", 10)], ""))?;
    poll::until("the split", PATIENCE, || {
        said(&world, &["get"]).map_err(|why| format!("{why:#}")).and_then(|text| match text.contains("v1=90") {
            true => Ok(()),
            false => Err(text),
        })
    })?;
    let set = said(&world, &["set-weight", "shop", "v1=50", "v2=50"])?;
    ensure!(set.contains("v1=50 v2=50 (generation ") && set.contains("no live proxy"), "{set}");
    ensure!(refused(&world, &["set-weight", "shop", "v9=1"])?.contains("it has v1, v2"));
    ensure!(refused(&world, &["set-weight", "shop", "v1=0", "v2=0"])?.contains("0"));
    // Who may do nothing is told so, and by whom.
    let token = world.cluster.kubectl(&["-n", &world.namespace, "create", "token", "default"])?;
    let stranger = world.cluster.kubeconfig_of("stranger", token.trim())?;
    let output = plugin(&world, &stranger, &["get"])?;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1) && why.contains("forbidden") && why.contains(":default"), "{why}");
    Ok(())
}
