//! Two controllers in one namespace: one writes, both answer, and the other takes over.

use super::{World, backend, splits};
use anyhow::{Context as _, Result, ensure};
use sluicegate_core::wire::SYNC_PATH;
use sluicegate_tests::controller::Controller;
use sluicegate_tests::kube::PATIENCE;
use sluicegate_tests::{paths, poll};
use std::fs;
use std::net::SocketAddr;
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

#[test]
fn a_follower_answers_passes_on_what_proxies_say_and_takes_over() -> Result<()> {
    let mut world = World::new("replicas")?;
    world.apply(&backend(90, 10))?;
    let first = world.until_weights("backend", &[90, 10])?;
    let follower = Controller::start_in_cluster(&world.kubeconfig, &world.namespace, &[])?;
    let split = format!("{}/backend", world.namespace);
    let path = format!("/v1/splits/{split}");
    poll::until("the follower to know the split", PATIENCE, || match follower.json(&path) {
        Ok(split) if split["generation"] == first => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    // It knows the leader as soon as it has looked at the lease.
    poll::until("the leader to hear of a proxy of the follower", PATIENCE, || {
        let answer = splits::sync(&split, follower.proxy).map_err(|why| format!("{why:#}"))?;
        let known = world.controller.json("/v1/proxies").map_err(|why| format!("{why:#}"))?;
        let answered = answer.to_string().contains("\"weight\":90");
        if answered && known.to_string().contains("splits-test") { Ok(()) } else { Err(known.to_string()) }
    })?;
    let refused = follower.try_cli(&["set-weight", &format!("{}/backend", world.namespace), "v1=1", "v2=1"])?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && told.contains("another replica"), "{told}");
    world.controller.kill();
    // At once, by what it knows itself.
    let answer = splits::sync(&split, follower.proxy)?;
    ensure!(answer.to_string().contains("\"weight\":90"), "{answer}");
    world.controller = follower;
    world.apply(&backend(20, 80))?;
    let second = world.until_weights("backend", &[20, 80])?;
    ensure!(second == first + 1, "{first} then {second}");
    Ok(())
}

#[test]
fn a_follower_passes_on_over_tls_to_whom_has_the_same_certificate() -> Result<()> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let folder = paths::scratch("tls")?;
    let (cert, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    fs::write(&cert, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    let files = [format!("--proxy-tls-cert={}", cert.display()), format!("--proxy-tls-key={}", key.display())];
    let files = files.each_ref().map(String::as_str);
    let mut world = World::new("secured")?;
    world.controller.restart_with(&files)?;
    world.apply(&backend(90, 10))?;
    world.until_weights("backend", &[90, 10])?;
    let follower = Controller::start_in_cluster(&world.kubeconfig, &world.namespace, &files)?;
    let trusted = Certificate::from_pem(made.cert.pem().as_bytes())?;
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[trusted])).build();
    let agent: Agent = Agent::config_builder().tls_config(tls).build().into();
    let sync = |to: SocketAddr| -> Result<String> {
        let answer = agent
            .post(format!("https://{to}{SYNC_PATH}"))
            .send(splits::request(&format!("{}/backend", world.namespace))?);
        answer?.body_mut().read_to_string().context("no answer")
    };
    poll::until("the leader to hear of a proxy of the follower", PATIENCE, || {
        let answer = sync(follower.proxy).map_err(|why| format!("{why:#}"))?;
        let known = world.controller.json("/v1/proxies").map_err(|why| format!("{why:#}"))?;
        let answered = answer.contains("\"weight\":90");
        if answered && known.to_string().contains("splits-test") { Ok(()) } else { Err(known.to_string()) }
    })
}
