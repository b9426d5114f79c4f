//! A plugin configuration that would not do is refused with a message that names the field, and the old one stays.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::envoy_config::{CONTROLLER_CLUSTER, Wasm};
use sluicegate_tests::lab::{Lab, WEB, listener, plugin};
use sluicegate_tests::poll;

/// Fields put over a good configuration (`null` takes one away), and what the message must contain.
fn bad() -> Vec<(Value, Vec<&'static str>)> {
    let mut all = vec![
        (json!({ "wieghts": 1 }), vec!["wieghts"]),
        (json!({ "controller": { "cluster": "c", "port": 1 } }), vec!["port"]),
        (json!({ "controller": null }), vec!["controller"]),
        (json!({ "controller": {} }), vec!["cluster"]),
        (json!({ "controller": { "cluster": "" } }), vec!["controller.cluster"]),
        (json!({ "controller": { "cluster": "c", "authority": "a b" } }), vec!["controller.authority"]),
        (json!({ "controller": { "cluster": "c", "authority": "a\r\nb: c" } }), vec!["controller.authority"]),
        (json!({ "split": null }), vec!["split", "hosts"]),
        (json!({ "split": "a/b", "hosts": true }), vec!["hosts", "not both"]),
        (json!({ "split": "Default/Backend" }), vec!["split"]),
        (json!({ "split": "a/b/c" }), vec!["split"]),
        (json!({ "split": 7 }), vec!["field split"]),
        (json!({ "hosts": "yes" }), vec!["field hosts"]),
        (json!({ "access_log": 1 }), vec!["field access_log"]),
        (json!({ "fallback": "V 2" }), vec!["fallback"]),
        (json!({ "fallback": "v2\r\nx: y" }), vec!["fallback"]),
        (json!({ "fallback": { "subsets": [] } }), vec!["fallback"]),
        (json!({ "fallback": { "subsets": [{ "name": "v1", "weight": 0 }] } }), vec!["fallback", "weights are 0"]),
        (
            json!({ "fallback": { "subsets": [{ "name": "v1", "weight": 1 }], "default": "v9" } }),
            vec!["fallback", "v9"],
        ),
        (json!({ "fallback": { "subsets": [{ "name": "v1", "weight": -1 }] } }), vec!["fallback"]),
        (json!({ "fallback": 5 }), vec!["fallback"]),
        (json!({ "on_loss": "panic" }), vec!["on_loss"]),
        (json!({ "on_loss": { "revert": "v1" } }), vec!["on_loss"]),
        (json!({ "on_loss": { "revert": "v1", "after": "0s" } }), vec!["on_loss.after"]),
        (json!({ "on_loss": { "revert": "v1", "after": "soon" } }), vec!["on_loss.after"]),
        (json!({ "on_loss": { "revert": "v 1", "after": "5m" } }), vec!["on_loss.revert"]),
        (json!({ "token_env": "" }), vec!["token_env"]),
        (json!({ "token_env": "NOT_PASSED" }), vec!["token_env", "NOT_PASSED"]),
        (json!({ "token_env": "TWO_LINES" }), vec!["token_env", "TWO_LINES"]),
    ];
    for header in [
        ":path",
        ":authority",
        ":method",
        ":status",
        "host",
        "Host",
        "content-length",
        "connection",
        "cookie",
        "transfer-encoding",
        "te",
        "x subset",
        "x-subset\u{0}",
        "x-subset\r\nx: y",
        "",
        "x_subset",
        "x-s\u{fc}bset",
        "x:y",
    ] {
        all.push((json!({ "header": header }), vec!["header"]));
    }
    all
}

fn with(wasm: &Wasm, fields: &Value) -> Wasm {
    let mut changed = wasm.clone();
    for (name, value) in fields.as_object().into_iter().flatten() {
        match value {
            Value::Null => drop(changed.config.as_object_mut().and_then(|all| all.remove(name))),
            value => changed.config[name] = value.clone(),
        }
    }
    changed
}

