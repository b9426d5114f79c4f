//! `sluicegate ext-proc` where it is not like the filter: a process beside Envoy that may be late, slow, gone, or ended in
//! order.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::client::{self, Client};
use sluicegate_tests::controller::Controller;
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::{cluster_by_eds, endpoints, resources};
use sluicegate_tests::ext_proc::{self, ExtProc};
use sluicegate_tests::lab::{self, PODS, WEB};
use sluicegate_tests::steady::Steady;
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{paths, poll, ports};

/// Requests per second beside a test.
const RATE: f64 = 300.0;
/// Requests that are waited for before and after something happens.
const SOME: u64 = 200;

/// A split that sends everything to v2.
const ALL_TO_V2: &str = "apiVersion: sluicegate.dev/v1alpha1\nkind: TrafficSplit\nmetadata: { name: backend }\n\
                         spec: { subsets: [{ name: v1, weight: 0 }, { name: v2, weight: 1 }], default: v1 }\n";

fn services(count: usize, controller: SocketAddr, args: &[&str]) -> Result<Vec<ExtProc>> {
    let args = [&["--split", "backend", "--metrics-listen", "127.0.0.1:0"], args].concat();
    (0..count).map(|_| ExtProc::start_with(controller, &args)).collect()
}

/// An Envoy with this filter, which finds its services as `cluster` says.
fn envoy(pods: &Upstreams, controller: SocketAddr, filter: Value, cluster: Value) -> Result<Envoy> {
    let mut options = lab::options(pods, vec![lab::listener_with(WEB, filter)], controller, 2);
    options.clusters.push(cluster);
    Envoy::start(options)
}

/// The cluster of services whose endpoints are in this file.
fn followed(file: &Path) -> Value {
    let mut cluster = ext_proc::service(&[]);
    let by_eds = cluster_by_eds(ext_proc::CLUSTER, file);
    cluster["type"] = by_eds["type"].clone();
    cluster["eds_cluster_config"] = by_eds["eds_cluster_config"].clone();
    if let Some(fields) = cluster.as_object_mut() {
        fields.remove("load_assignment");
    }
    cluster
}

fn wait_more(pods: &Upstreams) -> Result<()> {
    let all = || pods.received().values().map(|received| received.requests).sum::<u64>();
    let before = all();
    poll::until("more requests", poll::LONG, || match all() {
        now if now > before + SOME => Ok(()),
        now => Err(now - before),
    })
}

