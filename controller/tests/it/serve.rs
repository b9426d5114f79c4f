//! The whole controller on real sockets and a real folder.

use crate::support::{backend, yaml};
use serde_json::{Value, json};
use sluicegate::app::{self, Config, Source};
use sluicegate_core::{
    message::MEDIA_TYPE,
    wire::{Ack, SyncAnswer},
};
use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::Duration,
};
use tokio::{sync::oneshot, task::JoinHandle};

/// A controller that runs, and its folder.
pub(crate) struct Running {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<anyhow::Result<()>>,
}

pub(crate) fn config(dir: &tempfile::TempDir) -> Config {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    Config {
        source: Source::Folder { dir: dir.path().to_owned(), state: None },
        proxy_listen: any,
        admin_listen: any,
        admin_allow_remote: false,
        metrics_listen: None,
        proxy_tls: None,
        proxy_token_file: None,
        wasm: None,
        report_interval: Duration::from_millis(500),
    }
}

pub(crate) async fn start(files: &[(&str, &str)]) -> Running {
    start_with(files, |_| {}).await
}

pub(crate) async fn start_with(files: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Running {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(name, text)| fs::write(dir.path().join(name), text).unwrap());
    start_on(dir, change).await
}

/// The same on a folder that is there.
pub(crate) async fn start_on(dir: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Running {
    let mut config = config(&dir);
    change(&mut config);
    let bound = app::build(config).await.unwrap();
    let (proxy, admin) = (bound.proxy_address, bound.admin_address);
    let (stop, stopped) = oneshot::channel();
    let done = tokio::spawn(bound.run(async { drop(stopped.await) }));
    Running { dir, proxy, admin, stop: Some(stop), done }
}

impl Running {
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Stops it, and starts another on its folder once `meanwhile` is over.
    pub(crate) async fn restart(mut self, meanwhile: impl FnOnce(&Path)) -> Self {
        self.stop();
        self.done.await.unwrap().unwrap();
        meanwhile(self.dir.path());
        start_on(self.dir, |_| {}).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.admin);
        ask(move || agent().post(&url).send_json(body)).await
    }

    /// Asks the admin port, not in the runtime's way.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let url = format!("http://{}{path}", self.admin);
        ask(move || agent().get(&url).call()).await.1
    }

    pub(crate) async fn set(&self, weights: Value) -> (u16, Value) {
        self.post("/v1/splits/default/backend/weights", json!({ "weights": weights })).await
    }

    pub(crate) async fn sync(&self, request: &Value) -> (u16, Value) {
        let (url, request) = (format!("http://{}/v1/sync", self.proxy), request.clone());
        ask(move || agent().post(&url).send_json(&request)).await
    }

    /// Asks until the answer is as wished.
    pub(crate) async fn until(&self, path: &str, wish: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..500 {
            last = self.get(path).await;
            if wish(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{path} stayed {last:#}");
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

type Answer = Result<ureq::http::Response<ureq::Body>, ureq::Error>;

async fn ask(call: impl FnOnce() -> Answer + Send + 'static) -> (u16, Value) {
    let ask = move || {
        let mut answer = call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

/// Status, ETag and body of a GET; `known`: the ETag that is known already.
pub(crate) async fn ask_bytes(url: String, known: Option<String>) -> (u16, Option<String>, Vec<u8>) {
    let ask = move || {
        let request = known.iter().fold(agent().get(&url), |request, tag| request.header("if-none-match", tag));
        let mut answer = request.call().unwrap();
        let tag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        (answer.status().as_u16(), tag, answer.body_mut().read_to_vec().unwrap())
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

pub(crate) fn request(epoch: u64) -> Value {
    json!({
        "sluicegate": 1, "proxy": { "epoch": format!("{epoch:016x}"), "node": "node", "plugin": "p" }, "version": "1",
        "abilities": { "counts": true, "cookies": true }, "subscription": { "split": "default/backend" },
        "cursor": null, "hold": 25_000, "full": true, "acks": {}
    })
}

/// The request that follows an answer.
fn next(request: &Value, answer: &Value) -> Value {
    let answer: SyncAnswer = serde_json::from_value(answer.clone()).unwrap();
    let mut next = request.clone();
    next["cursor"] = serde_json::to_value(answer.cursor).unwrap();
    next["full"] = json!(false);
    let acks = answer.splits.iter().map(|s| (s.name.clone(), json!(Ack(s.generation, s.digest()))));
    next["acks"] = Value::Object(acks.collect());
    next
}

/// A proxy that obeys, until the controller goes.
fn obey(proxy: SocketAddr, epoch: u64) -> thread::JoinHandle<Value> {
    obey_from(proxy, request(epoch))
}

/// The same, with its first request.
pub(crate) fn obey_from(proxy: SocketAddr, mut request: Value) -> thread::JoinHandle<Value> {
    thread::spawn(move || {
        let (url, agent) = (format!("http://{proxy}/v1/sync"), agent());
        let mut last = Value::Null;
        while let Ok(mut answer) = agent.post(&url).send_json(&request) {
            let Ok(text) = answer.body_mut().read_to_string() else { break };
            let Ok(answer) = serde_json::from_str(&text) else { break };
            request = next(&request, &answer);
            last = answer;
        }
        last
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_file_reaches_a_held_poll_and_its_ack_is_seen() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let first = request(1);
    let (status, answer) = running.sync(&first).await;
    assert_eq!((status, &answer["splits"][0]["generation"], &answer["report"]), (200, &json!(1), &json!(500)));
    let held = next(&first, &answer);
    let (proxy, request) = (running.proxy, held.clone());
    let poll = tokio::task::spawn_blocking(move || {
        let mut answer = agent().post(&format!("http://{proxy}/v1/sync")).send_json(&request).unwrap();
        serde_json::from_str::<Value>(&answer.body_mut().read_to_string().unwrap()).unwrap()
    });
    let split = running.until("/v1/splits/default/backend", |s| s["acked"] == 1).await;
    assert_eq!(split["conditions"][1]["status"], "True", "{split:#}");
    running.until("/v1/proxies", |p| p["proxies"][0]["polls"] == 1).await;
    fs::write(running.dir.path().join("a.yaml"), backend(50, 50)).unwrap();
    let answer = poll.await.unwrap();
    assert_eq!(answer["splits"][0]["generation"], 2);
    assert_eq!(answer["splits"][0]["subsets"][0]["weight"], 50);
    let split = running.get("/v1/splits/default/backend").await;
    assert_eq!(
        (&split["acked"], &split["live"], &split["conditions"][1]["reason"]),
        (&json!(0), &json!(1), &json!("Waiting"))
    );
    let proxy = &split["proxies"][0];
    assert_eq!((&proxy["generation"], &proxy["standing"]), (&json!(1), &json!("behind")), "{proxy}");
    assert_eq!(proxy["weights"], json!({ "v1": 90, "v2": 10 }), "what it runs, not what is wanted");
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_weights_is_acked_and_waited_for() {
    let mut running = start(&[("a.yaml", &backend(90, 10))]).await;
    let proxies = [obey(running.proxy, 1), obey(running.proxy, 2)];
    running.until("/v1/splits/default/backend", |s| s["acked"] == 2).await;
    for generation in 2..20_u64 {
        let (status, set) = running.set(json!({ "v1": generation })).await;
        assert_eq!((status, &set["generation"]), (200, &json!(generation)));
        let path = format!("/v1/splits/default/backend?wait=acked&generation={generation}&timeout=10");
        let split = running.get(&path).await;
        assert_eq!((&split["acked"], &split["generation"]), (&json!(2), &json!(generation)), "{split:#}");
        assert!(split["propagatedMs"].as_f64().unwrap() < 5_000.0);
        assert!(split["proxies"][1]["lagMs"].as_f64().is_some());
    }
    assert!(fs::read_to_string(running.dir.path().join("a.yaml")).unwrap().contains("weight: 19 }"));
    let metrics = running.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "sluicegate_split_weight{split=\"default/backend\",subset=\"v1\"} 19",
        "sluicegate_split_proxies_acked{split=\"default/backend\"} 2",
        "sluicegate_sync_polls_open 2",
        "sluicegate_propagation_seconds_bucket{le=\"+Inf\"}",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
    running.stop();
    for proxy in proxies {
        let last = proxy.join().unwrap();
        assert_eq!(last["splits"], json!([]), "the end is an empty answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_answers_held_polls_and_comes_quickly() {
    let mut running = start(&[("a.yaml", &backend(90, 10))]).await;
    let proxy = obey(running.proxy, 1);
    running.until("/v1/proxies", |p| p["proxies"][0]["polls"] == 1).await;
    running.stop();
    let ended = tokio::time::timeout(Duration::from_secs(2), running.done).await;
    assert!(matches!(ended, Ok(Ok(Ok(())))), "{ended:?}");
    assert_eq!(proxy.join().unwrap()["removed"], json!([]));
    // And the state is free for the next one.
    app::build(config(&running.dir)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_whose_peer_hangs_up_is_closed() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let (_, answer) = running.sync(&request(1)).await;
    let body = next(&request(1), &answer).to_string();
    let mut stream = TcpStream::connect(running.proxy).unwrap();
    write!(stream, "POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    running.until("/v1/proxies", |p| p["proxies"][0]["polls"] == 1).await;
    drop(stream);
    running.until("/v1/proxies", |p| p["proxies"][0]["polls"] == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_speak_the_compact_encoding() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let request: sluicegate_core::wire::SyncRequest = serde_json::from_value(request(1)).unwrap();
    let url = format!("http://{}/v1/sync", running.proxy);
    let bytes = tokio::task::spawn_blocking(move || {
        let post = agent().post(&url).header("content-type", MEDIA_TYPE).header("accept", MEDIA_TYPE);
        let mut answer = post.send(&request.encode()).unwrap();
        assert_eq!(answer.headers()["content-type"], MEDIA_TYPE);
        answer.body_mut().read_to_vec().unwrap()
    });
    let answer = SyncAnswer::decode(&bytes.await.unwrap()).unwrap();
    assert_eq!((answer.splits[0].generation, answer.report), (1, 500));
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_are_counted_and_described() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let url = format!("http://{}/v1/report", running.proxy);
    let counts =
        json!({ "requests": 100, "outcomes": [0, 20, 0, 0, 5, 0, 0, 0], "unobserved": 0, "latency": [[40, 25]] });
    let report = json!({ "sluicegate": 1, "proxy": request(1)["proxy"],
        "series": [{ "split": "default/backend", "subset": "v1", "sample": 4, "counts": counts }] });
    let (status, answer) = ask(move || agent().post(&url).send_json(&report)).await;
    assert_eq!((status, answer), (200, json!({ "sluicegate": 1 })));
    let split = running.get("/v1/splits/default/backend").await;
    let counts = &split["subsets"][0]["counts"];
    assert_eq!(
        (&counts["requests"], &counts["outcomes"]["2xx"], &counts["observed"]["2xx"]),
        (&json!(100), &json!(80), &json!(20))
    );
    assert_eq!(counts["errors"], 0.2);
    assert!(counts["p99Ms"].as_f64().unwrap() > counts["p50Ms"].as_f64().unwrap() * 0.9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_refused_with_a_reason() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let mut other = request(1);
    other["sluicegate"] = json!(2);
    for (request, why) in [(json!({}), "missing field"), (json!("garbage"), "not understood"), (other, "protocol 2")] {
        let (status, answer) = running.sync(&request).await;
        assert_eq!(status, 400);
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
    let mut huge = TcpStream::connect(running.proxy).unwrap();
    huge.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(huge, "POST /v1/sync HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n").unwrap();
    let mut answer = [0; 64];
    let read = huge.read(&mut answer).unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 413"), "{:?}", String::from_utf8_lossy(&answer));
    let (status, answer) = running.set(json!({ "v9": 1 })).await;
    assert_eq!(
        (status, answer["error"].as_str().unwrap()),
        (422, "split default/backend has no subset \"v9\"; it has v1, v2")
    );
    assert!(running.get("/v1/nothing").await["error"].as_str().unwrap().contains("/v1/splits"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_document_shows_as_a_condition_beside_what_is_in_force() {
    let bad = yaml("never", &[("v1", 0)], "");
    let running = start(&[("a.yaml", &backend(90, 10)), ("bad.yaml", &bad)]).await;
    let splits = running.get("/v1/splits").await;
    let never = &splits["splits"][1];
    assert_eq!((&never["name"], &never["generation"]), (&json!("default/never"), &Value::Null));
    assert_eq!(
        (&never["conditions"][0]["status"], &never["conditions"][0]["reason"]),
        (&json!("False"), &json!("Invalid"))
    );
    fs::write(running.dir.path().join("a.yaml"), backend(0, 0)).unwrap();
    let refused = |s: &Value| s["conditions"][0]["status"] == "False";
    let split = running.until("/v1/splits/default/backend", refused).await;
    let message = split["conditions"][0]["message"].as_str().unwrap();
    assert!(message.ends_with("generation 1 stays in force"), "{message}");
    assert_eq!(split["subsets"][0]["weight"], 90);
    assert_eq!(running.get("/healthz").await, "ok\n");
    assert_eq!(running.get("/readyz").await, "ready\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_may_be_rotated() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    fs::write(&file, "old\n").unwrap();
    let running = start_with(&[("a.yaml", &backend(90, 10))], |c| c.proxy_token_file = Some(file.clone())).await;
    let sync = async |token: Option<&str>| {
        let (url, token) = (format!("http://{}/v1/sync", running.proxy), token.map(|t| format!("Bearer {t}")));
        ask(move || {
            let post = agent().post(&url);
            let post = if let Some(token) = token { post.header("authorization", token) } else { post };
            post.send_json(request(1))
        })
        .await
    };
    assert_eq!(sync(Some("old")).await.0, 200);
    let (status, answer) = sync(None).await;
    assert_eq!(status, 401);
    assert!(answer["error"].as_str().unwrap().contains("token_env"));
    assert_eq!((sync(Some("ol")).await.0, sync(Some("")).await.0, sync(Some("oldx")).await.0), (401, 401, 401));
    fs::write(dir.path().join("new"), "new\nold\n").unwrap();
    fs::rename(dir.path().join("new"), &file).unwrap();
    assert_eq!((sync(Some("new")).await.0, sync(Some("old")).await.0), (200, 200));
}

#[tokio::test]
async fn an_admin_port_for_everybody_must_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(&dir);
    config.admin_listen = "0.0.0.0:0".parse().unwrap();
    let why = app::build(config.clone()).await.unwrap_err().to_string();
    assert!(why.contains("--admin-allow-remote"), "{why}");
    config.admin_allow_remote = true;
    app::build(config).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_on_another_site_cannot_change_weights() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let url = format!("http://{}/v1/splits/default/backend/weights", running.admin);
    // Without a preflight a browser sends only such content types.
    let (status, _) = ask(move || agent().post(&url).content_type("text/plain").send(r#"{"weights":{"v1":1}}"#)).await;
    assert_eq!(status, 415);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_for_monitoring_tells_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), backend(90, 10)).unwrap();
    let mut config = config(&dir);
    config.metrics_listen = Some(config.admin_listen);
    let bound = app::build(config).await.unwrap();
    let metrics = bound.metrics_address.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(bound.run(async { drop(stopped.await) }));
    for (path, status) in [("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/v1/splits", 404)] {
        let url = format!("http://{metrics}{path}");
        let answer = tokio::task::spawn_blocking(move || agent().get(&url).call().unwrap().status().as_u16());
        assert_eq!(answer.await.unwrap(), status, "{path}");
    }
    let url = format!("http://{metrics}/v1/splits/default/backend/weights");
    let (status, _) = ask(move || agent().post(&url).send_json(json!({ "weights": { "v1": 1 } }))).await;
    assert_eq!(status, 404);
    stop.send(()).unwrap();
    done.await.unwrap().unwrap();
}
