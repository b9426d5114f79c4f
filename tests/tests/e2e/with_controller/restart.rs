//! The controller goes, and comes back: politely, by a crash, or with an older folder.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use sluicegate_tests::controller::{Controller, files_in};
use sluicegate_tests::poll;
use sluicegate_tests::steady::Steady;

use super::{FAST, condition, gate, set, settled, split, until};

/// Waits until the one proxy has a poll open.
fn held(controller: &Controller) -> Result<()> {
    poll::until("a held poll", poll::LONG, || {
        let proxies = controller.json("/v1/proxies").map_err(|why| format!("{why:#}"))?;
        if proxies["proxies"][0]["polls"] == 1 { Ok(()) } else { Err(proxies.to_string()) }
    })
}

#[test]
fn a_controller_that_shuts_down_answers_held_polls_first() -> Result<()> {
    const CUT: &str = "cluster.sluicegate.upstream_cx_destroy_remote_with_active_rq";
    const ANSWERED: &str = "cluster.sluicegate.upstream_rq_200";
    let (mut controller, lab) = gate(2, 90, 10)?;
    held(&controller)?;
    let before = lab.envoy.stat(ANSWERED)?;
    controller.stop()?;
    poll::until("the answer to the held poll", poll::LONG, || match lab.envoy.stat(ANSWERED) {
        Ok(now) if now > before => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    ensure!(lab.envoy.stat(CUT)? == 0, "a poll was cut");

    controller.restart_with(&FAST)?;
    settled(&controller, 1)?;
    held(&controller)?;
    // The same by a crash does cut it: this test can tell.
    controller.kill();
    poll::until("the cut poll", poll::LONG, || match lab.envoy.stat(CUT) {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn a_restarted_controller_goes_on_where_it_was() -> Result<()> {
    let (mut controller, lab) = gate(2, 90, 10)?;
    set(&controller, 0, 1)?;
    let load = Steady::start(lab.web()?, 500.0)?;
    let began = Instant::now();
    for round in 0..3 {
        if round == 1 {
            controller.kill()
        } else {
            controller.stop()?
        }
        controller.restart_with(&FAST)?;
        let split = settled(&controller, 1)?;
        ensure!(split["generation"] == 2, "after restart {round}: {split}");
    }
    load.stop_clean()?.only_since(began, "v2")?;
    set(&controller, 1, 0)?;
    ensure!(split(&controller)?["generation"] == 3);
    ensure!(lab.load(100, 4, "")?.pods["v1"] == 100);
    Ok(())
}

#[test]
fn without_its_controller_an_envoy_goes_on_by_the_last_weights() -> Result<()> {
    let (mut controller, lab) = gate(2, 90, 10)?;
    set(&controller, 75, 25)?;
    controller.kill();
    let tally = lab.load(4_000, 8, "")?;
    ensure!(tally.failures() == 0 && tally.subset("v2").abs_diff(1_000) <= 4, "{:?}", tally.pods);
    // The file is edited meanwhile; the controller finds it when it comes.
    controller.write_split("backend", &[("v1", 0), ("v2", 1)], "")?;
    controller.restart_with(&FAST)?;
    let split = until(&controller, "the edited file", |split| split["generation"] == 3 && split["acked"] == 1)?;
    ensure!(condition(&split, "Propagated")["status"] == "True", "{split}");
    ensure!(lab.load(100, 4, "")?.pods["v2"] == 100);
    Ok(())
}

#[test]
fn a_controller_with_an_older_folder_takes_nobody_back() -> Result<()> {
    let (mut controller, lab) = gate(4, 90, 10)?;
    set(&controller, 100, 0)?;
    let (splits, state) = (Kept::of(&controller.splits())?, Kept::of(&controller.state())?);
    set(&controller, 50, 50)?;
    set(&controller, 0, 100)?;
    let load = Steady::start(lab.web()?, 1_000.0)?;
    let since = Instant::now();

    controller.kill();
    splits.restore()?;
    state.restore()?;
    controller.restart_with(&FAST)?;
    let split = until(&controller, "the proxy that is ahead", |split| split["live"] == 1)?;
    ensure!(split["generation"] == 2 && split["subsets"][0]["weight"] == 100, "not the older folder: {split}");
    let propagated = condition(&split, "Propagated");
    ensure!(propagated["status"] == "False" && propagated["reason"] == "Ahead", "{propagated}");
    ensure!(propagated["message"].as_str().is_some_and(|text| text.contains("generation 4")), "{propagated}");
    // It has read this controller's answer, and tells again what it runs.
    until(&controller, "another poll", |split| split["proxies"][0]["standing"] == "ahead")?;
    load.stop_clean()?.only_since(since, "v2")?;
    ensure!(lab.load(400, 8, "")?.pods["v2"] == 400);

    // The next change here takes over, although it is the third of this folder and the proxy runs the fourth.
    let said = set(&controller, 1, 0)?;
    ensure!(said.contains("generation 5") && said.contains("acked by 1/1"), "{said}");
    ensure!(lab.load(400, 8, "")?.pods["v1"] == 400);
    Ok(())
}

/// The files of a folder as they were.
struct Kept {
    dir: std::path::PathBuf,
    files: Vec<(String, Vec<u8>)>,
}

impl Kept {
    fn of(dir: &Path) -> Result<Self> {
        let files = files_in(dir)?.into_iter().map(|name| Ok((name.clone(), fs::read(dir.join(name))?)));
        Ok(Self { dir: dir.to_owned(), files: files.collect::<Result<_>>()? })
    }

    fn restore(&self) -> Result<()> {
        for name in files_in(&self.dir)? {
            fs::remove_file(self.dir.join(name))?;
        }
        for (name, bytes) in &self.files {
            fs::write(self.dir.join(name), bytes)?;
        }
        Ok(())
    }
}
