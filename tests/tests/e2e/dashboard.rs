//! The dashboard in a real browser, on a real Envoy under load: clicks with a mouse, and the traffic proves each.

mod canary_test;
mod charts;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::browser::{Browser, Page};
use sluicegate_tests::lab::WEB;
use sluicegate_tests::poll;
use sluicegate_tests::steady::Seen;

use crate::rollout::{World, deploy, world};

const STEPS: &str =
    "steps: [{ weight: 10, judge: manual }, { weight: 25, judge: manual }, { weight: 50, judge: manual }]";
const WHOLE: Duration = Duration::from_secs(60);
/// So many requests show a weight to the percent: counted, since on a busy machine a second may hold few.
const ENOUGH: usize = 600;

fn manual(version: &str) -> String {
    deploy(version, "  watch: 0s\n").replace("steps: [10, 25, 50]", STEPS)
}

fn address(world: &World, route: &str) -> String {
    format!("http://{}/{route}", world.controller.admin)
}

/// Opens the dashboard there, once it is live.
fn open(browser: &Browser, world: &World, route: &str) -> Result<Page> {
    let mut page = browser.open(&address(world, route))?;
    page.until_text("#link", "live")?;
    Ok(page)
}

/// Clicks a verb, fills in the dialog and sends it.
fn say(page: &mut Page, verb: &str, reason: &str) -> Result<String> {
    page.click(&format!("button[data-verb={verb}]"))?;
    let will = page.text("#ask form > p")?;
    page.write("#by", "ada")?;
    page.write("#reason", reason)?;
    page.click("#ask button[type=submit]")?;
    Ok(will)
}

fn generation(world: &World) -> Result<Value> {
    Ok(world.controller.json("/v1/splits/default/app")?["generation"].clone())
}

/// Takes the rollout away, so that the split is a plain one.
fn without_rollout(world: &World) -> Result<()> {
    std::fs::remove_file(world.controller.splits().join("deploy.yaml"))?;
    poll::until("the rollout to be gone", WHOLE, || {
        let left = world.controller.json("/v1/rollouts").map_err(|why| why.to_string())?;
        if left["rollouts"] == json!([]) { Ok(()) } else { Err(left.to_string()) }
    })
}

/// The canary's share of what was sent in between, in percent.
fn share(seen: &Seen, from: Instant, to: Instant) -> (f64, usize) {
    let (all, canary) = seen
        .between(from, to)
        .fold((0, 0), |(all, canary), answer| (all + 1, canary + usize::from(answer.pod == "canary")));
    (canary as f64 * 100.0 / f64::from(u32::try_from(all).unwrap_or(u32::MAX).max(1)), all)
}

pub(crate) fn clean(page: &mut Page) -> Result<()> {
    let complaints = page.complaints()?;
    ensure!(complaints.is_empty(), "the console complains: {complaints:#?}");
    Ok(())
}

/// Nothing is wider than the page, the rules for accessibility hold, light and dark, on a phone and on a large screen.
pub(crate) fn looks_right(page: &mut Page, name: &str) -> Result<()> {
    for (width, scheme) in [(375, "light"), (1920, "dark"), (1280, "dark"), (1280, "light")] {
        page.size(width, 900)?;
        page.scheme(scheme)?;
        // The browser lays out anew some moments after it was told its size.
        poll::until(&format!("{name} to fit into {width} px"), poll::LONG, || {
            // Before that, it fits into the size from before.
            let look = "[innerWidth, document.documentElement.scrollWidth - document.documentElement.clientWidth]";
            match page.eval(look) {
                Ok(seen) if seen[0] == width && seen[1].as_i64().is_some_and(|over| over <= 0) => Ok(()),
                other => Err(format!("width, and what is too wide: {other:?}")),
            }
        })?;
        page.picture(&format!("{name}-{width}-{scheme}"))?;
        let wrong = page.accessibility()?;
        ensure!(wrong.is_empty(), "{name} at {width} px, {scheme}: {wrong:#?}");
    }
    Ok(())
}

