//! Questions to Envoy's admin port.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Envoy;
use crate::client::{self, Response};

impl Envoy {
    /// Counters and gauges whose name matches the regular expression (in full or in part).
    ///
    /// # Errors
    /// When the admin port does not answer.
    pub fn stats(&self, regex: &str) -> Result<BTreeMap<String, u64>> {
        let escaped: String = regex.bytes().fold(String::new(), |mut all, byte| {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => all.push(byte as char),
                _ => all.push_str(&format!("%{byte:02X}")),
            }
            all
        });
        let answer = self.ask(&format!("/stats?format=json&filter={escaped}"))?.json()?;
        let rows = answer["stats"].as_array().context("no 'stats' in the answer")?;
        let row = |row: &Value| Some((row["name"].as_str()?.to_owned(), row["value"].as_u64()?));
        Ok(rows.iter().filter_map(row).collect())
    }

    /// One counter or gauge; 0 when it does not exist.
    ///
    /// # Errors
    /// When the admin port does not answer.
    pub fn stat(&self, name: &str) -> Result<u64> {
        Ok(self.stats(&format!("^{}$", name.replace('.', "\\.")))?.into_values().next().unwrap_or(0))
    }

    /// The Prometheus page.
    ///
    /// # Errors
    /// When the admin port does not answer.
    pub fn prometheus(&self) -> Result<String> {
        Ok(self.ask("/stats/prometheus")?.text())
    }

    /// A GET on the admin port.
    ///
    /// # Errors
    /// When it does not answer 200.
    pub fn ask(&self, target: &str) -> Result<Response> {
        let answer = client::get(self.admin, target)?;
        ensure!(answer.status == 200, "{target}: status {}: {:.200}", answer.status, answer.text());
        Ok(answer)
    }

    /// A POST on the admin port, such as `/reset_counters`.
    ///
    /// # Errors
    /// When it does not answer 200.
    pub fn command(&self, target: &str) -> Result<Response> {
        let answer = client::post(self.admin, target, b"")?;
        ensure!(answer.status == 200, "{target}: status {}: {:.200}", answer.status, answer.text());
        Ok(answer)
    }

    pub(super) fn find_listener(&self, name: &str) -> Result<SocketAddr, String> {
        let answer = self
            .ask("/listeners?format=json")
            .and_then(|answer| answer.json())
            .map_err(|error| format!("{error:#}"))?;
        let all = answer["listener_statuses"].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|one| one["name"] == name).ok_or_else(|| format!("listeners: {answer}"))?;
        let address = &found["local_address"]["socket_address"];
        let port = address["port_value"].as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let port = port.ok_or_else(|| format!("no port yet: {found}"))?;
        Ok(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}