#[test]
fn a_bad_configuration_is_refused_by_name_and_the_old_one_stays() -> Result<()> {
    let brain = Brain::start()?;
    let mut good = plugin(json!({}))?;
    good.env = vec![("TWO_LINES".into(), "a\r\nx-evil: b".into())];
    let mut lab = Lab::with(brain.door.addr(), 2, &good)?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 0), ("v2", 1)]))?;
    let mut texts: Vec<(Wasm, Vec<&str>)> =
        bad().into_iter().map(|(fields, words)| (with(&good, &fields), words)).collect();
    for (text, word) in [("", "no configuration"), ("{", "plugin configuration"), ("[]", "plugin configuration")] {
        texts.push((Wasm { config: json!(text), ..good.clone() }, vec![word]));
    }
    for (wasm, words) in texts {
        let logged = lab.envoy.process().log().len();
        let taken = lab.envoy.set_listeners(vec![listener(WEB, &wasm)]);
        ensure!(taken.is_err(), "taken: {}", wasm.config);
        let log = lab.envoy.process().log();
        let lines: Vec<&str> = log[logged..].lines().filter(|line| line.contains("wasm log")).collect();
        let named = lines.iter().any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(named, "{}: expected {words:?} in {lines:?}", wasm.config);
        ensure!(lines.iter().all(|line| line.contains("sluicegate: ")), "{lines:?}");
        ensure!(lab.load(20, 2, "")?.pods["v2"] == 20, "after {}", wasm.config);
    }
    // Still polling, and still able to take a good one.
    brain.publish_and_wait(split("backend", 2, &[("v1", 0), ("v3", 1)]))?;
    ensure!(lab.load(20, 2, "")?.pods["v3"] == 20);
    lab.envoy.set_listeners(vec![listener(WEB, &with(&good, &json!({ "access_log": true })))])?;
    ensure!(lab.load(20, 2, "")?.pods["v3"] == 20);
    Ok(())
}

#[test]
fn a_token_from_the_environment_goes_with_every_call() -> Result<()> {
    let brain = Brain::start()?;
    let mut wasm = plugin(json!({ "token_env": "SLUICEGATE_TOKEN" }))?;
    wasm.config["controller"]["authority"] = json!("sluicegate.example:7070");
    wasm.env = vec![("SLUICEGATE_TOKEN".into(), " s3cret+/=\n".into())];
    let lab = Lab::with(brain.door.addr(), 1, &wasm)?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 1), ("v2", 1)]))?;
    lab.load(20, 2, "")?;
    brain.wait_books("20 requests", |books| if books.total() == 20 { Ok(()) } else { Err(format!("{books:?}")) })?;
    let asked = brain.door.asked();
    for one in &asked {
        let head = String::from_utf8_lossy(&one.head).to_lowercase();
        ensure!(head.contains("\r\nauthorization: bearer s3cret+/=\r\n"), "{}: {head}", one.path);
        ensure!(head.contains("\r\nhost: sluicegate.example:7070\r\n"), "{}: {head}", one.path);
    }
    ensure!(["/v1/sync", "/v1/report"].iter().all(|path| asked.iter().any(|one| one.path == *path)));
    Ok(())
}

#[test]
fn an_unknown_cluster_is_said_once_and_requests_flow() -> Result<()> {
    let brain = Brain::start()?;
    let wasm = plugin(json!({ "fallback": "v2", "controller": { "cluster": "sluicegaet" } }))?;
    let mut lab = Lab::with(brain.door.addr(), 2, &wasm)?;
    let line = lab.envoy.process().wait_log("Envoy knows no such cluster", poll::LONG)?;
    ensure!(line.contains("sluicegaet"), "{line}");
    let tally = lab.load(200, 4, "")?;
    ensure!(tally.failures() == 0 && tally.pods["v2"] == 200, "{tally:?}");
    // As soon as there is such a cluster it is used.
    let mut clusters: Vec<Value> = ["v1", "v2", "v3"]
        .iter()
        .map(|pod| sluicegate_tests::envoy_config::cluster(pod, &lab.pods.addrs(pod)))
        .collect();
    for name in [CONTROLLER_CLUSTER, "sluicegaet"] {
        clusters.push(sluicegate_tests::envoy_config::cluster(name, &[brain.door.addr()]));
    }
    brain.publish(split("backend", 1, &[("v1", 0), ("v3", 1)]));
    lab.envoy.set_clusters(clusters)?;
    brain.wait_ack("default/backend", 1)?;
    ensure!(lab.load(20, 2, "")?.pods["v3"] == 20);
    let said = lab.envoy.process().log().matches("Envoy knows no such cluster").count();
    ensure!(said <= 3, "said {said} times, by three VMs");
    Ok(())
}
