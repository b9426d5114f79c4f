//! `sluicegate set-weight`.

use super::{
    Common, Output,
    door::Door,
    get::{condition, short},
    object_name, print_as,
    serve::duration,
    text,
};
use crate::admin::model::{Split, WeightsSet};
use anyhow::{Result, bail};
use clap::Args;
use std::{collections::BTreeMap, time::Duration};

/// Options of `set-weight`.
#[derive(Debug, Args)]
pub(super) struct SetWeight {
    /// The split: NAME, or NAMESPACE/NAME.
    #[arg(value_parser = object_name)]
    name: String,
    /// New weights; subsets that are not named keep theirs.
    #[arg(value_name = "SUBSET=WEIGHT", required = true, value_parser = weight)]
    weights: Vec<(String, u32)>,
    /// Do not wait until the proxies have acked.
    #[arg(long)]
    no_wait: bool,
    /// Longest to wait.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    common: Common,
}

fn weight(typed: &str) -> Result<(String, u32), String> {
    let (subset, weight) = typed.split_once('=').ok_or("write SUBSET=WEIGHT, for example v1=90")?;
    let weight = weight.parse().map_err(|_| format!("{weight:?} is not a weight; weights are whole numbers from 0"))?;
    Ok((subset.to_owned(), weight))
}

pub(super) fn run(set: &SetWeight) -> Result<()> {
    let door = Door::open(&set.common)?;
    let mut weights = BTreeMap::new();
    for (subset, weight) in &set.weights {
        if weights.insert(subset.clone(), *weight).is_some() {
            bail!("subset {subset} is given twice");
        }
    }
    let wait = (!set.no_wait).then_some(set.timeout);
    let (done, split) = door.set_weights(&door.full(&set.name)?, weights, wait)?;
    if let Some(printed) = print_as(set.common.output, &split) {
        printed?;
    } else {
        text::print(&format!("{}\n", tell(set, &done, &split)))?;
    }
    if !set.no_wait && split.acked < split.live {
        let why = condition(&split, "Propagated").map_or("", |c| c.message.as_str());
        bail!(
            "the new weights are in force, but not acked within {}: {why}",
            text::ms(set.timeout.as_secs_f64() * 1e3)
        );
    }
    Ok(())
}

fn tell(set: &SetWeight, done: &WeightsSet, split: &Split) -> String {
    let unchanged = if done.changed { "" } else { ", as before" };
    let what = format!(
        "{}: {} (generation {}{unchanged})",
        short(&split.name),
        text::weights(&split.subsets),
        split.generation.unwrap_or(done.generation)
    );
    let share = format!("{}/{} proxies", split.acked, split.live);
    match split.propagated_ms {
        _ if split.live == 0 => format!("{what}, no live proxy subscribes"),
        Some(ms) if split.acked == split.live => format!("{what}, acked by {share} in {}", text::ms(ms)),
        _ if set.no_wait || set.common.output != Output::Table => what,
        _ => format!("{what}, acked by {share}"),
    }
}
