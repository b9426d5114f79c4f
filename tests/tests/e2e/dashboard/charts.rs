//! The charts of a rollout whose canary is slower, under load: what they show, that nothing on the page jumps while they
//! go on, and what is left of them when the controller is started again.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::browser::{Browser, PATIENCE, Page};
use sluicegate_tests::poll;

use super::{clean, looks_right, manual, open, say};
use crate::rollout::world;

/// Notes where each heading is, at every change of the page, and what the browser itself says has moved.
const WATCH: &str = "(() => { window.moved = []; window.places = {}; window.changes = 0; \
    new PerformanceObserver((list) => { for (const e of list.getEntries()) moved.push({ value: e.value, what: \
      e.sources.map((s) => (s.node?.outerHTML ?? s.node?.data ?? '').slice(0, 120)) }); }).observe({ type: 'layout-shift' }); \
    const note = () => { changes += 1; for (const h of document.querySelectorAll('main h1, main h2')) \
      (places[h.id || 'h1'] ??= new Set()).add(Math.round(h.getBoundingClientRect().top + scrollY)); }; \
    note(); new MutationObserver(note).observe(document.getElementById('main'), { childList: true, subtree: true, characterData: true, attributes: true }); \
    })()";

/// Each heading with all places it had; how often the page changed; how much moved, and what.
const WATCHED: &str = "(() => ({ changes, places: Object.fromEntries(Object.entries(places).map(([id, tops]) => [id, [...tops]])), \
    moved: moved.reduce((sum, one) => sum + one.value, 0), what: moved.map((one) => JSON.stringify(one)) }))()";

/// What the page knows, by the module that holds it.
const POINTS: &str = "import('/dashboard/stream.js').then(({ known }) => known.series?.points ?? [])";

fn points(page: &mut Page) -> Result<Vec<Value>> {
    Ok(serde_json::from_value(page.eval(POINTS)?)?)
}

/// Waits until so many points are there that have both sides.
fn until_points(page: &mut Page, count: usize) -> Result<Vec<Value>> {
    poll::until("points of both sides", PATIENCE, || {
        let points = points(page)?;
        let both = points.iter().filter(|p| p["sides"]["canary"].is_object() && p["sides"]["baseline"].is_object());
        let both: Vec<Value> = both.cloned().collect();
        if both.len() >= count { Ok(both) } else { Err(anyhow::anyhow!("{} of {count}", both.len())) }
    })
}

/// How high the label of a side is in a chart, in percent, and what it says.
fn label(page: &mut Page, chart: &str, side: &str) -> Result<(f64, String)> {
    let selector = format!("[data-chart={chart}] .end.of-{side}");
    let found = page.eval(&format!(
        "(() => {{ const e = document.querySelector({}); return [parseFloat(e.style.bottom), e.textContent]; }})()",
        json!(selector)
    ))?;
    Ok(serde_json::from_value(found)?)
}

fn scale(page: &mut Page, chart: &str) -> Result<Value> {
    page.eval(&format!(
        "[...['top', 'low'].map((end) => document.querySelector('[data-chart={chart}] .plot').dataset[end])]"
    ))
}

