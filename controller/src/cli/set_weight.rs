//! `sluicegate set-weight`.

use super::{
    Common, Output,
    door::Door,
    get::{condition, short},
    object_name, print_as, rollout,
    serve::duration,
    text,
};
use crate::{
    admin::model::{Split, Weigh, WeightsSet},
    api::percent::Percent,
    rollouts::view::View,
};
use anyhow::{Result, bail};
use clap::Args;
use jiff::SignedDuration;
use sluicegate_core::rollout::plan::percent;
use std::{collections::BTreeMap, time::Duration};

/// How often a CanaryTest is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// Options of `set-weight`.
#[derive(Debug, Args)]
pub(super) struct SetWeight {
    /// The split or the CanaryTest: NAME, or NAMESPACE/NAME.
    #[arg(value_parser = object_name)]
    name: String,
    /// New weights of a split, where subsets that are not named keep theirs; or of a CanaryTest a number of percent, 0 to
    /// end it.
    #[arg(value_name = "SUBSET=WEIGHT or PERCENT", required = true, value_parser = given)]
    weights: Vec<Given>,
    /// The version that the CanaryTest is to try.
    #[arg(long = "try", value_name = "VERSION")]
    tries: Option<String>,
    /// Why, for the record of the CanaryTest.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Who says so, for the record of the CanaryTest.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    by: String,
    /// Do not wait until the proxies have acked.
    #[arg(long)]
    no_wait: bool,
    /// Longest to wait.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    common: Common,
}

/// What was typed after the name.
#[derive(Debug, Clone)]
enum Given {
    Subset(String, u32),
    Percent(u32),
}

fn given(typed: &str) -> Result<Given, String> {
    let Some((subset, weight)) = typed.split_once('=') else {
        let number = Percent::from_text(typed).thousandths();
        let hint = "write SUBSET=WEIGHT, for example v1=90, or for a CanaryTest a number of percent, for example 5";
        return number.map(Given::Percent).map_err(|why| match typed.starts_with(|c: char| c.is_ascii_digit()) {
            true => format!("{typed:?} {why}"),
            false => hint.to_owned(),
        });
    };
    let weight = weight.parse().map_err(|_| format!("{weight:?} is not a weight; weights are whole numbers from 0"))?;
    Ok(Given::Subset(subset.to_owned(), weight))
}

pub(super) fn run(set: &SetWeight) -> Result<()> {
    let door = Door::open(&set.common)?;
    if let [Given::Percent(weight)] = set.weights[..] {
        return test(set, &door, weight);
    }
    if set.tries.is_some() {
        bail!("--try is for a CanaryTest, whose weight is one number of percent");
    }
    let mut weights = BTreeMap::new();
    for given in &set.weights {
        let Given::Subset(subset, weight) = given else {
            bail!("a CanaryTest has one weight, and a split SUBSET=WEIGHT for each; give one or the other");
        };
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

/// Gives a CanaryTest its weight, and waits until that is what the proxies do.
fn test(set: &SetWeight, door: &Door, weight: u32) -> Result<()> {
    let name = door.full(&set.name)?;
    let weight = percent(weight);
    let weigh = Weigh {
        weight: Percent::from_text(&weight),
        version: set.tries.clone(),
        by: set.by.clone(),
        reason: set.reason.clone(),
    };
    let mut view = door.weigh(&name, &weigh)?;
    let until = text::now().saturating_add(SignedDuration::try_from(set.timeout)?)?;
    while !set.no_wait && !is_there(&view, &weight) && text::now() < until {
        pause();
        match door.rollout(&name)? {
            Some(now) => view = now,
            None => bail!("CanaryTest {name} was deleted meanwhile"),
        }
    }
    print_as(set.common.output, &view).unwrap_or_else(|| text::print(&rollout::line(&view)))?;
    if !set.no_wait && !is_there(&view, &weight) {
        let within = text::ms(set.timeout.as_secs_f64() * 1e3);
        bail!("the weight is written down, but not there within {within}; it waits for {}", view.waits);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "between two looks at a controller, until a deadline")]
fn pause() {
    std::thread::sleep(LOOK);
}

/// The proxies do what was asked for.
fn is_there(view: &View, weight: &str) -> bool {
    let published = view.weights.get("canary").is_none_or(|published| published == weight);
    published && view.phase == if weight == "0" { "Off" } else { "On" }
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
