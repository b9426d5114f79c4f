//! What one weight change sends to a proxy, by the number of splits the controller has.

use anyhow::{Context as _, Result, ensure};
use sluicegate_core::message::MEDIA_TYPE;
use sluicegate_core::wire::{Abilities, Cursor, PROTOCOL, ProxyId, SYNC_PATH, Subscription, SyncAnswer, SyncRequest};
use sluicegate_tests::client::Client;
use sluicegate_tests::controller::Controller;

use crate::rig::{Rig, SPLITS};

pub(crate) fn run() -> Result<()> {
    println!(
        "### One weight change as sent to a proxy\n\n| splits | all of them, bytes | the change, bytes |\n|---|---|---|"
    );
    let rig = Rig::start()?;
    for (splits, controller) in SPLITS.into_iter().zip(rig.controllers.iter().skip(1)) {
        let (all, size) = sync(controller, None)?;
        ensure!(all.splits.len() == splits, "{} splits came, not {splits}", all.splits.len());
        controller.cli(&["set-weight", "--no-wait", "split-0", "canary=6"])?;
        let (change, delta) = sync(controller, Some(all.cursor))?;
        ensure!(change.splits.len() == 1, "{} splits came for one change", change.splits.len());
        println!("| {splits} | {size} | {delta} |");
    }
    println!();
    Ok(())
}

/// One sync as a filter makes it: the answer, and its size.
fn sync(controller: &Controller, cursor: Option<Cursor>) -> Result<(SyncAnswer, usize)> {
    let request = SyncRequest {
        sluicegate: PROTOCOL,
        proxy: ProxyId { epoch: 1, node: "bench".into(), plugin: "bench".into() },
        version: "bench".into(),
        abilities: Abilities { counts: true, cookies: true },
        subscription: Subscription::Hosts,
        full: cursor.is_none(),
        cursor,
        hold: 5_000,
        acks: Default::default(),
    };
    let headers = [("content-type", MEDIA_TYPE), ("accept", MEDIA_TYPE)];
    let answer = Client::connect(controller.proxy)?.request("POST", SYNC_PATH, &headers, &request.encode())?;
    ensure!(answer.status == 200, "the controller answers {}: {}", answer.status, answer.text());
    let message = SyncAnswer::decode(&answer.body).ok().context("the answer cannot be read")?;
    Ok((message, answer.body.len()))
}