#[test]
fn a_manual_canary_deploy_is_led_to_its_end_by_clicks_only() -> Result<()> {
    let world = world(None, "  watch: 0s\n")?;
    let browser = Browser::start()?;
    let mut page = open(&browser, &world, "")?;
    page.until_text("#list", "Idle")?;
    let load = world.load()?;
    world.controller.write("deploy.yaml", &manual("v2"))?;
    page.until_text("#list", "waits for a person")?;
    looks_right(&mut page, "list")?;
    page.click("#list a[href='#/rollout/default/app']")?;
    page.until_text(".waits", "a person")?;
    page.until_text("table", "canary")?;
    page.until_text("#numbers", "Side by side")?;
    looks_right(&mut page, "rollout")?;
    let first = load.await_answers(ENOUGH)?;

    let will = say(&mut page, "continue", "ten is fine")?;
    ensure!(will.contains("from 10 % to 25 %"), "{will}");
    page.until_text("#said", "acked by all 1 proxies")?;
    page.until_text(".steps [aria-current]", "25 %")?;
    page.until_text(".waits", "a person")?;
    let second = load.await_answers(ENOUGH)?;

    say(&mut page, "continue", "so is twenty-five")?;
    page.until_text("#said", "acked by all 1 proxies")?;
    page.until_text(".steps [aria-current]", "50 %")?;
    page.until_text(".waits", "a person")?;
    let third = load.await_answers(ENOUGH)?;

    let will = say(&mut page, "continue", "so is half")?;
    ensure!(will.contains("main gets v2"), "{will}");
    page.until_text("h1", "Promoted")?;
    let done = load.await_answers(ENOUGH)?;
    page.until_text(".events", "so is half")?;
    clean(&mut page)?;
    let seen = load.stop_clean()?;
    for ((from, to), wanted) in [(first, 10.0), (second, 25.0), (third, 50.0), (done, 0.0)] {
        let (got, of) = share(&seen, from, to);
        ensure!(of > 200 && f64::abs(got - wanted) < 1.0, "the canary got {got} % of {of} requests, not {wanted} %");
    }
    let rollout = world.rollout()?;
    ensure!(rollout["stable"] == "v2" && rollout["history"].to_string().contains("ada"), "{rollout}");
    Ok(())
}

#[test]
fn over_a_slow_network_a_click_takes_the_canary_off_and_the_next_request_goes_to_main() -> Result<()> {
    let world = world(None, "")?;
    let browser = Browser::start()?;
    let load = world.load()?;
    world.controller.write("deploy.yaml", &manual("v2"))?;
    let mut page = open(&browser, &world, "#/rollout/default/app")?;
    page.until_text(".waits", "a person")?;
    let slow = json!({ "offline": false, "latency": 400, "downloadThroughput": 20_000, "uploadThroughput": 20_000 });
    page.call("Network.emulateNetworkConditions", &slow)?;
    let will = say(&mut page, "rollback", "second thoughts")?;
    ensure!(will.contains("The canary's 10 % goes to"), "{will}");
    page.until_text("h1", "RolledBack")?;
    page.until_text("#said", "acked by all 1 proxies")?;
    let after = Instant::now();
    load.await_answers(ENOUGH)?;
    clean(&mut page)?;
    load.stop_clean()?.only_since(after, "main")
}

#[test]
fn of_two_people_the_second_is_told_that_the_step_is_over_and_goes_on_by_keys_alone() -> Result<()> {
    let world = world(None, "")?;
    let (ada, bob) = (Browser::start()?, Browser::start()?);
    let (mut ada, mut bob) =
        (open(&ada, &world, "#/rollout/default/app")?, open(&bob, &world, "#/rollout/default/app")?);
    let load = world.load()?;
    world.controller.write("deploy.yaml", &manual("v2"))?;
    ada.until_text(".waits", "a person")?;
    ada.click("button[data-verb=continue]")?;
    bob.until_text(".waits", "a person")?;
    say(&mut bob, "continue", "quick")?;
    for page in [&mut ada, &mut bob] {
        page.until_text(".steps [aria-current]", "25 %")?;
        page.until_text(".waits", "a person")?;
    }
    ada.write("#by", "ada")?;
    ada.click("#ask button[type=submit]")?;
    ada.until_text("#ask [role=alert]", "that is about step 1, but it is at step 2")?;
    let rollout = world.rollout()?;
    ensure!(rollout["step"] == 2, "{rollout}");
    // Out of the dialog, and the focus is where it was; then all of it again, about the step that is.
    ada.press("Escape")?;
    let focus = ada.eval("document.activeElement.dataset.verb ?? document.activeElement.nodeName")?;
    ensure!(focus == "continue", "the focus is on {focus}");
    ada.press("Enter")?;
    ada.until_text("#ask-title", "Continue app")?;
    ada.press("Tab")?;
    ada.call("Input.insertText", &json!({ "text": "by keys" }))?;
    ada.press("Enter")?;
    ada.until_text(".steps [aria-current]", "50 %")?;
    ada.until_text(".events", "by keys")?;
    drop(load);
    // Chromium writes every answer that is no 200 to the console.
    let complaints = ada.complaints()?;
    ensure!(complaints.len() == 1 && complaints[0].contains("409"), "{complaints:#?}");
    clean(&mut bob)
}

