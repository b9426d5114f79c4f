//! The list with a thousand splits, and with none, in a real browser.
//!
//! How long something takes is the machine's, and on a busy one it is seconds: that is printed. What is looked at is what makes it
//! quick anywhere: how many rows are drawn at once, which of them an event touches, which of them the browser lays out.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_core::wire::Subscription;
use sluicegate_tests::browser::{Browser, PATIENCE, Page};
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::fleet::Fleet;
use sluicegate_tests::poll;

const SPLITS: usize = 1_000;
/// Splits in a file.
const PAGE: usize = 100;
const ROLLOUTS: usize = 3;
const PROXIES: usize = 2;
/// As list.js has it.
const SLICE: u64 = 50;
/// Watches the page from before it begins: what came, what was drawn, and what that cost. Times go by each second, and are left out.
const WATCH: &str = "
  window.seen = { hellos: 0, made: 0, most: 0, long: 0, shifted: 0, rows: {} };
  window.EventSource = class extends EventSource {
    constructor(url) {
      super(url);
      window.line = this;
      this.addEventListener('message', (event) => { if (event.data.includes('\"hello\"')) seen.hellos += 1; });
    }
  };
  const make = Document.prototype.createElement;
  Document.prototype.createElement = function (...of) { seen.made += 1; return make.apply(this, of); };
  new PerformanceObserver((list) => { for (const e of list.getEntries()) seen.long = Math.max(seen.long, e.duration); })
    .observe({ type: 'longtask', buffered: true });
  // The list as a whole begins elsewhere when a row comes above the screen; what is seen of it is where it was.
  const moved = ({ previousRect: a, currentRect: b }) => Math.abs(a.top - b.top) > 2 || Math.abs(a.left - b.left) > 2;
  new PerformanceObserver((list) => {
    for (const e of list.getEntries()) if (!e.hadRecentInput && e.sources.some(moved)) seen.shifted += e.value;
  }).observe({ type: 'layout-shift', buffered: true });
  new MutationObserver((changes) => {
    const rows = new Set();
    for (const { target, addedNodes, removedNodes } of changes) {
      const at = target.nodeType === 1 ? target : target.parentElement;
      if (at?.closest('time')) continue;
      const row = at?.closest('#list > li');
      if (row) rows.add(row.dataset.key);
      else if (at?.id === 'list') for (const node of [...addedNodes, ...removedNodes]) rows.add(node.dataset.key);
    }
    seen.most = Math.max(seen.most, rows.size);
    for (const key of rows) seen.rows[key] = (seen.rows[key] ?? 0) + 1;
  }).observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
";
/// After what came has been drawn.
const DRAWN: &str = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))";

fn name(index: usize) -> String {
    format!("service-{index:04}")
}

/// The file with these splits, of which some have other weights.
fn file(page: usize, changed: &[usize]) -> String {
    let document = |index: usize| {
        let weights = if changed.contains(&index) { [("v1", 50), ("v2", 50)] } else { [("v1", 90), ("v2", 10)] };
        split_yaml(&name(index), &weights, &format!("hosts: [{}.shop.test]", name(index)))
    };
    (page * PAGE..(page + 1) * PAGE).map(document).collect::<Vec<_>>().join("---\n")
}

fn rollout(index: usize) -> String {
    let split = split_yaml(&format!("rolled-{index}"), &[("canary", 0), ("main", 100), ("baseline", 0)], "")
        .replace("default: canary", "default: main");
    format!(
        "{split}---\napiVersion: sluicegate.dev/v1alpha1\nkind: CanaryDeploy\nmetadata: {{ name: rolled-{index} }}\n\
         spec: {{ version: v1, splits: [rolled-{index}], steps: [10, 50], hold: 1s, judge: {{ errors: {{}} }} }}\n"
    )
}

fn many() -> Result<Controller> {
    let pages = (0..SPLITS / PAGE).map(|page| (format!("services-{page}.yaml"), file(page, &[])));
    let files: Vec<(String, String)> =
        pages.chain((0..ROLLOUTS).map(|i| (format!("rolled-{i}.yaml"), rollout(i)))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, yaml)| (name.as_str(), yaml.as_str())).collect();
    Controller::start(&files)
}

/// Waits until an expression of the page is true.
fn until(page: &mut Page, what: &str, script: &str) -> Result<()> {
    poll::until(what, PATIENCE, || {
        match page.eval(script) {
            Ok(Value::Bool(true)) => Ok(()),
            _ => Err(page.eval("JSON.stringify(seen).slice(0, 300) + document.querySelector('#count')?.textContent")),
        }
        .map_err(|seen| format!("{seen:?}"))
    })
}

/// What was seen since this was last asked.
fn take(page: &mut Page) -> Result<Value> {
    page.eval(
        "(() => { const was = seen; window.seen = { ...was, made: 0, most: 0, long: 0, shifted: 0, rows: {} }; return was; })()",
    )
}

