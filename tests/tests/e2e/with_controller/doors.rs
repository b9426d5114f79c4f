//! The door of the proxy port: TLS and bearer tokens, with a real Envoy outside.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::controller::{Controller, split_yaml};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Wasm};
use sluicegate_tests::lab::{self, PODS, WEB};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{client, paths, poll};
use tempfile::TempDir;

use super::{FAST, set, settled};

const RIGHT: &str = "right-token-1";
const WRONG: &str = "wrong-token-2";

/// A controller with TLS and one token, and the pods behind the Envoys to come.
struct Door {
    controller: Controller,
    pods: Upstreams,
    dir: TempDir,
    /// The certificate, PEM.
    pem: String,
}

impl Door {
    fn open() -> Result<Self> {
        let dir = paths::scratch("door")?;
        let file = |name: &str, content: &str| -> Result<String> {
            let path = dir.path().join(name);
            fs::write(&path, content)?;
            Ok(path.to_str().context("an odd path")?.to_owned())
        };
        let made = rcgen::generate_simple_self_signed(["sluicegate".to_owned()])?;
        let pem = made.cert.pem();
        let (cert, key) = (file("cert.pem", &pem)?, file("key.pem", &made.signing_key.serialize_pem())?);
        let tokens = file("tokens", &format!("{RIGHT}\n"))?;
        let door = ["--proxy-tls-cert", &cert, "--proxy-tls-key", &key, "--proxy-token-file", &tokens];
        let split = split_yaml("backend", &[("v1", 0), ("v2", 1)], "");
        let args: Vec<&str> = door.into_iter().chain(FAST).collect();
        let controller = Controller::start_with(&[("backend.yaml", &split)], &args)?;
        Ok(Self { controller, pods: Upstreams::start(&PODS)?, dir, pem })
    }

    /// An Envoy that shows this token, and speaks TLS to a controller with our certificate, or does not.
    fn envoy(&self, token: Option<&str>, tls: bool) -> Result<Envoy> {
        let mut plugin = lab::plugin(json!({ "fallback": "v1" }))?;
        if let Some(token) = token {
            plugin = Wasm { env: vec![("TOKEN".to_owned(), token.to_owned())], ..plugin };
            plugin.config["token_env"] = json!("TOKEN");
        }
        let mut options = lab::options(&self.pods, vec![lab::listener(WEB, &plugin)], self.controller.proxy, 2);
        let cluster = options.clusters.iter_mut().find(|cluster| cluster["name"] == CONTROLLER_CLUSTER);
        if tls {
            cluster.context("no cluster of the controller")?["transport_socket"] = socket(&self.pem);
        }
        Envoy::start(options)
    }

    /// Waits for this in Envoy's log, and makes sure that requests meanwhile go by the fallback and none fails.
    fn refused(&self, mut envoy: Envoy, why: &str) -> Result<()> {
        let line = envoy.process().wait_log("no weights from cluster sluicegate", poll::LONG)?;
        ensure!(line.contains(why) && line.contains("the last ones stay in force"), "no '{why}' in: {line}");
        for _ in 0..20 {
            let answer = client::get(envoy.listener(WEB)?, "/")?;
            ensure!(answer.status == 200 && answer.json()?["pod"] == "v1", "{}", answer.text());
        }
        let proxies = self.controller.json("/v1/proxies")?;
        ensure!(proxies["proxies"] == json!([]), "it was let in: {proxies}");
        ensure!(!envoy.process().log().contains(WRONG), "the log has the token");
        Ok(())
    }
}

fn socket(pem: &str) -> Value {
    json!({ "name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "sluicegate",
        "common_tls_context": { "validation_context": {
            "trusted_ca": { "inline_string": pem },
            "match_typed_subject_alt_names": [{ "san_type": "DNS", "matcher": { "exact": "sluicegate" } }],
        }},
    }})
}

#[test]
fn with_tls_and_the_right_token_weights_arrive() -> Result<()> {
    let door = Door::open()?;
    let envoy = door.envoy(Some(RIGHT), true)?;
    settled(&door.controller, 1)?;
    ensure!(client::get(envoy.listener(WEB)?, "/")?.json()?["pod"] == "v2");
    let said = set(&door.controller, 1, 0)?;
    ensure!(said.contains("acked by 1/1"), "{said}");
    ensure!(client::get(envoy.listener(WEB)?, "/")?.json()?["pod"] == "v1");
    ensure!(envoy.stat("cluster.sluicegate.ssl.handshake")? > 0, "that was no TLS");
    Ok(())
}

#[test]
fn with_a_wrong_token_no_weights_arrive_and_the_log_says_so() -> Result<()> {
    let door = Door::open()?;
    door.refused(door.envoy(Some(WRONG), true)?, "status 401")
}

#[test]
fn without_a_token_no_weights_arrive_and_the_log_says_so() -> Result<()> {
    let door = Door::open()?;
    door.refused(door.envoy(None, true)?, "status 401")
}

#[test]
fn without_tls_no_weights_arrive_and_the_log_says_so() -> Result<()> {
    let door = Door::open()?;
    door.refused(door.envoy(Some(RIGHT), false)?, "status 50")
}

#[test]
fn a_token_that_is_added_to_the_file_is_let_in_without_a_restart() -> Result<()> {
    let door = Door::open()?;
    let mut envoy = door.envoy(Some(WRONG), true)?;
    envoy.process().wait_log("status 401", poll::LONG)?;
    fs::write(door.dir.path().join("tokens"), format!("{RIGHT}\n{WRONG}\n"))?;
    settled(&door.controller, 1)?;
    envoy.process().wait_log("the controller answers again", poll::LONG)?;
    ensure!(client::get(envoy.listener(WEB)?, "/")?.json()?["pod"] == "v2");
    Ok(())
}
