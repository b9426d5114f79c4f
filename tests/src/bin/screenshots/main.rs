//! `make screenshots`: the two pictures of the dashboard that the README shows, of real rollouts under load.
//!
//! In: nothing. Out: `docs/pictures/list.png` and `docs/pictures/rollout.png`, 1280 px wide, light.
#![allow(clippy::disallowed_methods, reason = "waits for real processes")]

mod shop;

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::browser::{Browser, Page};
use sluicegate_tests::paths;

use shop::Shop;

const WIDTH: u32 = 1280;
/// No picture is higher: it ends with the last part that fits.
const HIGHEST: u64 = 1_400;
/// They are in the repository, again with each change.
const LARGEST: usize = 250_000;

fn main() -> Result<()> {
    let shop = Shop::open()?;
    let browser = Browser::start()?;
    let mut page = browser.open(&format!("http://{}/", shop.controller.admin))?;
    // Nothing that moves on its way somewhere.
    let features = [("prefers-color-scheme", "light"), ("prefers-reduced-motion", "reduce")];
    let features = features.map(|(name, value)| json!({ "name": name, "value": value }));
    page.call("Emulation.setEmulatedMedia", &json!({ "features": features }))?;
    page.call("Emulation.setScrollbarsHidden", &json!({ "hidden": true }))?;
    for part in ["waits for a person", "RolledBack", "Promoted", "images.yaml"] {
        page.until_text("main", part)?;
    }
    take(&mut page, "list")?;
    page.go(&format!("http://{}/#/rollout/default/checkout", shop.controller.admin))?;
    page.until_text("h1", "checkout")?;
    page.until_text("#numbers", "Side by side")?;
    take(&mut page, "rollout")
}

fn take(page: &mut Page, name: &str) -> Result<()> {
    page.size(WIDTH, 900)?;
    let ends = format!(
        "Math.max(...[...document.querySelectorAll('main, main section, main .now, main li')] \
         .map((e) => Math.ceil(e.getBoundingClientRect().bottom)).filter((bottom) => bottom < {HIGHEST}))"
    );
    let height = page.eval(&ends)?.as_u64().unwrap_or(900);
    page.size(WIDTH, u32::try_from(height)? + 8)?;
    page.eval("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")?;
    let file = paths::repo().join(format!("docs/pictures/{name}.png"));
    let size = page.picture_to(&file)?;
    println!("docs/pictures/{name}.png: {WIDTH} x {}, {size} bytes", height + 8);
    ensure!(size < LARGEST, "docs/pictures/{name}.png has {size} bytes, and {LARGEST} are the most");
    let complaints = page.complaints()?;
    ensure!(complaints.is_empty(), "the console complains: {complaints:#?}");
    Ok(())
}
