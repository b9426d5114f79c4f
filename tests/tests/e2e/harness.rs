//! The harness itself, on the real Envoy without our filter: what a red test below blames is not the product.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_tests::client::{self, Client};
use sluicegate_tests::envoy::{Envoy, Options};
use sluicegate_tests::envoy_config::{Listener, cluster, lua, to_weighted};
use sluicegate_tests::fault_controller::{FaultController, Reply};
use sluicegate_tests::load::{Limits, Load};
use sluicegate_tests::upstream::Upstreams;
use sluicegate_tests::{poll, ports};

const LUA_CANARY: &str = "function envoy_on_request(h) h:headers():replace('x-sluicegate-subset', 'v2') end";

fn two_pods() -> Result<(Upstreams, Vec<serde_json::Value>)> {
    let pods = Upstreams::start(&["backend-v1-a", "backend-v2-a"])?;
    let clusters = vec![cluster("v1", &pods.addrs("backend-v1")), cluster("v2", &pods.addrs("backend-v2"))];
    Ok((pods, clusters))
}

fn splitting(name: &str) -> Listener {
    Listener::new(name, "v1").subset("v2", "v2")
}

#[test]
fn a_native_split_is_counted_the_same_at_both_ends() -> Result<()> {
    let (pods, clusters) = two_pods()?;
    let mut listener = Listener::new("web", "v1");
    listener.default = to_weighted(&[("v1", 75), ("v2", 25)]);
    let envoy = Envoy::start(Options::new(vec![listener], clusters).workers(2))?;

    let before = envoy.cpu()?;
    let tally = Load::new(envoy.listener("web")?, 8, "")?.run(&Limits::count(2000))?;
    ensure!(tally.answers() == 2000 && tally.failures() == 0, "{tally:?}");
    ensure!(envoy.cpu()? > before, "the CPU clock of Envoy stands still");
    for (pod, received) in pods.received() {
        ensure!(received.requests == tally.pods[&pod], "{pod}: {received:?}, answered {:?}", tally.pods);
    }
    ensure!((300..700).contains(&tally.pods["backend-v2-a"]), "{:?}", tally.pods);
    ensure!(envoy.stat("cluster.v1.upstream_rq_200")? + envoy.stat("cluster.v2.upstream_rq_200")? == 2000);
    Ok(())
}

#[test]
fn a_subset_header_written_by_a_filter_chooses_the_route() -> Result<()> {
    let (_pods, clusters) = two_pods()?;
    let envoy =
        Envoy::start(Options::new(vec![splitting("plain"), splitting("lua").filter(lua(LUA_CANARY))], clusters))?;
    let pod = |listener: &str| -> Result<String> {
        Ok(client::get(envoy.listener(listener)?, "/")?.json()?["pod"].to_string())
    };
    ensure!(pod("plain")? == "\"backend-v1-a\"" && pod("lua")? == "\"backend-v2-a\"");
    Ok(())
}

