//! What a CanaryDeploy and a CanaryTest have in common, from written to meant.

use super::{CommandLine, Webhook};
use crate::api::{
    accept::{Refusal, refuse},
    percent::{Percent, duration},
    rollout::{SplitEntry, WebhookSpec, WorkloadsSpec},
    tree::Step,
};
use sluicegate_core::name;
use std::{collections::BTreeMap, time::Duration};

/// Longest name of a version.
const MAX_VERSION: usize = 256;
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

/// The version as one text: exactly one of a name and images.
pub(super) fn version(
    workload: Option<&str>,
    version: Option<&str>,
    images: &BTreeMap<String, String>,
) -> Result<String, Refusal> {
    let at = |field: &'static str| ["spec".into(), field.into()];
    if let Some(workload) = workload
        && name::subset(workload).is_err()
    {
        let message = format!("workload {workload:?} is not the name of a Deployment: 1 to 63 of a-z, 0-9 and '-'");
        return refuse(at("workload"), message);
    }
    match (version, images.is_empty()) {
        (Some(_), false) => refuse(
            at("version"),
            "version and images are two ways to say the same; keep images for a Deployment, version for a command",
        ),
        (None, true) => refuse(
            at("version"),
            "there is no version; write version: v2, or images: { CONTAINER: IMAGE } for a Deployment",
        ),
        (Some(version), true) => {
            let printable = !version.chars().any(char::is_control) && version.trim() == version;
            match version.len() {
                1..=MAX_VERSION if printable => Ok(version.to_owned()),
                _ => refuse(
                    at("version"),
                    format!(
                        "version {version:?} must be 1 to {MAX_VERSION} characters without white space at its ends"
                    ),
                ),
            }
        }
        (None, false) if workload.is_none() => {
            refuse(at("images"), "images are those of a Deployment; name it with workload: NAME")
        }
        (None, false) => {
            let wrong = |text: &String| text.is_empty() || text.contains(char::is_whitespace);
            if let Some((container, image)) = images.iter().find(|(c, i)| wrong(c) || wrong(i)) {
                return refuse(at("images"), format!("{container:?}: {image:?} is not a container and its image"));
            }
            let all: Vec<_> = images.iter().map(|(container, image)| format!("{container}={image}")).collect();
            Ok(all.join(","))
        }
    }
}

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
