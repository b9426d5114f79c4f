//! What a kubelet asks of containers: whether they are ready, and to get ready for their end.

use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::unistd::Pid;
use serde_json::Value;

use crate::client::Client;
use crate::paths;

/// Asks an `httpGet`; an answer between 200 and 399 is a yes.
///
/// # Errors
/// When there is another answer, or none in time.
pub(super) fn get(container: &Value, get: &Value, address: IpAddr, patience: Duration) -> Result<()> {
    let port = match get["port"].as_u64() {
        Some(number) => number,
        None => {
            let named = |one: &&Value| one["name"] == get["port"];
            let found = container["ports"].as_array().into_iter().flatten().find(named);
            found.and_then(|one| one["containerPort"].as_u64()).context("the probe names no port")?
        }
    };
    let host = get["host"].as_str().and_then(|host| host.parse().ok()).unwrap_or(address);
    let mut client = Client::connect(SocketAddr::from((host, u16::try_from(port)?)))?;
    client.patience(patience)?;
    let answer = client.request("GET", get["path"].as_str().unwrap_or("/"), &[("connection", "close")], b"")?;
    ensure!((200..400).contains(&answer.status), "status {}: {}", answer.status, answer.text());
    Ok(())
}

/// Does what a `preStop` hook says, and waits for it; that it fails is no reason to stay.
pub(super) fn hook(container: &Value, hook: &Value, address: IpAddr, main: Pid, grace: Duration) {
    if let Some(seconds) = hook["sleep"]["seconds"].as_u64() {
        thread::sleep(Duration::from_secs(seconds).min(grace));
    } else if hook["httpGet"].is_object() {
        get(container, &hook["httpGet"], address, grace).ok();
    } else if let Some(argv) = hook["exec"]["command"].as_array()
        && let Ok(sandbox) = paths::built("sandbox")
    {
        let mut command = Command::new(sandbox);
        command.args(["exec", &main.to_string()]).args(argv.iter().filter_map(Value::as_str));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    }
}
