//! The controller knows which proxy runs what.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluicegate_tests::client;
use sluicegate_tests::lab::{self, PODS, WEB};
use sluicegate_tests::upstream::Upstreams;

use super::{condition, controller, envoy, set, settled, split, until};

/// What describe says about each proxy: node, state, standing.
fn told(split: &Value) -> Vec<(String, String, String)> {
    let text = |proxy: &Value, field: &str| proxy[field].as_str().unwrap_or_default().to_owned();
    let all = split["proxies"].as_array().into_iter().flatten();
    all.map(|proxy| (text(proxy, "node"), text(proxy, "state"), text(proxy, "standing"))).collect()
}

#[test]
fn propagated_names_the_envoy_that_did_not_ack() -> Result<()> {
    let controller = controller(1, 0)?;
    let pods = Upstreams::start(&PODS)?;
    let plugin = lab::plugin(json!({}))?;
    let one = envoy("gate-one", &pods, controller.proxy, &plugin)?;
    let mut two = envoy("gate-two", &pods, controller.proxy, &plugin)?;
    let both = settled(&controller, 2)?;
    ensure!(condition(&both, "Propagated")["status"] == "True", "{both}");

    two.process().signal(Signal::SIGSTOP);
    let late = controller.try_cli(&["set-weight", "backend", "v1=0", "v2=1", "--timeout", "500ms"])?;
    let said = String::from_utf8_lossy(&late.stderr).into_owned();
    ensure!(late.status.code() == Some(1) && said.contains("gate-two") && !said.contains("gate-one"), "{said}");
    let now = split(&controller)?;
    let propagated = condition(&now, "Propagated");
    ensure!(propagated["status"] == "False" && propagated["reason"] == "Waiting", "{propagated}");
    let message = propagated["message"].as_str().unwrap_or_default();
    ensure!(message.contains("1 of 2") && message.contains("gate-two (still runs generation 1)"), "{message}");
    ensure!(client::get(one.listener(WEB)?, "/")?.json()?["pod"] == "v2", "the other one obeys meanwhile");
    let described = controller.cli(&["describe", "backend"])?;
    ensure!(described.contains("1/2 live proxies") && described.contains("behind"), "{described}");

    two.process().signal(Signal::SIGCONT);
    let both = settled(&controller, 2)?;
    ensure!(condition(&both, "Propagated")["status"] == "True", "{both}");
    ensure!(client::get(two.listener(WEB)?, "/")?.json()?["pod"] == "v2");
    Ok(())
}

#[test]
fn a_restarted_envoy_is_a_new_proxy_and_the_old_one_is_lost() -> Result<()> {
    let controller = controller(1, 0)?;
    let pods = Upstreams::start(&PODS)?;
    let plugin = lab::plugin(json!({}))?;
    let first = envoy("gate", &pods, controller.proxy, &plugin)?;
    let epoch = settled(&controller, 1)?["proxies"][0]["epoch"].clone();
    drop(first);
    let second = envoy("gate", &pods, controller.proxy, &plugin)?;
    until(&controller, "the new process beside the old one", |split| told(split).len() == 2)?;

    // Silent for ten seconds: it holds nothing up any more, and it is not counted as acked either.
    let after = settled(&controller, 1)?;
    let of = |state: &str| {
        let all = after["proxies"].as_array().into_iter().flatten();
        all.into_iter().find(|proxy| proxy["state"] == state).cloned().unwrap_or_default()
    };
    ensure!(of("lost")["epoch"] == epoch, "{after}");
    ensure!(of("live")["epoch"] != epoch && of("live")["standing"] == "acked", "{after}");
    ensure!(condition(&after, "Propagated")["status"] == "True", "{after}");
    let said = set(&controller, 0, 1)?;
    ensure!(said.contains("acked by 1/1"), "{said}");
    ensure!(client::get(second.listener(WEB)?, "/")?.json()?["pod"] == "v2");
    Ok(())
}

#[test]
fn an_envoy_that_comes_late_gets_the_weights_in_force() -> Result<()> {
    let controller = controller(1, 0)?;
    ensure!(condition(&split(&controller)?, "Propagated")["reason"] == "NoProxies");
    let said = set(&controller, 0, 1)?;
    ensure!(said.contains("no live proxy"), "{said}");
    let pods = Upstreams::start(&PODS)?;
    let late = envoy("gate", &pods, controller.proxy, &lab::plugin(json!({}))?)?;
    let split = settled(&controller, 1)?;
    ensure!(told(&split) == [("gate".to_owned(), "live".to_owned(), "acked".to_owned())], "{split}");
    ensure!(client::get(late.listener(WEB)?, "/")?.json()?["pod"] == "v2");
    Ok(())
}
