//! A CanaryTest by clicks only: with pods that are really started and stopped, and the traffic as witness.

use std::time::Instant;

use anyhow::{Result, ensure};
use sluicegate_tests::browser::{Browser, Page};
use sluicegate_tests::rollout_lab::{RolloutLab, rollout_yaml};
use sluicegate_tests::steady::Seen;

use super::{ENOUGH, clean, looks_right};

const RATE: f64 = 600.0;
/// An even split is right to within the number of subsets per worker: here three, and two workers.
const EVEN: f64 = 6.0;

/// What a person keeps: a test that is off, with remarks of their own.
fn document(lab: &RolloutLab) -> String {
    let spec = format!(
        "  version: v0 # nobody has built this yet\n  weight: 0   # percent\n  replicas: 1\n  duration: 1h\n  \
         workloads: {{ command: {} }}\n",
        lab.pods.command()
    );
    format!("# Tried at night\n{}", rollout_yaml("CanaryTest", &spec))
}

/// The canary's requests were this share of all that began in between.
fn shared(seen: &Seen, (from, to): (Instant, Instant), percent: f64) -> Result<()> {
    let (all, canary) = seen.between(from, to).fold((0.0, 0.0), |(all, canary), answer| {
        (all + 1.0, canary + f64::from(u8::from(answer.pod.starts_with("canary-v2-"))))
    });
    ensure!(all > 200.0, "only {all} requests");
    let wanted = all * percent / 100.0;
    ensure!(f64::abs(canary - wanted) <= EVEN, "the canary got {canary} of {all} requests, not {wanted}: {percent} %");
    Ok(())
}

/// Sends the dialog, and waits until the page says that all proxies have acked.
fn sent(page: &mut Page, reason: &str, told: &str) -> Result<()> {
    page.write("#reason", reason)?;
    page.click("#ask button[type=submit]")?;
    page.until_text("#said", &format!("{told}; acked by all 1 proxies"))?;
    Ok(())
}

#[test]
fn a_canary_test_is_started_moved_by_a_slider_and_ended_by_clicks_only() -> Result<()> {
    let lab = RolloutLab::start(1)?;
    lab.pods.add_version("v2", "")?;
    let text = document(&lab);
    lab.controller.write("rollout.yaml", &text)?;
    lab.until_phase("Off")?;
    let load = lab.load(RATE)?;
    let browser = Browser::start()?;
    let mut page = browser.open(&format!("http://{}/", lab.controller.admin))?;
    page.click("#list a[href='#/rollout/default/app']")?;
    page.until_text(".now", "v0 is not tried: main has all the traffic")?;

    page.click("button[data-trial=start]")?;
    page.write("#trial-version", "v2")?;
    page.until_text(
        "#ask [role=status]",
        "1 % of app's traffic goes to v2, as soon as 1 pod is ready. It ends by itself after 1 h.",
    )?;
    looks_right(&mut page, "test-start")?;
    page.write("#by", "ada")?;
    sent(&mut page, "last night's build", "1 % to v2")?;
    let one = load.await_answers(ENOUGH)?;
    page.until_text(".now", "1 % of app goes to v2. It ends by itself in 59 min")?;
    let wrong = page.accessibility()?;
    ensure!(wrong.is_empty(), "{wrong:#?}");

    // The slider has the focus; the keyboard is enough.
    page.click("button[data-trial=weigh]")?;
    for _ in 1..20 {
        page.press("ArrowRight")?;
    }
    page.until_text("#ask [role=status]", "from 1 % to 20 %")?;
    ensure!(
        page.eval("document.querySelector('#trial-weight').value")? == "20",
        "the field does not follow the slider"
    );
    // And the other way round, to the thousandth.
    page.write("#trial-weight", "7.125")?;
    ensure!(page.eval("document.querySelector('#trial-slider').value")? == "7", "the slider does not follow the field");
    page.until_text("#ask [role=status]", "from 1 % to 7.125 %")?;
    page.write("#trial-weight", "20")?;
    sent(&mut page, "no complaints", "20 % to v2")?;
    let twenty = load.await_answers(ENOUGH)?;

    page.click("button[data-trial=end]")?;
    page.until_text("#ask form > p", "The canary's 20 % goes to main, then its pods go.")?;
    sent(&mut page, "seen enough", "all traffic to main")?;
    let none = load.await_answers(ENOUGH)?;
    page.until_text(".now", "v2 is not tried: main has all the traffic")?;
    page.until_text(".events", "ada said weight 20 → 0 %, which ends it: seen enough")?;
    page.until_text(".events", "ada said version v0 → v2, weight 0 → 1 %: last night's build")?;
    clean(&mut page)?;
    let seen = load.stop_clean()?;
    for (when, percent) in [(one, 1.0), (twenty, 20.0), (none, 0.0)] {
        shared(&seen, when, percent)?;
    }
    ensure!(seen.since(none.0).all(|one| one.pod.starts_with("main-v1-")), "the canary still got requests");
    ensure!(lab.pods.of("canary").is_empty(), "{:?}", lab.pods.of("canary"));
    let file = std::fs::read_to_string(lab.controller.splits().join("rollout.yaml"))?;
    ensure!(file == text.replace("version: v0", "version: v2"), "more than the version changed: {file}");
    Ok(())
}

#[test]
fn what_a_test_may_not_have_is_refused_in_the_dialog_and_a_broken_file_too() -> Result<()> {
    let lab = RolloutLab::start(1)?;
    let text = document(&lab);
    lab.controller.write("rollout.yaml", &text)?;
    lab.until_phase("Off")?;
    let browser = Browser::start()?;
    let mut page = browser.open(&format!("http://{}/#/rollout/default/app", lab.controller.admin))?;
    page.click("button[data-trial=start]")?;
    page.write("#trial-weight", "51")?;
    page.write("#by", "ada")?;
    page.click("#ask button[type=submit]")?;
    // The browser itself says so; nothing is sent.
    ensure!(
        page.eval("document.querySelector('#trial-weight').validity.rangeOverflow")? == true,
        "51 % is let through"
    );
    page.write("#trial-weight", "5")?;
    let broken = text.replace("weight: 0   #", "weight: none #");
    lab.controller.write("rollout.yaml", &broken)?;
    page.until_text(".note.bad", "weight none is not a number")?;
    page.click("#ask button[type=submit]")?;
    page.until_text("#ask [role=alert]", "mend the file first")?;
    page.press("Escape")?;
    ensure!(page.eval("document.activeElement.dataset.trial")? == "start", "the focus is lost");
    let file = std::fs::read_to_string(lab.controller.splits().join("rollout.yaml"))?;
    ensure!(file == broken && lab.rollout()?["phase"] == "Off", "{file}");
    // Chromium writes every answer that is no 200 to the console.
    let complaints = page.complaints()?;
    ensure!(complaints.len() == 1 && complaints[0].contains("409"), "{complaints:#?}");
    Ok(())
}