#[test]
fn a_slower_canary_is_seen_beside_the_baseline_nothing_jumps_and_weights_survive_a_restart() -> Result<()> {
    let mut world = world(Some("/?delay_ms=250"), "  watch: 0s\n")?;
    let browser = Browser::start()?;
    let mut page = open(&browser, &world, "#/rollout/default/app")?;
    page.until_text("section[aria-labelledby=charts]", "Nothing has been under way yet")?;
    page.until_text("section[aria-labelledby=judgments]", "sluicegate continue app")?;
    let load = world.load()?;
    world.controller.write("deploy.yaml", &manual("v2").replace("errors: {}", "errors: { max: 5% }"))?;
    page.until_text(".waits", "a person")?;
    until_points(&mut page, 1)?;
    page.eval(WATCH)?;
    let seen = until_points(&mut page, 2)?;
    let watched = page.eval(WATCHED)?;
    ensure!(watched["changes"].as_u64() > Some(10), "the page hardly changed: {watched}");
    for (heading, tops) in watched["places"].as_object().context("no headings")? {
        ensure!(tops.as_array().is_some_and(|tops| tops.len() == 1), "{heading} was at {tops}: {watched:#}");
    }
    ensure!(watched["moved"].as_f64().is_some_and(|moved| moved < 0.01), "the page jumps: {watched:#}");

    let p95 = |point: &Value, side: &str, at: usize| point["sides"][side]["p95"][at].as_f64();
    for point in &seen {
        ensure!(p95(point, "canary", 0) > Some(200.0) && p95(point, "baseline", 0).is_some(), "{point}");
    }
    // However busy the machine is: the whole band is above the other.
    ensure!(seen.iter().any(|point| p95(point, "canary", 1) > p95(point, "baseline", 2)), "{seen:?}");
    poll::until("the canary's p95 above the baseline's", PATIENCE, || {
        let (canary, baseline) = (label(&mut page, "p95", "canary")?, label(&mut page, "p95", "baseline")?);
        let above = canary.0 > baseline.0 && canary.1.contains("ms") && baseline.1.contains("ms");
        if above { Ok(()) } else { Err(anyhow::anyhow!("{canary:?} {baseline:?}")) }
    })?;
    let scales = [scale(&mut page, "p50")?, scale(&mut page, "p95")?, scale(&mut page, "p99")?];
    ensure!(scales[0] == scales[1] && scales[1] == scales[2] && scales[0][0].is_string(), "{scales:?}");

    // What fails it and what passes it, of harm, of harmlessness, and of the limit.
    page.until_text(".evidence", "10 does not pass by itself, 100 rolls back")?;
    page.until_text(".evidence", "20 proves it")?;
    page.until_text(".evidence", "against the limit of 5.0 % errors")?;
    page.until_text(".evidence .sight", "more requests of both prove it harmless")?;
    let marks = page.eval("document.querySelectorAll('.evidence .scale .mark.limit').length")?;
    ensure!(marks == 5, "{marks} thresholds are marked");

    say(&mut page, "continue", "ten is fine")?;
    page.until_text(".steps [aria-current]", "25 %")?;
    page.until_text(".waits", "a person")?;
    page.until_text("[data-chart=weights] .axis", "steps 1, 2")?;
    page.until_text("[data-chart=weights] .ends", "canary 25 %")?;
    for part in ["ada", "continue", "ten is fine", "step 2 of 3"] {
        page.until_text("section[aria-labelledby=judgments] tbody", part)?;
    }
    looks_right(&mut page, "charts")?;

    // By keys alone to the beginning of the time shown, then by mouse.
    page.eval("document.getElementById('moment').focus()")?;
    for kind in ["keyDown", "keyUp"] {
        let key = json!({ "type": kind, "key": "Home", "code": "Home", "windowsVirtualKeyCode": 36 });
        page.call("Input.dispatchKeyEvent", &key)?;
    }
    page.until_text(".readout", "main 100 %")?;
    let spoken = page.eval("document.getElementById('moment').getAttribute('aria-valuetext')")?;
    ensure!(spoken.as_str().is_some_and(|text| text.contains("main 100 %")), "{spoken}");
    let place = "(() => { const p = document.querySelector('[data-chart=rate] .plot'); p.scrollIntoView({ block: 'center', behavior: 'instant' }); \
        const b = p.getBoundingClientRect(); return { x: b.right - 3, y: b.y + b.height / 2 }; })()";
    let place = page.eval(place)?;
    page.call("Input.dispatchMouseEvent", &json!({ "type": "mouseMoved", "x": place["x"], "y": place["y"] }))?;
    page.until_text(".readout", "canary 25 %")?;
    page.eval("document.querySelector('.as-table').open = true")?;
    page.until_text(".as-table tbody", "canary")?;
    clean(&mut page)?;

    world.controller.kill();
    page.until_text("#link", "no connection")?;
    world.controller.restart_with(&["--report-interval", "200ms"])?;
    page.until_text("#link", "live")?;
    page.until_text("[data-chart=weights] .axis", "steps 1, 2").context("after the restart")?;
    let since = until_points(&mut page, 1)?;
    ensure!(since.len() < 2, "the memory is new: {since:?}");
    page.until_text("section[aria-labelledby=judgments] tbody", "ten is fine")?;
    page.picture("charts-restarted")?;
    load.stop_clean()?;
    Ok(())
}

#[test]
fn without_a_memory_of_counts_the_page_says_so_and_draws_the_weights_from_the_history() -> Result<()> {
    let world = world(None, "")?;
    let browser = Browser::start()?;
    let mut page = open(&browser, &world, "#/rollout/default/app")?;
    // The page as whoever has only the rollout's record feeds it.
    let drawn = page.eval(
        "Promise.all([import('/dashboard/charts.js'), import('/dashboard/times.js'), import('/dashboard/stream.js')]).then(([charts, times, { known }]) => { \
         const at = (s) => new Date(Date.now() - s * 1000).toISOString(); \
         const entry = (s, phase, step, canary) => ({ at: at(s), phase, message: 'm', step, ...(canary === undefined ? {} : { weights: { canary: String(canary), baseline: String(canary), main: String(100 - 2 * canary) } }) }); \
         const rest = { at: at(900), phase: 'Promoted', message: 'm', weights: { main: '100' } }; \
         const history = [entry(990, 'Scale', 1), entry(950, 'Weigh', 1, 50), rest, entry(600, 'Scale', 1), entry(500, 'Weigh', 1, 10), entry(490, 'Hold', 1), entry(200, 'Weigh', 2, 25), entry(190, 'Hold', 2)]; \
         const view = { name: 'a/b', file: 'f.yaml', kind: 'CanaryDeploy', phase: 'Hold', history, weights: { canary: '25', baseline: '25', main: '50' } }; \
         known.series = null; \
         const section = charts.charts(view); \
         const run = times.run(view, null, Date.now()); \
         const done = times.run({ ...view, phase: 'Promoted', history: history.slice(0, 3) }, null, Date.now()); \
         return { charts: section.querySelectorAll('.chart').length, says: section.querySelector('#no-series').textContent, \
           began: Math.round((Date.now() - run.from) / 1000), weights: run.weights.map((one) => one.weights.canary ?? 0), marks: run.marks.map((one) => one.step), \
           never: times.run({ ...view, history: [rest] }, null, Date.now()), lasted: Math.round((done.until - done.from) / 1000), end: done.weights.at(-1).weights.main }; })",
    )?;
    let says = drawn["says"].as_str().unwrap_or_default().to_owned();
    ensure!(drawn["charts"] == 1 && says.contains("The weights are from the rollout's history"), "{drawn}");
    ensure!(
        drawn["began"] == 600 && drawn["weights"] == json!([0, 10, 25]) && drawn["marks"] == json!([1, 2]),
        "{drawn}"
    );
    ensure!(drawn["never"].is_null() && drawn["lasted"] == 150 && drawn["end"] == 100, "{drawn}");
    clean(&mut page)
}
