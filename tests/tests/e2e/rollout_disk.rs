//! Rollouts whose state cannot be written: nothing follows from what is not on disk, and all goes on when it can be.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use sluicegate_tests::controller::Controller;

use crate::rollout::{World, deploy, world, world_with};

/// At its first step, waiting for a person.
fn held(world: &World) -> Result<()> {
    let manual = "steps: [{ weight: 10, judge: manual }, 50]";
    world.controller.write("deploy.yaml", &deploy("v2", "").replace("steps: [10, 25, 50]", manual))?;
    world.until("Hold").map(drop)
}

/// A person is told why, nothing moves, and once it is mended it goes on.
fn is_refused_and_goes_on(world: &World, said: &str, mend: impl FnOnce() -> Result<()>) -> Result<()> {
    let refused = world.controller.try_cli(&["continue", "app", "--by", "ada"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1), "{refused:?}");
    ensure!(told.contains(said) && told.contains("nothing has changed"), "{told}");
    let rollout = world.rollout()?;
    ensure!(rollout["phase"] == "Hold" && rollout["step"] == 1 && rollout["weights"]["canary"] == "10", "{rollout}");
    mend()?;
    world.controller.cli(&["continue", "app", "--by", "ada"])?;
    world.controller.cli(&["rollback", "app", "--by", "ada"])?;
    world.until("RolledBack").map(drop)
}

#[test]
fn a_state_that_cannot_be_written_moves_nothing() -> Result<()> {
    let world = world(None, "")?;
    held(&world)?;
    // In the place of the file that is written before it is renamed.
    let draft = world.controller.state().join("rollouts/.default_app.json.sluicegate-tmp");
    fs::create_dir(&draft)?;
    is_refused_and_goes_on(&world, "default_app.json", || Ok(fs::remove_dir(&draft)?))
}

#[test]
fn a_full_disk_moves_nothing() -> Result<()> {
    let permitted = Command::new("unshare").args(["--user", "--map-root-user", "--mount", "true"]).status();
    if !permitted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this user may not make namespaces, so no small disk can be mounted");
        return Ok(());
    }
    let world = world_with(None, "", |files, args| Controller::start_on_small_disk(files, args, 256))?;
    held(&world)?;
    let full = world.controller.own_state().join("full");
    fill(&full)?;
    is_refused_and_goes_on(&world, "No space left", || Ok(fs::remove_file(&full)?))
}

/// Writes until nothing more fits.
fn fill(path: &Path) -> Result<()> {
    let error = fs::write(path, vec![0; 1 << 20]).err();
    ensure!(error.as_ref().is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull), "{error:?}");
    Ok(())
}