#[test]
fn one_of_two_services_ends_in_order_under_load_and_nothing_fails_or_goes_uncounted() -> Result<()> {
    let brain = Brain::start()?;
    let mut services = services(2, brain.door.addr(), &[])?;
    let (pods, dir) = (Upstreams::start(&PODS)?, paths::scratch("endpoints")?);
    let file = dir.path().join("endpoints.json");
    let tell = |version, services: &[ExtProc]| {
        let addresses: Vec<SocketAddr> = services.iter().map(|service| service.addr).collect();
        paths::write_atomically(&file, resources(version, &[endpoints(ext_proc::CLUSTER, &addresses)]))
    };
    tell(1, &services)?;
    // It fails closed: a decision that does not come would be seen as an error.
    let envoy = envoy(&pods, brain.door.addr(), ext_proc::filter(), followed(&file))?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 50), ("v2", 50)]))?;
    let mut first = services.remove(0);
    for service in [&mut first, &mut services[0]] {
        poll::until("a service with weights", poll::LONG, || match service.monitored("/readyz") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
    }
    let load = Steady::start(envoy.listener(WEB)?, RATE)?;
    wait_more(&pods)?;
    // What Kubernetes does: the endpoint goes, then the process is asked to end.
    tell(2, &services)?;
    let gone = || Ok::<_, anyhow::Error>(envoy.stats(r"^cluster\.ext-proc\.membership_total$")?.values().sum::<u64>());
    poll::until("one endpoint less", poll::LONG, || match gone() {
        Ok(1) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    first.stop()?;
    wait_more(&pods)?;
    let seen = load.stop_clean()?;
    // What the one that ended had counted is not lost.
    brain.wait_books("every request", |books| match books.total() {
        total if total == seen.tally.answers() => Ok(()),
        other => Err(format!("{other} of {}", seen.tally.answers())),
    })?;
    ensure!(seen.tally.pods["v1"].abs_diff(seen.tally.pods["v2"]) <= 4, "{:?}", seen.tally.pods);
    Ok(())
}

#[test]
fn a_service_that_does_not_answer_costs_the_split_and_no_request() -> Result<()> {
    let brain = Brain::start()?;
    let mut services = services(1, brain.door.addr(), &["--access-log"])?;
    let pods = Upstreams::start(&PODS)?;
    let mut filter = ext_proc::filter();
    filter["typed_config"]["failure_mode_allow"] = json!(true);
    filter["typed_config"]["message_timeout"] = json!("0.1s");
    let envoy = envoy(&pods, brain.door.addr(), filter, services[0].cluster())?;
    let mut client = Client::connect(envoy.listener(WEB)?)?;
    let mut goes = || -> Result<String> {
        let answer = client.request("GET", "/", &[], b"")?;
        ensure!(answer.status == 200, "{}", answer.status);
        Ok(answer.header("x-pod").unwrap_or_default())
    };
    brain.publish_and_wait(split("backend", 1, &[("v1", 0), ("v2", 1)]))?;
    ensure!(goes()? == "v2");
    services[0].process().freeze()?;
    ensure!(goes()? == "v1", "the default route, after the timeout");
    services[0].process().signal(Signal::SIGCONT);
    poll::until("decisions again", poll::LONG, || match goes() {
        Ok(pod) if pod == "v2" => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    services[0].process().kill();
    ensure!(goes()? == "v1");
    Ok(())
}

#[test]
fn it_is_a_proxy_like_any_other_to_the_real_controller() -> Result<()> {
    let mut controller = Controller::start(&[("backend.yaml", ALL_TO_V2)])?;
    let args = ["--node", "beside-the-gate", "--on-loss-revert", "v1", "--on-loss-after", "4s"];
    let mut services = services(1, controller.proxy, &args)?;
    let pods = Upstreams::start(&PODS)?;
    let envoy = envoy(&pods, controller.proxy, ext_proc::filter(), services[0].cluster())?;
    let web = envoy.listener(WEB)?;
    poll::until("the proxy to be known", poll::LONG, || match controller.cli(&["get", "proxies"]) {
        Ok(told) if told.contains("beside-the-gate") && told.contains("live") => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    for (v1, v2, pod) in [("1", "0", "v1"), ("0", "1", "v2"), ("1", "0", "v1"), ("0", "1", "v2")] {
        let said = controller.cli(&["set-weight", "backend", &format!("v1={v1}"), &format!("v2={v2}")])?;
        ensure!(said.contains("acked by 1/1"), "{said}");
        ensure!(client::get(web, "/")?.header("x-pod").as_deref() == Some(pod));
    }
    poll::until("its counts", poll::LONG, || match controller.cli(&["describe", "backend"]) {
        Ok(told) if told.lines().any(|line| line.trim_start().starts_with("v2") && line.contains(" 2 ")) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let page = services[0].monitored("/metrics")?.text();
    let line = "sluicegate_requests_total{namespace=\"default\",split=\"backend\",subset=\"v2\"} 2";
    ensure!(page.contains(line) && page.contains("outcome=\"unreached\""), "{page}");
    // The controller gone: by the last weights, then, since it was asked for, back to v1; and on when it is there again.
    controller.process().kill();
    ensure!(client::get(web, "/")?.header("x-pod").as_deref() == Some("v2"));
    services[0].process().wait_log("requests go where --on-loss says", poll::LONG)?;
    ensure!(client::get(web, "/")?.header("x-pod").as_deref() == Some("v1"));
    controller.restart()?;
    poll::until("the weights again", poll::LONG, || match client::get(web, "/") {
        Ok(answer) if answer.header("x-pod").as_deref() == Some("v2") => Ok(()),
        other => Err(format!("{other:?}")),
    })
}

#[test]
fn it_is_reached_by_tls_and_reaches_the_controller_by_tls_with_a_token() -> Result<()> {
    let dir = paths::scratch("certificates")?;
    let at = |name: &str| dir.path().join(name).display().to_string();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    std::fs::write(at("cert.pem"), made.cert.pem())?;
    std::fs::write(at("key.pem"), made.signing_key.serialize_pem())?;
    std::fs::write(at("tokens"), "the-old-one\nthe-new-one\n")?;
    std::fs::write(at("token"), "the-new-one\n")?;
    let (cert, key, tokens, token) = (at("cert.pem"), at("key.pem"), at("tokens"), at("token"));
    let secured = ["--proxy-tls-cert", &cert, "--proxy-tls-key", &key, "--proxy-token-file", &tokens];
    let controller = Controller::start_with(&[("backend.yaml", ALL_TO_V2)], &secured)?;
    let url = format!("https://localhost:{}", controller.proxy.port());
    let trusting = ["--split", "backend", "--metrics-listen", "127.0.0.1:0", "--ca-file", &cert];
    // Without the token it gets no weights, and says why.
    let mut refused = ExtProc::start_at(&url, &trusting)?;
    refused.process().wait_log("status 401", poll::LONG)?;
    ensure!(refused.monitored("/readyz")?.status == 503);
    // Nor does it trust whoever is there.
    let mut distrusts = ExtProc::start_at(&url, &["--split", "backend", "--token-file", &token])?;
    distrusts.process().wait_log("no weights from the controller", poll::LONG)?;
    let args = [&trusting[..], &["--token-file", &token, "--tls-cert", &cert, "--tls-key", &key]].concat();
    let service = ExtProc::start_at(&url, &args)?;
    let mut cluster = service.cluster();
    cluster["transport_socket"] = json!({ "name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": "localhost",
        "common_tls_context": { "validation_context": { "trusted_ca": { "filename": cert } } },
    }});
    let pods = Upstreams::start(&PODS)?;
    let envoy = envoy(&pods, controller.proxy, ext_proc::filter(), cluster)?;
    poll::until("a request by the weights", poll::LONG, || match client::get(envoy.listener(WEB)?, "/") {
        Ok(answer) if answer.header("x-pod").as_deref() == Some("v2") => Ok(()),
        other => Err(anyhow::anyhow!("{other:?}")),
    })
}

#[test]
fn until_there_are_weights_the_fallback_decides() -> Result<()> {
    let nobody = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
    let mut services = services(1, nobody, &["--fallback", "v1=1,v2=3"])?;
    ensure!(services[0].monitored("/readyz")?.status == 200);
    let pods = Upstreams::start(&PODS)?;
    let envoy = envoy(&pods, nobody, ext_proc::filter(), services[0].cluster())?;
    let mut by_pod = std::collections::BTreeMap::new();
    for _ in 0..40 {
        let answer = client::get(envoy.listener(WEB)?, "/")?;
        *by_pod.entry(answer.header("x-pod").unwrap_or_default()).or_insert(0_u32) += 1;
    }
    // What an even split promises at every moment: off by no more than there are subsets.
    ensure!(by_pod["v1"].abs_diff(10) <= 2 && by_pod["v1"] + by_pod["v2"] == 40, "{by_pod:?}");
    let brain = Brain::start_on(nobody)?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 0), ("v3", 1)]))?;
    ensure!(client::get(envoy.listener(WEB)?, "/")?.header("x-pod").as_deref() == Some("v3"));
    Ok(())
}

#[test]
fn the_access_log_names_the_subset() -> Result<()> {
    let brain = Brain::start()?;
    let services = services(1, brain.door.addr(), &["--access-log"])?;
    let (pods, dir) = (Upstreams::start(&PODS)?, paths::scratch("access-log")?);
    let mut listener = lab::listener_with(WEB, ext_proc::filter());
    let file = dir.path().join("access.log");
    listener.access_log = Some((file.clone(), "%RESPONSE_CODE% %DYNAMIC_METADATA(sluicegate:subset)%\n".to_owned()));
    let mut options = lab::options(&pods, vec![listener], brain.door.addr(), 1);
    options.clusters.push(services[0].cluster());
    let envoy = Envoy::start(options)?;
    brain.publish_and_wait(split("backend", 1, &[("v1", 50), ("v2", 50)]))?;
    for _ in 0..2 {
        ensure!(client::get(envoy.listener(WEB)?, "/")?.status == 200);
    }
    // Envoy writes the file every ten seconds, and the second line perhaps ten seconds after the first.
    poll::until("two lines", poll::LONG * 2, || {
        let log = std::fs::read_to_string(&file).unwrap_or_default();
        let mut lines: Vec<&str> = log.lines().collect();
        lines.sort_unstable();
        if lines == ["200 v1", "200 v2"] { Ok(()) } else { Err(log) }
    })
}

#[test]
fn a_command_line_that_would_not_do_is_refused_with_what_to_write() -> Result<()> {
    let cases: [(&[&str], &str); 6] = [
        (&[], "--split"),
        (&["--split", "a/b", "--hosts"], "cannot be used with"),
        (&["--split", "a/b", "--header", "x_y"], "underscore"),
        (&["--split", "a/b", "--fallback", "v1=0"], "weight"),
        (&["--split", "a/b", "--on-loss-revert", "v1"], "--on-loss-after"),
        (&["--split", "a/b", "--on-loss-revert", "v1", "--on-loss-after", "10"], "unit"),
    ];
    for (args, named) in cases {
        let mut command = std::process::Command::new(paths::controller()?);
        let said = command.args(["ext-proc", "--controller", "http://127.0.0.1:1"]).args(args).output()?;
        let text = String::from_utf8_lossy(&said.stderr);
        ensure!(said.status.code() == Some(2) && text.contains(named), "{args:?}: {text}");
    }
    let mut command = std::process::Command::new(paths::controller()?);
    let said = command.args(["ext-proc", "--controller", "127.0.0.1:7070", "--split", "a"]).output()?;
    let text = String::from_utf8_lossy(&said.stderr);
    ensure!(said.status.code() == Some(1) && text.contains("http://127.0.0.1:7070"), "{text}");
    Ok(())
}
