//! What a Prometheus may answer, and what becomes of it: points, or an error that says what to change.

use jiff::Timestamp;
use sluicegate::prometheus::{Prometheus, Settings, Window, query::Subject};
use sluicegate_core::judge::{
    Verdict,
    metrics::{MetricSpec, Metrics, MetricsSpec, Samples},
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A server that answers every connection with these bytes, and notes what was asked; the last answer repeats.
struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn fake(answers: Vec<Vec<u8>>, hang: bool) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&asked);
    thread::spawn(move || {
        let mut held = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    break;
                }
                head.push(byte[0]);
            }
            notes.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            stream.write_all(&answers[number.min(answers.len() - 1)]).ok();
            if hang {
                held.push(stream);
            }
        }
    });
    Fake { url, asked }
}

fn http(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn settings(url: &str) -> Settings {
    Settings { url: url.to_owned(), token: None, ca: None, timeout: Duration::from_secs(5) }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap()
}

/// Five points, every 15 s.
fn window() -> Window {
    Window::new(at(1_700_000_000_500), at(1_700_000_060_500), Duration::from_secs(15)).unwrap()
}

fn subject(subset: &str) -> Subject {
    let [namespace, split, version] = ["shop", "cart", "v1"].map(str::to_owned);
    Subject { namespace, split, subset: subset.to_owned(), version }
}

/// What comes of such an answer.
fn answered(bytes: Vec<u8>) -> Result<Vec<Option<f64>>, String> {
    let fake = fake(vec![bytes], false);
    let prometheus = Prometheus::new(settings(&fake.url)).unwrap();
    prometheus.series("up", window()).map_err(|why| why.to_string())
}

fn matrix(values: &str) -> String {
    format!(
        r#"{{"status":"success","data":{{"resultType":"matrix","result":[{{"metric":{{"a":"b"}},"values":[{values}]}}]}}}}"#
    )
}

#[test]
fn points_land_on_their_step_and_what_is_not_there_is_missing() {
    let some = matrix(r#"[1700000000.5,"1.5"],[1700000015.500,"NaN"],[1700000045.5,"+Inf"],[1700000060.5,"-2e-3"]"#);
    let expected = vec![Some(1.5), None, None, Some(f64::INFINITY), Some(-0.002)];
    assert_eq!(answered(http(200, &some)), Ok(expected));
    let none = r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
    assert_eq!(answered(http(200, none)), Ok(vec![None; 5]));
    let hint = r#"{"status":"success","warnings":["PromQL info: metric might not be a counter"],"infos":["x"],"data":{"resultType":"matrix","result":[]}}"#;
    assert_eq!(answered(http(200, hint)), Ok(vec![None; 5]));
}

#[test]
fn the_request_says_what_is_asked_and_by_whom() {
    let fake = fake(vec![http(200, &matrix(""))], false);
    let token = Some("secret\n".to_owned());
    let prometheus = Prometheus::new(Settings { token, ..settings(&format!("{}/prom/", fake.url)) }).unwrap();
    prometheus.series(r#"rate(x{s="a&b+c"}[1m])"#, window()).unwrap();
    let asked = fake.asked.lock().unwrap()[0].clone();
    let line = asked.lines().next().unwrap();
    assert!(line.starts_with("GET /prom/api/v1/query_range?query=rate"), "{line}");
    assert!(line.contains("a%26b%2Bc"), "{line}");
    assert!(line.contains("&start=1700000000.500&end=1700000060.500&step=15.000&timeout=5000ms "), "{line}");
    assert!(asked.contains("authorization: Bearer secret\r\n"), "{asked}");
    assert!(!format!("{prometheus:?}").contains("secret"), "the token is shown");
}

#[test]
fn several_series_are_refused_with_what_to_do() {
    let two = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"a"},"values":[]},
        {"metric":{"pod":"b"},"values":[]},{"metric":{"pod":"c"},"values":[]}]}}"#;
    let why = answered(http(200, two)).unwrap_err();
    assert!(why.contains("the query must give one series; got 3: aggregate with sum()"), "{why}");
    assert!(why.contains(r#"{pod="a"}"#) && why.contains(r#"{pod="b"}"#), "{why}");
}

#[test]
fn prometheus_own_words_are_passed_on() {
    for status in [400, 422, 500, 503] {
        let body = r#"{"status":"error","errorType":"bad_data","error":"1:5: parse error: unexpected \"}\""}"#;
        let why = answered(http(status, body)).unwrap_err();
        let expected = format!("refuses the query ({status} bad_data): 1:5: parse error: unexpected \"}}\"");
        assert!(why.contains(&expected), "{why}");
    }
    let why = answered(http(200, r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#)).unwrap_err();
    assert!(why.contains("query timed out"), "{why}");
}

#[test]
fn whatever_is_no_answer_of_prometheus_is_an_error_that_says_so() {
    let long = "x".repeat(5_000);
    let cases: [(Vec<u8>, &str); 17] = [
        (http(200, "<html>Sign in</html>"), "is that the address of a Prometheus? it begins: <html>Sign in"),
        (http(200, &long), "xxx…"),
        (http(200, ""), "not Prometheus's JSON"),
        (http(200, r#"{"status":"success"}"#), "it has no data"),
        (http(200, "[[[[[[[["), "not Prometheus's JSON"),
        (http(200, &"[".repeat(100_000)), "not Prometheus's JSON"),
        (http(200, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#), "gives a vector"),
        (http(200, r#"{"status":"success","data":{"resultType":"matrix","result":{"a":1}}}"#), "not Prometheus's JSON"),
        (
            http(
                200,
                r#"{"status":"success","warnings":["store b is gone"],"data":{"resultType":"matrix","result":[]}}"#,
            ),
            "points may be missing or wrong: store b is gone",
        ),
        (
            http(
                200,
                r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"histograms":[[1,{}]]}]}}"#,
            ),
            "histogram_quantile",
        ),
        (http(200, &matrix(r#"[1700000000.5,"seven"]"#)), "\"seven\", which is no number"),
        (http(200, &matrix(r#"[1700000001.5,"7"]"#)), "1700000001.5 s, which was not asked for"),
        (http(200, &matrix(r#"[1700000075.5,"7"]"#)), "not asked for"),
        (http(401, "who are you?"), "(is the bearer token right, and is one needed?); it says: who are you?"),
        (http(404, "404 page not found"), "without /api/v1"),
        (http(302, ""), "a redirect"),
        (http(503, "upstream connect error"), "(a proxy before it says it is not there); it says: upstream connect"),
    ];
    for (bytes, part) in cases {
        let why = answered(bytes).expect_err(part);
        assert!(why.contains(part) && why.len() < 700 && !why.contains('\n'), "{part}: {why}");
    }
}

#[test]
fn a_broken_connection_is_an_error_and_not_half_an_answer() {
    let whole = http(200, &matrix(r#"[1700000000.5,"1"]"#));
    for cut in [0, 5, 20, whole.len() / 2, whole.len() - 1] {
        let why = answered(whole[..cut].to_vec()).expect_err("half an answer");
        assert!(why.contains("does not answer"), "{cut}: {why}");
    }
    let why = answered(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()).unwrap_err();
    assert!(why.contains("does not answer"), "{why}");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let why =
        Prometheus::new(settings(&format!("http://{gone}"))).unwrap().series("up", window()).unwrap_err().to_string();
    assert!(why.contains(&format!("prometheus at http://{gone} does not answer")), "{why}");
}

#[test]
fn a_silent_server_is_left_after_the_timeout() {
    let fake = fake(vec![Vec::new()], true);
    let prometheus = Prometheus::new(Settings { timeout: Duration::from_millis(100), ..settings(&fake.url) }).unwrap();
    let why = prometheus.series("up", window()).unwrap_err().to_string();
    assert!(why.contains("took longer than 100ms"), "{why}");
}

#[test]
fn an_endless_answer_is_cut_off() {
    let mut bytes = b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n".to_vec();
    bytes.resize(9 << 20, b' ');
    let why = answered(bytes).unwrap_err();
    assert!(why.contains("more than 8 MiB"), "{why}");
}

#[test]
fn an_address_or_window_that_cannot_be_is_refused() {
    for url in ["prometheus:9090", "ftp://prometheus", "http://", "", "http://p:9090?x=1"] {
        let why = Prometheus::new(settings(url)).unwrap_err().to_string();
        assert!(why.contains("write for example http://prometheus.monitoring:9090"), "{url}: {why}");
    }
    let why = Prometheus::new(settings("http://me:pass@prometheus")).unwrap_err().to_string();
    assert!(!why.contains("pass@"), "{why}");
    let with = |token: &str| Prometheus::new(Settings { token: Some(token.to_owned()), ..settings("http://p") });
    assert!(with("a\nb").unwrap_err().to_string().contains("bearer token"));
    let ca = Some(b"no certificate".to_vec());
    let why = Prometheus::new(Settings { ca, ..settings("https://p") }).unwrap_err().to_string();
    assert!(why.contains("not PEM"), "{why}");

    let window = |end, step| Window::new(at(0), at(end), Duration::from_micros(step)).map_err(|why| why.to_string());
    assert_eq!(window(10_999_000, 1_000_000).unwrap().points(), 11_000);
    assert!(window(11_000_000, 1_000_000).unwrap_err().contains("raise the step"));
    assert!(window(1_000, 999).unwrap_err().contains("too short"));
    assert!(window(-1, 1_000_000).unwrap_err().contains("before it starts"));
}

#[test]
fn whatever_goes_wrong_on_either_side_is_inconclusive_with_the_reason() {
    let metrics = Metrics::try_from(MetricsSpec::of(vec![MetricSpec::named("errors")])).unwrap();
    let template = r#"sum(x{subset="{{subset}}"})"#;
    let good = || http(200, &matrix(r#"[1700000000.5,"1"]"#));
    let bad = || http(500, "oh");
    for (answers, template, part) in [
        (vec![bad(), good()], template, "answers 500"),
        (vec![good(), bad()], template, "answers 500"),
        (vec![good()], "sum(x)", "the same for canary and baseline: use {{subset}} or {{version}}"),
        (vec![good()], "x{a=\"{{pod}}\"}", "none of {{namespace}}"),
    ] {
        let fake = fake(answers, false);
        let prometheus = Prometheus::new(settings(&fake.url)).unwrap();
        let samples = prometheus.samples(template, &subject("canary"), &subject("main"), window());
        let Samples::Failed(why) = &samples else { panic!("{part}: {samples:?}") };
        assert!(why.contains(part), "{why}");
        let judgment = metrics.judge(&[samples]);
        assert_eq!(judgment.verdict, Verdict::Inconclusive);
        assert!(judgment.reasons.iter().any(|reason| reason.contains(part)), "{:?}", judgment.reasons);
    }
    let fake = fake(vec![good()], false);
    let samples =
        Prometheus::new(settings(&fake.url)).unwrap().samples(template, &subject("canary"), &subject("main"), window());
    assert!(matches!(samples, Samples::Series { .. }), "{samples:?}");
    let asked = fake.asked.lock().unwrap().join("");
    assert!(asked.contains("subset%3D%22canary%22") && asked.contains("subset%3D%22main%22"), "{asked}");
}
