//! `sluicegate watch`.

use super::{
    Common, Output, describe,
    door::Door,
    get::{acked, condition},
    object_name, print_as, rollout, text,
};
use crate::admin::model::Split;
use anyhow::Result;
use clap::Args;
use std::{
    io::{IsTerminal, stdout},
    time::Duration,
};

/// Often enough to look alive, seldom enough to cost nothing.
const PERIOD: Duration = Duration::from_millis(500);

/// Options of `watch`.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The rollout or split: NAME, or NAMESPACE/NAME.
    #[arg(value_parser = object_name)]
    name: String,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(watch: &Watch) -> Result<()> {
    let door = Door::open(&watch.common)?;
    let name = door.full(&watch.name)?;
    let redraw = stdout().is_terminal() && watch.common.output == Output::Table;
    let mut last = String::new();
    loop {
        // A rollout often has the name of its split; it is what moves.
        let rollout = door.rollout(&name)?;
        let (screen, now, value) = match &rollout {
            Some(view) => (rollout::render(view, text::colour()), rollout::line(view), serde_json::to_value(view)?),
            None => {
                let split = door.split(&name)?;
                (describe::render(&split, text::colour()), line(&split), serde_json::to_value(&split)?)
            }
        };
        if redraw {
            // Home, and clear what is below: no flicker.
            text::print(&format!("\x1b[H{}\x1b[J", screen.replace('\n', "\x1b[K\n")))?;
        } else if now != last {
            print_as(watch.common.output, &value).unwrap_or_else(|| text::print(&now))?;
            last = now;
        }
        pause();
    }
}

fn line(split: &Split) -> String {
    let status = |kind| condition(split, kind).map_or("Unknown", |c| c.status.as_str());
    format!(
        "{} {} generation={} acked={} accepted={} propagated={}\n",
        split.name,
        text::weights(&split.subsets),
        split.generation.unwrap_or(0),
        acked(split).0,
        status("Accepted"),
        status("Propagated"),
    )
}

#[expect(clippy::disallowed_methods, reason = "redraws at a pace for people; waits for nothing")]
fn pause() {
    std::thread::sleep(PERIOD);
}
