//! A real Prometheus as a child process, scraping what a test names.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::{client, paths, poll, ports};

/// A running Prometheus, with its data in a folder that goes away with it.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts it; it gets `path` from each target once per `interval`, and is ready to be asked.
    ///
    /// # Errors
    /// When it does not start; with the end of its log.
    pub fn start(targets: &[SocketAddr], path: &str, interval: Duration) -> Result<Self> {
        Self::start_with(targets, path, interval, None)
    }

    /// The same with a file of rules, which it evaluates as often as it scrapes.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(targets: &[SocketAddr], path: &str, interval: Duration, rules: Option<&str>) -> Result<Self> {
        let dir = paths::scratch("prometheus")?;
        let targets: Vec<String> = targets.iter().map(|target| format!("\"{target}\"")).collect();
        let millis = interval.as_millis();
        let rule_file = dir.path().join("rules.yml");
        std::fs::write(&rule_file, rules.unwrap_or("groups: []\n"))?;
        let config = format!(
            "global: {{ scrape_interval: {millis}ms, scrape_timeout: {millis}ms, evaluation_interval: {millis}ms }}\n\
             rule_files: [\"{rules}\"]\nscrape_configs:\n  - job_name: sluicegate\n    metrics_path: {path}\n    static_configs: [{{ targets: [{}] }}]\n",
            targets.join(", "),
            rules = rule_file.display(),
        );
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config)?;
        // It takes no port 0 that it would tell.
        let addr = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut command = Command::new(paths::prometheus()?);
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
        command.arg(format!("--web.listen-address={addr}"));
        let mut process = Process::start("prometheus", command, dir.path())?;
        poll::until("a ready Prometheus", poll::LONG, || match client::get(addr, "/-/ready") {
            Ok(answer) if answer.status == 200 => Ok(Ok(())),
            _ if process.exited().is_some() => Ok(Err(anyhow::anyhow!("it ended: {}", process.tail(10)))),
            other => Err(format!("{other:?}; {}", process.tail(3))),
        })??;
        Ok(Self { process, addr, _dir: dir })
    }

    /// Its address, as a configuration names it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What its HTTP API answers to this path, below `/api/v1`.
    ///
    /// # Errors
    /// When it does not answer, or says that the question is wrong.
    pub fn api(&self, path: &str) -> Result<Value> {
        let answer = client::get(self.addr, &format!("/api/v1{path}"))?;
        let body = answer.json().with_context(|| format!("{path}: {answer:?}"))?;
        ensure!(body["status"] == "success", "{path}: {body}");
        Ok(body["data"].clone())
    }

    /// The series that an expression has now.
    ///
    /// # Errors
    /// When it is no expression; with what Prometheus says of it.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let encoded: String = expression
            .bytes()
            .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
            .collect();
        let data = self.api(&format!("/query?query={encoded}"))?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