#[test]
fn weights_of_a_plain_split_are_set_by_clicks_and_acked_before_the_page_says_so() -> Result<()> {
    let world = world(None, "")?;
    without_rollout(&world)?;
    let browser = Browser::start()?;
    let (mut page, mut other) = (open(&browser, &world, "")?, open(&browser, &world, "#/split/default/app")?);
    page.click("#list a[href='#/split/default/app']")?;
    looks_right(&mut page, "split")?;
    page.click("button[data-verb=weights]")?;
    page.write("#weight-0", "100")?;
    page.write("#weight-1", "0")?;
    page.until_text("#ask form [role=status]", "canary 100 %")?;
    page.click("#ask button[type=submit]")?;
    page.until_text("#said", "acked by all 1 proxies")?;
    let load = world.load()?;
    let from = Instant::now();
    other.until_text(".weights", "canary 100 %")?;
    load.await_answers(ENOUGH)?;
    load.stop_clean()?.only_since(from, "canary")?;
    clean(&mut page)?;
    clean(&mut other)
}

#[test]
fn what_looks_like_markup_is_shown_and_not_run() -> Result<()> {
    let world = world(None, "")?;
    let browser = Browser::start()?;
    let mut page = open(&browser, &world, "#/rollout/default/app")?;
    let load = world.load()?;
    world.controller.write("deploy.yaml", &manual("v2"))?;
    page.until_text(".waits", "a person")?;
    let evil = "<script>window.ran = 1</script><img src=x onerror='window.ran = 1'>";
    world.controller.cli(&["pause", "app", "--by", evil, "--reason", evil])?;
    page.until_text(".events", evil)?;
    drop(load);
    world.controller.write("broken.yaml", &format!("apiVersion: sluicegate.dev/v1alpha1\nkind: \"{evil}\"\n"))?;
    page.go(&address(&world, "#/"))?;
    page.until_text("#problems", "<script>")?;
    let ran = page.eval("[window.ran ?? null, document.querySelectorAll('script').length, document.querySelectorAll('main img').length]")?;
    ensure!(ran == json!([null, 1, 0]), "{ran}");
    // Were it in the page all the same, the policy would not run it.
    let handler = "try { document.body.setAttribute('onclick', 'window.ran = 1'); 'taken' } catch (e) { e.name }";
    ensure!(page.eval(handler)? == "TypeError", "an inline handler was taken");
    Ok(())
}

#[test]
fn a_page_of_another_site_can_neither_change_nor_read_anything() -> Result<()> {
    let world = world(None, "")?;
    without_rollout(&world)?;
    let before = generation(&world)?;
    let browser = Browser::start()?;
    let mut page = browser.open(&format!("http://{}/", world.envoy.listener(WEB)?))?;
    let body = json!({ "weights": { "canary": 100, "main": 0 } });
    as_another_site(&mut page, world.controller.admin, "/v1/splits/default/app/weights", &body)?;
    ensure!(generation(&world)? == before, "weights were changed");
    Ok(())
}

/// From where this page is, tries to act on a dashboard and to read it; fails if anything of that is answered to it.
pub(crate) fn as_another_site(page: &mut Page, to: SocketAddr, path: &str, body: &Value) -> Result<()> {
    let tried = page.eval(&format!(
        "(async () => {{ const said = []; \
         for (const [mode, type] of [['no-cors', 'text/plain'], ['cors', 'application/json']]) \
           said.push(await fetch('http://{to}{path}', {{ method: 'POST', mode, \
             headers: {{ 'content-type': type }}, body: JSON.stringify({body}) }}) \
             .then((answer) => answer.type, () => 'failed')); \
         said.push(await fetch('http://{to}/v1/splits').then(() => 'read', () => 'failed')); \
         said.push(await new Promise((done) => {{ const s = new EventSource('http://{to}/v1/events'); \
           s.onmessage = () => done('read'); s.onerror = () => {{ s.close(); done('failed'); }}; }})); \
         return said; }})()"
    ))?;
    ensure!(tried == json!(["opaque", "failed", "failed", "failed"]), "{tried}");
    Ok(())
}

#[test]
fn a_page_says_that_the_controller_is_gone_and_goes_on_when_it_is_back() -> Result<()> {
    let mut world = world(None, "")?;
    let browser = Browser::start()?;
    let mut page = open(&browser, &world, "#/rollout/default/app")?;
    let load = world.load()?;
    world.controller.write("deploy.yaml", &manual("v2"))?;
    page.until_text(".waits", "a person")?;
    clean(&mut page)?;
    world.controller.kill();
    page.until_text("#link", "no connection")?;
    page.picture("lost")?;
    world.controller.restart()?;
    page.until_text("#link", "live")?;
    page.until_text(".waits", "a person").context("after the restart")?;
    say(&mut page, "continue", "still fine")?;
    page.until_text(".steps [aria-current]", "25 %")?;
    load.stop_clean()?;
    Ok(())
}