fn touched(seen: &Value) -> Vec<&String> {
    seen["rows"].as_object().into_iter().flatten().map(|(key, _)| key).collect()
}

/// Nothing is done all at once, and nothing that is seen goes elsewhere.
fn at_ease(seen: &Value, during: &str) -> Result<()> {
    let (long, shifted) = (seen["long"].as_f64().unwrap_or(0.0), seen["shifted"].as_f64().unwrap_or(0.0));
    println!(
        "{during}: the longest task took {long:.0} ms, at most {} rows at once, shifted {shifted:.4}",
        seen["most"]
    );
    // Words in the header change their length, which counts for less than 0.01.
    ensure!(shifted < 0.05, "{during} the page jumped: {shifted}");
    ensure!(
        seen["most"].as_u64().is_some_and(|most| most <= SLICE),
        "{during} {} rows were drawn at once",
        seen["most"]
    );
    Ok(())
}

/// Says of each split's row that it was there, so that one that takes its place is found. A controller that has just begun tells of its
/// splits, and of its rollouts a moment later.
const MARK: &str = "document.querySelectorAll('#list > li[data-key^=split]').forEach((row) => (row.known = true))";
const STRANGERS: &str =
    "[...document.querySelectorAll('#list > li[data-key^=split]')].filter((row) => !row.known).length";
/// The first row below the header: its name, and where it is.
const FIRST: &str = "(() => { const row = document.elementFromPoint(200, 120).closest('#list > li'); \
                     return [row.dataset.key, Math.round(row.getBoundingClientRect().top)]; })()";
const HEIGHT: &str = "document.documentElement.scrollHeight";

