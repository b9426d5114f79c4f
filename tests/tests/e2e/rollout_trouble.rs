//! A command for pods that hangs, fails or talks nonsense: the rollout says so, stays where it is, and goes on by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::{Result, ensure};
use sluicegate_tests::paths;
use sluicegate_tests::rollout_lab::{RolloutLab, rollout_yaml};

/// Does what the file `fault` of the pods' folder says, or what it should.
const FAULTY: &str = r#"#!/bin/sh
case "$(cat "$2/fault")" in
  hang) exec sleep 1000 ;;
  fail) echo "the daemon is not running" >&2; exit 3 ;;
  nonsense) echo "all fine" ;;
  *) exec "$1" "$2" ;;
esac
"#;

#[test]
fn a_command_that_hangs_fails_or_talks_nonsense_is_told_and_asked_again() -> Result<()> {
    let lab = RolloutLab::start(1)?;
    lab.pods.add_version("v2", "")?;
    let faulty = lab.pods.dir().join("faulty.sh");
    fs::write(&faulty, FAULTY)?;
    fs::set_permissions(&faulty, fs::Permissions::from_mode(0o755))?;
    let fault = |what: &str| paths::write_atomically(&lab.pods.dir().join("versions/../fault"), what);
    let rollout = |version: &str| {
        let command = lab.pods.command().replacen('[', &format!("[\"{}\", ", faulty.display()), 1);
        let spec = format!(
            "  version: {version}\n  steps: [10, 50]\n  hold: 300ms\n  judge: {{ errors: {{}}, minRequests: 50 }}\n  \
             workloads: {{ command: {command}, timeout: 2s }}\n"
        );
        lab.controller.write("rollout.yaml", &rollout_yaml("CanaryDeploy", &spec))
    };
    fault("")?;
    rollout("v1")?;
    lab.until_phase("Idle")?;
    let load = lab.load(500.0)?;
    for (what, said) in [("hang", "no answer"), ("fail", "the daemon is not running"), ("nonsense", "cannot be read")] {
        fault(what)?;
        if what == "hang" {
            rollout("v2")?;
        }
        let rollout = lab.until(&format!("'{what}' to be told"), |rollout| {
            rollout["trouble"].as_str().is_some_and(|trouble| trouble.contains(said))
        })?;
        ensure!(rollout["weights"]["main"] == "100", "it went on: {rollout}");
    }
    fault("")?;
    let promoted = lab.until_phase("Promoted")?;
    ensure!(promoted["stable"] == "v2", "{promoted}");
    load.stop_clean()?;
    Ok(())
}
