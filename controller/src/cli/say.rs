//! `sluicegate continue`, `rollback`, `pause`, `resume`, `promote`, `undo`.

use super::{Common, door::Door, object_name, print_as, rollout, text};
use crate::admin::model;
use anyhow::Result;
use clap::Args;

/// Options of the verbs.
#[derive(Debug, Args)]
pub(super) struct Say {
    /// The rollout: NAME, or NAMESPACE/NAME.
    #[arg(value_parser = object_name)]
    name: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Who says so; a cluster knows by itself.
    #[arg(long, value_name = "NAME", env = "USER", default_value = "unknown")]
    by: String,
    /// Only if it is at this step, counting from 1.
    #[arg(long, value_name = "N")]
    step: Option<usize>,
    /// Even though the evidence says fail; kept in the record.
    #[arg(long = "override")]
    over_fail: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(verb: &str, say: &Say) -> Result<()> {
    let body = model::Say { by: say.by.clone(), reason: say.reason.clone(), step: say.step, over_fail: say.over_fail };
    let door = Door::open(&say.common)?;
    let view = door.say(&door.full(&say.name)?, verb, body)?;
    if let ("undo", Some(version)) = (verb, &view.version) {
        // Where what is wanted is kept in Git, somebody has to change it there.
        eprintln!(
            "main goes back to {}; its document still says {version}, which is not tried again until the document says \
             another version",
            view.stable
        );
    }
    print_as(say.common.output, &view).unwrap_or_else(|| text::print(&rollout::line(&view)))
}