#[test]
fn of_a_thousand_splits_only_what_changed_is_drawn_and_nothing_jumps() -> Result<()> {
    let mut controller = many()?;
    let _fleet = Fleet::start(controller.proxy, PROXIES, &Subscription::Hosts)?;
    poll::until("the last split to be acked", PATIENCE, || {
        let split =
            controller.json(&format!("/v1/splits/default/{}", name(SPLITS - 1))).map_err(|why| why.to_string())?;
        if split["acked"] == PROXIES { Ok(()) } else { Err(split["conditions"].to_string()) }
    })?;
    let browser = Browser::start()?;
    let mut page = browser.open("about:blank")?;
    page.call("Page.addScriptToEvaluateOnNewDocument", &json!({ "source": WATCH }))?;
    page.go(&format!("http://{}/", controller.admin))?;
    let rows = SPLITS + 2 * ROLLOUTS;
    until(&mut page, "all rows", &format!("document.querySelectorAll('#list > li').length === {rows}"))?;
    page.eval(DRAWN)?;
    let seen = take(&mut page)?;
    ensure!(touched(&seen).len() == rows, "{} rows were drawn", touched(&seen).len());
    at_ease(&seen, "while it was loaded")?;

    // To scroll, nothing is drawn by us, and the browser lays out what is near; so it is told right how high the rest is.
    let height = page.eval(HEIGHT)?;
    page.eval(
        "window.frames = 0; requestAnimationFrame(function count() { frames += 1; requestAnimationFrame(count); }); 0",
    )?;
    let gesture = json!({ "x": 640, "y": 500, "yDistance": -24_000, "speed": 16_000, "gestureSourceType": "mouse" });
    page.call("Input.synthesizeScrollGesture", &gesture)?;
    page.eval(DRAWN)?;
    let near = "[...document.querySelectorAll('#list .cell')].filter((cell) => cell.checkVisibility({ contentVisibilityAuto: true })).length / 7";
    let (near, at, frames) = (page.eval(near)?, page.eval("scrollY")?, page.eval("frames")?);
    ensure!(at.as_f64().is_some_and(|at| at > 20_000.0), "it scrolled to {at}");
    ensure!(near.as_f64().is_some_and(|near| near < 150.0), "{near} rows are laid out");
    println!("{frames} frames in one and a half seconds of scrolling");
    ensure!(page.eval(HEIGHT)? == height, "the page is {} px high, and was {height}", page.eval(HEIGHT)?);
    let seen = take(&mut page)?;
    ensure!(touched(&seen).is_empty(), "scrolling drew {:?}", touched(&seen));
    at_ease(&seen, "while it was scrolled")?;

    // Weights change, of what is seen: these rows are renewed, where they are.
    let first = page.eval(FIRST)?;
    let begin: usize =
        first[0].as_str().and_then(|key| key.strip_prefix("split/default/service-")?.parse().ok()).context("no row")?;
    let file_of = begin / PAGE;
    let changed: Vec<usize> = (0..5).map(|n| (begin + 2 * n).min(file_of * PAGE + PAGE - 1)).collect();
    controller.write(&format!("services-{file_of}.yaml"), &file(file_of, &changed))?;
    let row =
        |index: usize| format!("document.querySelector('[data-key=\"split/default/{}\"]').textContent", name(index));
    for index in &changed {
        let (text, acked) = (row(*index), format!("{PROXIES}/{PROXIES}"));
        until(&mut page, "the new weights", &format!("{text}.includes('v2 50 %') && {text}.includes('{acked}')"))?;
    }
    page.eval(DRAWN)?;
    let seen = take(&mut page)?;
    let expected: Vec<String> = changed.iter().map(|index| format!("split/default/{}", name(*index))).collect();
    ensure!(touched(&seen).iter().all(|key| expected.contains(key)), "{:?}, not {expected:?}", touched(&seen));
    ensure!(page.eval(FIRST)? == first, "{first} went to {}", page.eval(FIRST)?);
    at_ease(&seen, "while weights changed")?;

    // One is refused, and so comes first; then it goes back to its place among all others. Nobody else moves, not even on the screen.
    for (weights, says) in [(["0", "0"], "✕"), (["90", "10"], "v1 90 %")] {
        let [v1, v2] = weights.map(|weight| weight.parse().unwrap_or(0));
        let last = split_yaml(
            &name(SPLITS - 1),
            &[("v1", v1), ("v2", v2)],
            &format!("hosts: [{}.shop.test]", name(SPLITS - 1)),
        );
        let others = file(SPLITS / PAGE - 1, &[]);
        let (others, _) = others.rsplit_once("---\n").context("no documents")?;
        controller.write(&format!("services-{}.yaml", SPLITS / PAGE - 1), &format!("{others}---\n{last}"))?;
        let ok = says != "✕";
        let place =
            format!("document.querySelector('#list').{}ElementChild.dataset.key", if ok { "last" } else { "first" });
        let there = format!(
            "{place}.endsWith('{0}') && {1}.includes('{says}') && {1}.includes('✕') !== {ok}",
            name(SPLITS - 1),
            row(SPLITS - 1)
        );
        until(&mut page, "the split to go to its place", &there)?;
        page.eval(DRAWN)?;
        let seen = take(&mut page)?;
        ensure!(touched(&seen) == [&format!("split/default/{}", name(SPLITS - 1))], "{:?}", touched(&seen));
        ensure!(page.eval(FIRST)? == first, "{first} went to {}", page.eval(FIRST)?);
        at_ease(&seen, "while one went elsewhere")?;
    }

    // The line breaks. Everything comes again, and is as it was.
    page.eval(MARK)?;
    page.eval("line.dispatchEvent(new Event('error'))")?;
    until(&mut page, "everything to come again", "seen.hellos === 2")?;
    page.eval(DRAWN)?;
    page.until_text("#link", "live")?;
    let seen = take(&mut page)?;
    ensure!(touched(&seen).is_empty(), "after a reconnect {} rows were changed", touched(&seen).len());
    ensure!(
        seen["made"].as_u64().is_some_and(|made| made < 50),
        "after a reconnect {} elements were made",
        seen["made"]
    );
    at_ease(&seen, "while it reconnected")?;

    // Another controller knows no acks for a while: every row changes, some at a time, and stays where it is.
    controller.kill();
    page.until_text("#link", "no connection")?;
    controller.restart()?;
    let behind = format!(
        "seen.hellos === 3 && [...document.querySelectorAll('#list > li')].filter((row) => row.textContent.includes('{PROXIES}/{PROXIES}')).length === {SPLITS}"
    );
    until(&mut page, "all acks to be back", &behind)?;
    page.eval(DRAWN)?;
    ensure!(page.eval(STRANGERS)? == 0, "{} rows were made anew", page.eval(STRANGERS)?);
    let seen = take(&mut page)?;
    at_ease(&seen, "while the controller was another")
}

#[test]
fn an_empty_list_says_what_to_paste_and_that_works() -> Result<()> {
    let controller = Controller::start(&[])?;
    let browser = Browser::start()?;
    let mut page = browser.open(&format!("http://{}/", controller.admin))?;
    page.until_text("#empty", "no split and no rollout yet")?;
    page.size(375, 900)?;
    let wrong = page.accessibility()?;
    ensure!(wrong.is_empty(), "{wrong:#?}");
    let said = page.eval("[...document.querySelectorAll('#empty code, #empty pre')].map((e) => e.textContent)")?;
    let said: Vec<String> = serde_json::from_value(said)?;
    let find =
        |part: &str| said.iter().find(|text| text.contains(part)).with_context(|| format!("no {part:?}: {said:?}"));
    controller.write(find(".yaml")?, find("kind: TrafficSplit")?)?;
    page.until_text("#list", "v1 90 %, v2 10 %")?;
    ensure!(page.text("#empty")?.is_empty(), "{}", page.text("#empty")?);
    let command: Vec<&str> = find("sluicegate set-weight")?.split(' ').skip(1).collect();
    controller.cli(&command)?;
    page.until_text("#list", "v1 50 %, v2 50 %")?;
    let complaints = page.complaints()?;
    ensure!(complaints.is_empty(), "{complaints:#?}");
    Ok(())
}