#[test]
fn a_new_listener_configuration_takes_effect_and_a_bad_one_is_refused() -> Result<()> {
    let (_pods, clusters) = two_pods()?;
    let mut envoy = Envoy::start(Options::new(vec![splitting("web")], clusters))?;
    let address = envoy.listener("web")?;
    let pod = || -> Result<String> { Ok(client::get(address, "/")?.json()?["pod"].to_string()) };
    ensure!(pod()? == "\"backend-v1-a\"");

    envoy.set_listeners(vec![splitting("web").filter(lua(LUA_CANARY))])?;
    poll::until("the new filter", poll::LONG, || match pod() {
        Ok(pod) if pod.contains("v2") => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let refused = envoy.set_listeners(vec![splitting("web").filter(lua("this is not Lua"))]);
    let message = format!("{:#}", refused.err().unwrap_or_else(|| anyhow::anyhow!("it was taken")));
    ensure!(message.contains("refused"), "{message}");
    ensure!(pod()? == "\"backend-v2-a\"", "the old configuration must stay");

    envoy.set_listeners(vec![])?;
    poll::until("the listener to be gone", poll::LONG, || match Client::connect(address) {
        Ok(_) => Err("still there"),
        Err(_) => Ok(()),
    })?;
    envoy.set_listeners(vec![splitting("web")])?;
    ensure!(client::get(envoy.listener("web")?, "/")?.status == 200);
    Ok(())
}

#[test]
fn a_second_process_takes_over_while_requests_run() -> Result<()> {
    let (_pods, clusters) = two_pods()?;
    let mut listener = splitting("web");
    listener.port = ports::free()?;
    let mut options = Options::new(vec![listener], clusters);
    options.hot_restart = true;
    let mut old = Envoy::start(options)?;
    let address = old.listener("web")?;
    let answered = Load::new(address, 4, "")?.run(&Limits::count(100))?;
    ensure!(answered.failures() == 0);

    let new = old.hot_restart()?;
    ensure!(new.listener("web")? == address);
    old.process().wait_exit(poll::LONG)?;
    let answered = Load::new(address, 4, "")?.run(&Limits::count(100))?;
    ensure!(answered.answers() == 100 && answered.failures() == 0, "{answered:?}");
    ensure!(new.stat("server.hot_restart_epoch")? == 1);
    Ok(())
}

#[test]
fn upstreams_answer_as_the_query_says() -> Result<()> {
    let (pods, _) = two_pods()?;
    let at = pods.addr("backend-v1-a");
    ensure!(client::get(at, "/?status=503")?.status == 503);
    ensure!(client::get(at, "/?bytes=1000000")?.body.len() == 1_000_000);
    ensure!(client::get(at, "/?bytes=70000&chunked=1")?.body.len() == 70_000);
    ensure!(client::get(at, "/?reset=headers").is_err() && client::get(at, "/?reset=body&bytes=200000").is_err());
    ensure!(client::get(at, "/?grpc_status=14")?.header("grpc-status").as_deref() == Some("14"));
    let began = Instant::now();
    client::get(at, "/?delay_ms=60")?;
    ensure!(began.elapsed() >= Duration::from_millis(60));

    let mut client = Client::connect(at)?;
    let echo = client.request("POST", "/?echo=1", &[("x-odd", "a,b")], &vec![b'y'; 9_000_000])?;
    ensure!(echo.text().contains("x-odd: a,b"), "{}", echo.text());
    ensure!(client.request("HEAD", "/", &[], b"")?.status == 200, "the connection is still good");
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")?;
    ensure!(client.read()?.status == 101);
    ensure!(pods.received()["backend-v1-a"].body_bytes == 9_000_000);
    Ok(())
}

#[test]
fn a_paced_load_keeps_its_rate_and_sees_faults() -> Result<()> {
    let (_pods, clusters) = two_pods()?;
    let envoy = Envoy::start(Options::new(vec![splitting("web")], clusters))?;
    let mut load = Load::with(
        envoy.listener("web")?,
        8,
        Box::new(|number, out| {
            let query = if number % 10 == 0 { "?reset=headers" } else { "" };
            out.extend_from_slice(format!("GET /{query} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes());
        }),
    )?;
    let tally = load.run(&Limits::duration(Duration::from_secs(1)).rate(500.0))?;
    ensure!((400..=505).contains(&tally.answers()), "{tally:?}");
    ensure!(tally.statuses[&503].abs_diff(tally.answers() / 10) <= 1 && tally.broken == 0, "{:?}", tally.statuses);
    Ok(())
}

#[test]
fn the_fault_controller_does_what_it_is_told() -> Result<()> {
    let fault = FaultController::start(|asked| match asked.path.as_str() {
        "/v1/sync" => Reply::ok("x-a: b\r\n", format!("got {}", asked.body.len())),
        "/cut" => Reply::Cut,
        _ => Reply::Flood(1 << 20),
    })?;
    let answer = client::post(fault.addr(), "/v1/sync", b"12345")?;
    ensure!((answer.text(), answer.header("x-a")) == ("got 5".into(), Some("b".into())));
    ensure!(client::post(fault.addr(), "/cut", b"").is_err());
    ensure!(client::post(fault.addr(), "/flood", b"")?.body.len() == 1 << 20);
    ensure!(fault.asked().len() == 3);
    Ok(())
}

#[test]
fn an_access_log_and_extra_settings_reach_envoy() -> Result<()> {
    let (_pods, clusters) = two_pods()?;
    let log = sluicegate_tests::paths::scratch("log")?;
    let mut listener = splitting("web");
    listener.access_log = Some((log.path().join("access"), "%RESPONSE_CODE% %PROTOCOL%\n".into()));
    listener.extra = json!({ "server_name": "gate" });
    let envoy = Envoy::start(Options::new(vec![listener], clusters))?;
    ensure!(client::get(envoy.listener("web")?, "/?status=418")?.header("server").as_deref() == Some("gate"));
    poll::until("a line in the access log", poll::LONG, || {
        let text = std::fs::read_to_string(log.path().join("access")).unwrap_or_default();
        if text == "418 HTTP/1.1\n" { Ok(()) } else { Err(text) }
    })
}
