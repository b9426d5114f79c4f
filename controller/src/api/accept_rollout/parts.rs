//! What a CanaryDeploy and a CanaryTest have in common, from written to meant.

use super::{CommandLine, Webhook};
use crate::api::{
    accept::{Refusal, refuse},
    percent::{Percent, duration},
    rollout::{SplitEntry, WebhookSpec, WorkloadsSpec},
    tree::Step,
};
use sluicegate_core::name;
use std::time::Duration;

/// Most splits one rollout drives.
const MAX_SPLITS: usize = 100;
/// Unless given.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);
const WEBHOOK_RETRIES: u32 = 3;
/// Longest that may be given; a rollout stands still meanwhile.
const MAX_COMMAND_TIMEOUT: Duration = Duration::from_secs(3600);
const MAX_WEBHOOK_TIMEOUT: Duration = Duration::from_secs(600);
const MAX_RETRIES: u32 = 20;

/// The user's own command.
pub(super) fn command(written: Option<&WorkloadsSpec>) -> Result<Option<CommandLine>, Refusal> {
    let Some(WorkloadsSpec { command, timeout }) = written else { return Ok(None) };
    let program = command.first().map(String::as_str).unwrap_or_default();
    if program.is_empty() || command.iter().any(|word| word.contains('\0')) {
        return refuse(
            ["spec".into(), "workloads".into(), "command".into()],
            "command is empty; write for example command: [./workloads.sh]",
        );
    }
    if command.len() == 1 && program.contains(char::is_whitespace) {
        let words: Vec<_> = program.split_whitespace().collect();
        return refuse(
            ["spec".into(), "workloads".into(), "command".into(), 0.into()],
            format!("no shell takes {program:?} apart; write command: [{}]", words.join(", ")),
        );
    }
    let path = ["spec".into(), "workloads".into(), "timeout".into()];
    let timeout = time(timeout.as_deref(), COMMAND_TIMEOUT, Duration::from_millis(1), MAX_COMMAND_TIMEOUT, path)?;
    Ok(Some(CommandLine { command: command.clone(), timeout }))
}

/// The full name of something that is written `name` or `namespace/name`.
pub(super) fn full_name(own: &str, written: &str) -> String {
    match own.split_once('/') {
        Some((namespace, _)) if !written.contains('/') => format!("{namespace}/{written}"),
        _ => written.to_owned(),
    }
}

/// The splits by their full names, with the weights of their own as written.
pub(super) fn splits<'a>(own: &str, written: &'a [SplitEntry]) -> Result<Vec<(String, &'a [Percent])>, Refusal> {
    let at = |path: &[Step]| [&["spec".into(), "splits".into()][..], path].concat();
    match written.len() {
        0 => {
            return Err(Refusal {
                path: at(&[]),
                message: "there are no splits; name the TrafficSplits to drive, for example splits: [hello-app]".into(),
            });
        }
        1..=MAX_SPLITS => {}
        many => {
            let message = format!("there are {many} splits; at most {MAX_SPLITS} are accepted");
            return Err(Refusal { path: at(&[]), message });
        }
    }
    let mut splits: Vec<(String, &[Percent])> = Vec::new();
    for (i, entry) in written.iter().enumerate() {
        let (given, steps, path) = match entry {
            SplitEntry::Name(name) => (name, &[][..], at(&[i.into()])),
            SplitEntry::Own(own) => (&own.name, &own.steps[..], at(&[i.into(), "name".into()])),
        };
        let full = full_name(own, given);
        if let Err(why) = name::split(&full) {
            return Err(Refusal { path, message: why.to_string() });
        }
        if splits.iter().any(|(name, _)| *name == full) {
            return Err(Refusal { path, message: format!("split {full} is listed twice") });
        }
        splits.push((full, steps));
    }
    Ok(splits)
}

/// Programs to be told, or asked.
pub(super) fn webhooks(written: &[WebhookSpec]) -> Result<Vec<Webhook>, Refusal> {
    let webhook = |(i, hook): (usize, &WebhookSpec)| {
        let at = |field: &'static str| ["spec".into(), "webhooks".into(), i.into(), field.into()];
        if let Err(why) = url(&hook.url) {
            return refuse(at("url"), why);
        }
        let retries = hook.retries.unwrap_or(WEBHOOK_RETRIES);
        if retries > MAX_RETRIES {
            return refuse(
                at("retries"),
                format!("{retries} retries are too many; at most {MAX_RETRIES} are accepted"),
            );
        }
        let timeout = hook.timeout.as_deref();
        let (least, most) = (Duration::from_millis(1), MAX_WEBHOOK_TIMEOUT);
        Ok(Webhook {
            url: hook.url.clone(),
            phase: hook.phase,
            timeout: time(timeout, WEBHOOK_TIMEOUT, least, most, at("timeout"))?,
            retries,
            secret_file: hook.secret_file.as_ref().map(Into::into),
            ca_file: hook.ca_file.as_ref().map(Into::into),
        })
    };
    written.iter().enumerate().map(webhook).collect()
}

/// Whether this can be called at all.
pub(super) fn url(written: &str) -> Result<(), String> {
    let rest = written.strip_prefix("http://").or_else(|| written.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let clean = !written.contains(|c: char| c.is_whitespace() || c.is_control());
    match clean && !host.is_empty() && !host.starts_with(':') {
        true => Ok(()),
        false => Err("the url must be http://HOST/… or https://HOST/…".to_owned()),
    }
}

/// A duration within these bounds, both included.
pub(super) fn time<const N: usize>(
    written: Option<&str>,
    unless_given: Duration,
    least: Duration,
    most: Duration,
    path: [Step; N],
) -> Result<Duration, Refusal> {
    let Some(text) = written else { return Ok(unless_given) };
    match duration(text) {
        Some(time) if time >= least && time <= most => Ok(time),
        Some(_) => refuse(path, format!("{text:?} must be between {least:?} and {most:?}")),
        None => refuse(path, format!("{text:?} is not a duration; write for example 500ms, 90s, 5m or 24h")),
    }
}

/// Milliseconds of a duration between 0 and a year.
pub(super) fn millis<const N: usize>(
    written: Option<&str>,
    unless_given: Duration,
    least: Duration,
    path: [Step; N],
) -> Result<u64, Refusal> {
    let time = time(written, unless_given, least, Duration::from_secs(366 * 86_400), path)?;
    Ok(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
