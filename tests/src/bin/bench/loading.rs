//! What loading a filter takes: CPU of an Envoy process from its start until its one listener answers, less that of one
//! without a filter.

use anyhow::Result;
use sluicegate_tests::client;
use sluicegate_tests::envoy::{Envoy, Options};

use crate::rig::Rig;
use crate::variants::{COUNTS, NONE, RAW, SDK, SPLIT, Variant, one_worker};

const STARTS: usize = 5;

pub(crate) fn run() -> Result<()> {
    let rig = Rig::start()?;
    println!(
        "### Loading one filter: Envoy CPU ms added to a start, median of {STARTS}\n\n| variant | ms | range |\n|---|---|---|"
    );
    let variants = one_worker(&rig);
    let chosen = |name: &str| variants.iter().find(|one| one.name == name);
    let Some(none) = chosen(NONE).map(|none| starts(&rig, none)).transpose()? else { return Ok(()) };
    for variant in [SDK, RAW, SPLIT, COUNTS].into_iter().filter_map(chosen) {
        let own = starts(&rig, variant)?;
        let added = |at: usize| own[at] - none[STARTS / 2];
        println!("| {} | {:.0} | {:.0} … {:.0} |", variant.name, added(STARTS / 2), added(0), added(STARTS - 1));
    }
    println!();
    Ok(())
}

/// CPU ms of each start, sorted.
fn starts(rig: &Rig, variant: &Variant) -> Result<Vec<f64>> {
    let mut all = Vec::new();
    for _ in 0..STARTS {
        let mut options = Options::new(vec![variant.listener.clone()], rig.clusters()).workers(1);
        options.log = "warning".to_owned();
        let envoy = Envoy::start(options)?;
        client::get(envoy.listener(variant.name)?, "/")?;
        all.push(envoy.cpu()?.as_secs_f64() * 1e3);
    }
    all.sort_by(f64::total_cmp);
    Ok(all)
}
