//! The dashboard's side of the admin port: what it is made of, what it is told, and which browsers may act.

use crate::{
    serve::{Running, start, start_with},
    support::backend,
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

fn connect(to: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// The whole answer to a request with these headers; `{admin}` in them is the port's own address.
async fn ask(running: &Running, line: &str, headers: &str, body: &str) -> (u16, String) {
    let to = SocketAddr::from(([127, 0, 0, 1], running.admin.port()));
    let headers = headers.replace("{admin}", &to.to_string());
    let host = if headers.contains("host:") { String::new() } else { format!("host: {to}\r\n") };
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\n{host}{kind}connection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    let read = move || {
        let mut answer = String::new();
        connect(to, &request).read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = tokio::task::spawn_blocking(read).await.unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

const WEIGHTS: &str = "POST /v1/splits/default/backend/weights";

async fn set(running: &Running, headers: &str, v1: u32) -> (u16, String) {
    ask(running, WEIGHTS, headers, &json!({ "weights": { "v1": v1 } }).to_string()).await
}

/// The events of a stream, one by one.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(to: SocketAddr, query: &str) -> Self {
        Self(BufReader::new(connect(to, &format!("GET /v1/events{query} HTTP/1.1\r\nhost: {to}\r\n\r\n"))))
    }

    /// The next one; `None`: the stream is over.
    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }

    /// The next one that is so.
    fn until(&mut self, so: impl Fn(&Value) -> bool) -> Value {
        (0..100).find_map(|_| self.next().filter(|event| so(event))).expect("no such event among a hundred")
    }
}

async fn token(running: &Running) -> String {
    let to = running.admin;
    let first = tokio::task::spawn_blocking(move || Events::open(to, "").next().unwrap()).await.unwrap();
    first["hello"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_with_a_policy_that_runs_nothing_else_and_all_it_names_is_there() {
    let running = start(&[]).await;
    let (status, page) = ask(&running, "GET /", "", "").await;
    assert_eq!(status, 200);
    let mut files = vec!["app.js".to_owned()];
    files.extend(page.split('"').filter_map(|part| part.strip_prefix("/dashboard/")).map(str::to_owned));
    let mut seen = Vec::new();
    while let Some(file) = files.pop() {
        if seen.contains(&file) {
            continue;
        }
        let (status, text) = ask(&running, &format!("GET /dashboard/{file}"), "", "").await;
        assert_eq!(status, 200, "{file}");
        let policy = "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; ";
        assert!(text.contains(policy) && text.contains("x-content-type-options: nosniff"), "{file}: {text:.600}");
        let (_, content) = text.split_once("\r\n\r\n").unwrap();
        for never in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://", "//cdn"] {
            assert!(!content.contains(never), "{file} has {never}");
        }
        files.extend(content.split('"').filter_map(|part| part.strip_prefix("./")).map(str::to_owned));
        seen.push(file);
    }
    assert_eq!(seen.len(), 17, "{seen:?}");
    assert_eq!(ask(&running, "GET /dashboard/other.js", "", "").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_page_itself_and_what_is_no_browser_may_change_anything() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    let token = token(&running).await;
    let with = |headers: &str| format!("{headers}x-sluicegate-token: {token}\r\n");
    let own = "origin: http://{admin}\r\nsec-fetch-site: same-origin\r\n";
    let refused = [
        ("another site", with("origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n"), "another site"),
        ("an old browser", with("origin: https://evil.example\r\n"), "a page of https://evil.example"),
        ("a file or sandbox", with("origin: null\r\n"), "a page of null"),
        ("another port here", with("origin: http://127.0.0.1:1\r\nsec-fetch-site: same-site\r\n"), "another site"),
        ("the page without the token", own.to_owned(), "load it again"),
        ("a wrong token", format!("{own}x-sluicegate-token: 0\r\n"), "load it again"),
        (
            "a name that points here",
            with("host: evil.example:7071\r\norigin: http://evil.example:7071\r\n"),
            "by no name",
        ),
    ];
    for (who, headers, why) in refused {
        let (status, answer) = set(&running, &headers, 1).await;
        assert!(status == 403 && answer.contains(why), "{who}: {answer}");
        let (status, answer) =
            ask(&running, "POST /v1/rollouts/default/app/rollback", &headers, r#"{"by":"eve"}"#).await;
        assert!(status == 403, "{who}: {answer}");
    }
    assert_eq!(running.get("/v1/splits/default/backend").await["generation"], 1);
    for (who, headers) in [("the page", with(own)), ("the command line", String::new())] {
        let (status, answer) = set(&running, &headers, 50).await;
        assert_eq!(status, 200, "{who}: {answer}");
    }
    assert_eq!(running.get("/v1/splits/default/backend").await["subsets"][0]["weight"], 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_points_here_reads_nothing_but_what_monitoring_may() {
    let running = start(&[("a.yaml", &backend(90, 10))]).await;
    for path in ["/", "/dashboard/app.js", "/v1/events", "/v1/splits", "/v1/proxies"] {
        let (status, answer) = ask(&running, &format!("GET {path}"), "host: evil.example\r\n", "").await;
        assert!(status == 403 && answer.contains("by no name"), "{path}: {answer}");
        let (status, _) = ask(&running, &format!("GET {path}"), "sec-fetch-site: cross-site\r\n", "").await;
        assert_eq!(status, 403, "{path}");
    }
    for host in ["localhost:7071", "LOCALHOST", "127.0.0.1", "[::1]:7071"] {
        assert_eq!(ask(&running, "GET /v1/splits", &format!("host: {host}\r\n"), "").await.0, 200, "{host}");
    }
    assert_eq!(ask(&running, "GET /metrics", "host: prometheus.example\r\n", "").await.0, 200);
    let follows = "sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\n";
    assert_eq!(ask(&running, "GET /", follows, "").await.0, 200, "a link from a chat");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_others_reach_has_no_dashboard_and_takes_nothing_from_a_browser() {
    let wide = |config: &mut sluicegate::app::Config| {
        config.admin_listen = "0.0.0.0:0".parse().unwrap();
        config.admin_allow_remote = true;
    };
    let running = start_with(&[("a.yaml", &backend(90, 10))], wide).await;
    for path in ["/", "/dashboard/app.js"] {
        let (status, answer) = ask(&running, &format!("GET {path}"), "", "").await;
        assert!(status == 404 && answer.contains("127.0.0.1"), "{answer}");
    }
    let (status, answer) = set(&running, "origin: http://{admin}\r\nsec-fetch-site: same-origin\r\n", 1).await;
    assert!(status == 403 && answer.contains("the dashboard knows nobody"), "{answer}");
    assert_eq!(set(&running, "host: controller.example\r\n", 1).await.0, 200, "the command line");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_everything_once_then_what_changes_and_ends_with_the_process() {
    let mut running =
        start(&[("a.yaml", &backend(90, 10)), ("b.yaml", &backend(1, 1).replace("backend", "other"))]).await;
    let to = running.admin;
    let open = move || {
        let mut events = Events::open(to, "?split=default/backend");
        let first = events.next().unwrap();
        (events, first)
    };
    let (mut events, first) = tokio::task::spawn_blocking(open).await.unwrap();
    assert_eq!(first["splits"].as_array().unwrap().len(), 2, "{first}");
    assert!(first["detail"]["subsets"][0]["counts"]["requests"] == 0 && first["hello"]["token"].is_string(), "{first}");
    assert_eq!(running.set(json!({ "v1": 50 })).await.0, 200);
    let changed = move || {
        let event = events.until(|event| event["splits"].is_array());
        (events, event)
    };
    let (mut events, event) = tokio::task::spawn_blocking(changed).await.unwrap();
    assert_eq!(event["splits"].as_array().unwrap().len(), 1, "only what changed: {event}");
    assert!(event["splits"][0]["generation"] == 2 && event["hello"].is_null(), "{event}");
    std::fs::remove_file(running.dir.path().join("b.yaml")).unwrap();
    let gone = move || {
        let event = events.until(|event| event["gone"].is_array());
        (events, event)
    };
    let (mut events, event) = tokio::task::spawn_blocking(gone).await.unwrap();
    assert_eq!(event["gone"], json!(["split/default/other"]), "{event}");
    running.stop();
    tokio::task::spawn_blocking(move || while events.next().is_some() {}).await.unwrap();
}

const SPLIT: &str = "apiVersion: sluicegate.dev/v1alpha1\nkind: TrafficSplit\nmetadata: { name: app }\nspec:\n  subsets: \
    [{ name: canary, weight: 0 }, { name: main, weight: 100 }, { name: baseline, weight: 0 }]\n  default: main\n";

fn deploy(version: &str) -> String {
    format!(
        "apiVersion: sluicegate.dev/v1alpha1\nkind: CanaryDeploy\nmetadata: {{ name: app }}\nspec:\n  version: {version}\n  \
         splits: [app, other]\n  steps: [10, 50]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_rollout_the_stream_tells_all_its_splits_its_points_and_who_said_what() {
    let other = SPLIT.replace("name: app", "name: other");
    let running = start(&[("app.yaml", SPLIT), ("other.yaml", &other), ("deploy.yaml", &deploy("v1"))]).await;
    running.until("/v1/rollouts/default/app", |rollout| rollout["phase"] == "Idle").await;
    let to = running.admin;
    let open = move || {
        let mut events = Events::open(to, "?rollout=default/app");
        let first = events.next().unwrap();
        (events, first)
    };
    let (mut events, first) = tokio::task::spawn_blocking(open).await.unwrap();
    let names: Vec<_> = first["details"].as_array().unwrap().iter().map(|split| split["name"].clone()).collect();
    assert_eq!(names, ["default/app", "default/other"], "{first}");
    assert!(first["detail"].is_null() && first["series"].is_null(), "nothing has been under way: {first}");
    std::fs::write(running.dir.path().join("deploy.yaml"), deploy("v2")).unwrap();
    let begun = move || {
        let whole = events.until(|event| event["series"].is_object());
        let point = events.until(|event| event["series"].is_object());
        (whole, point)
    };
    let said = async {
        let weighed = |rollout: &Value| rollout["history"].to_string().contains("weights");
        running.until("/v1/rollouts/default/app", weighed).await;
        ask(&running, "POST /v1/rollouts/default/app/pause", "", r#"{"by":"ada","reason":"lunch"}"#).await
    };
    let (told, (status, answer)) = tokio::join!(tokio::task::spawn_blocking(begun), said);
    let (whole, point) = told.unwrap();
    assert!(whole["series"]["whole"] == true && whole["series"]["points"] == json!([]), "{whole}");
    assert!(point["series"]["whole"] == false && point["series"]["points"].as_array().unwrap().len() == 1, "{point}");
    assert_eq!(status, 200, "{answer}");
    let rollout = running.get("/v1/rollouts/default/app").await;
    let history = rollout["history"].as_array().unwrap();
    let said = history.iter().find_map(|entry| entry["said"].as_object()).unwrap();
    assert!(said["verb"] == "pause" && said["by"] == "ada" && said["why"] == "lunch", "{said:?}");
    let weighed = history.iter().find(|entry| entry["weights"].is_object());
    assert!(weighed.is_some_and(|entry| entry["weights"]["main"] != "100"), "{history:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_a_closed_one_makes_room() {
    let running = start(&[]).await;
    let to = running.admin;
    let fill = move || {
        (0..32)
            .map(|_| {
                let mut events = Events::open(to, "");
                events.next().unwrap();
                events
            })
            .collect()
    };
    let mut all: Vec<Events> = tokio::task::spawn_blocking(fill).await.unwrap();
    let (status, answer) = ask(&running, "GET /v1/events", "", "").await;
    assert!(status == 503 && answer.contains("32 pages"), "{answer}");
    all.pop();
    for _ in 0..500 {
        let again = move || {
            let mut line = String::new();
            Events::open(to, "").0.read_line(&mut line).unwrap();
            line
        };
        if tokio::task::spawn_blocking(again).await.unwrap().contains("200") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no room after one was closed");
}
