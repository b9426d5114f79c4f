//! Webhooks, against a small receiver on a real socket.

mod receiver;

use receiver::{Receiver, Reply};
use sluicegate::webhooks::{Answer, Event, SplitWeights, Webhook, WebhookPhase, backoff, call, message::Message, send};
use std::{fs, time::Duration};
use tokio::time::Instant;

fn hook(url: &str) -> Webhook {
    Webhook {
        url: url.to_owned(),
        phase: WebhookPhase::BeforeIncrease,
        timeout: Duration::from_secs(20),
        retries: 3,
        secret_file: None,
        ca_file: None,
    }
}

fn event() -> Event {
    Event {
        rollout: "default/hello-app".into(),
        run: "1700000000000".into(),
        phase: WebhookPhase::BeforeIncrease,
        step: Some(2),
        version: "v2".into(),
        weights: vec![SplitWeights {
            split: "default/hello-app".into(),
            canary: 12_345,
            main: 75_310,
            baseline: 12_345,
        }],
        verdict: Some("pass".into()),
        message: None,
        attempt: 0,
        time: jiff::Timestamp::from_millisecond(1_700_000_000_000).unwrap(),
    }
}

fn refused(answer: Answer) -> String {
    match answer {
        Answer::Refused(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn failed(answer: Answer) -> String {
    match answer {
        Answer::Failed(why) => why.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_receiver_is_told_everything_and_says_yes() {
    let receiver = Receiver::new([Reply::status(204, "")]);
    assert!(matches!(call(&hook(&receiver.url()), &event()).await, Answer::Go));
    let [asked] = &receiver.asked()[..] else { panic!() };
    assert!(asked.head.starts_with("POST /hook HTTP/1.1\r\n"), "{}", asked.head);
    assert_eq!(asked.header("content-type"), Some("application/json"));
    assert_eq!(asked.header("x-sluicegate-signature"), None, "there is no secret");
    let wanted = serde_json::json!({
        "apiVersion": "sluicegate.dev/v1alpha1", "kind": "RolloutEvent", "rollout": "default/hello-app",
        "run": "1700000000000", "phase": "beforeIncrease", "step": 2, "version": "v2",
        "weights": [{ "split": "default/hello-app", "canary": 12.345, "main": 75.31, "baseline": 12.345 }],
        "verdict": "pass", "message": null, "attempt": 0, "time": "2023-11-14T22:13:20Z"
    });
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&asked.body).unwrap(), wanted);
}

#[tokio::test]
async fn a_refusal_is_final_and_gives_the_beginning_of_its_reason() {
    let receiver = Receiver::new([Reply::status(403, &format!("freeze\n until   {}", "é".repeat(500)))]);
    let reason = refused(call(&hook(&receiver.url()), &event()).await);
    assert!(reason.starts_with("403: freeze until éé"), "{reason}");
    assert_eq!(reason.chars().count(), "403: ".len() + 200);
    assert_eq!(receiver.asked().len(), 1, "no is no");
    let receiver = Receiver::new([Reply::status(404, "")]);
    assert_eq!(refused(call(&hook(&receiver.url()), &event()).await), "404 Not Found");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_with_growing_pauses_and_the_same_key() {
    let replies = [Reply::status(500, "oops"), Reply::Close, Reply::status(429, ""), Reply::status(200, "")];
    let receiver = Receiver::new(replies);
    let before = Instant::now();
    assert!(matches!(call(&hook(&receiver.url()), &event()).await, Answer::Go));
    let paused = before.elapsed().as_millis();
    assert!((250 + 500 + 1000..=500 + 1000 + 2000 + 10).contains(&paused), "{paused} ms");
    let asked = receiver.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|a| a.body == asked[0].body));
    let key = asked[0].header("idempotency-key").unwrap();
    assert!(key.len() == 32 && asked.iter().all(|a| a.header("idempotency-key") == Some(key)), "{key}");
}

#[tokio::test(start_paused = true)]
async fn after_the_last_retry_the_call_has_failed_with_the_last_answer() {
    let receiver = Receiver::new([Reply::status(500, ""), Reply::status(503, "still\ndown")]);
    let hook = Webhook { retries: 1, ..hook(&receiver.url()) };
    let why = failed(call(&hook, &event()).await);
    assert!(why.ends_with(" answered 503: still down after 2 tries"), "{why}");
    assert!(!why.contains("/hook"), "the path may be a secret: {why}");
    assert_eq!(receiver.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_within_bounds() {
    for (asked, least, most) in [("7", 7_000, 7_010), ("86400", 60_000, 60_010), ("soon", 250, 510), ("-1", 250, 510)] {
        let receiver = Receiver::new([Reply::later(503, asked), Reply::status(200, "")]);
        let before = Instant::now();
        assert!(matches!(call(&hook(&receiver.url()), &event()).await, Answer::Go));
        let paused = before.elapsed().as_millis();
        assert!((least..=most).contains(&paused), "{asked}: {paused} ms");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_is_cut_at_the_timeout() {
    for reply in [Reply::Hang, Reply::Drip] {
        let receiver = Receiver::new([reply]);
        let hook = Webhook { retries: 0, timeout: Duration::from_millis(150), ..hook(&receiver.url()) };
        let before = Instant::now();
        let why = failed(call(&hook, &event()).await);
        assert!(why.contains("no answer from http://127.0.0.1:") && why.contains("timeout"), "{why}");
        assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let elsewhere = Receiver::new([Reply::status(200, "")]);
        let receiver = Receiver::new([Reply::redirect(status, &elsewhere.url())]);
        let why = failed(call(&hook(&receiver.url()), &event()).await);
        assert!(why.contains(&format!("redirects ({status}); redirects are not followed")), "{why}");
        assert!(elsewhere.asked().is_empty(), "{status}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    let receiver = Receiver::new([Reply::Flood(403)]);
    let reason = refused(call(&hook(&receiver.url()), &event()).await);
    assert_eq!(reason, format!("403: {}", "x".repeat(200)));
}

#[tokio::test]
async fn a_call_is_signed_with_the_secret_as_it_is_now() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let receiver = Receiver::new([Reply::status(200, ""), Reply::status(200, "")]);
    let hook = Webhook { secret_file: Some(file.clone()), ..hook(&receiver.url()) };
    for secret in
        ["first-secret", "another one, which is longer than a block of SHA-256, and that is hashed to begin with"]
    {
        fs::write(&file, format!("{secret}\n")).unwrap();
        assert!(matches!(call(&hook, &event()).await, Answer::Go));
        let asked = receiver.asked().pop().unwrap();
        let wanted = format!("sha256={}", hmac(secret.as_bytes(), &asked.body));
        assert_eq!(asked.header("x-sluicegate-signature"), Some(wanted.as_str()));
    }
    fs::write(&file, " \n").unwrap();
    assert!(failed(call(&hook, &event()).await).contains("is empty; put at least 32"));
    fs::remove_file(&file).unwrap();
    assert!(failed(call(&hook, &event()).await).contains("mend secretFile"));
    assert_eq!(receiver.asked().len(), 2, "nothing goes out without the signature");
}

/// HMAC by its definition (RFC 2104), not by the library that made it.
fn hmac(secret: &[u8], body: &[u8]) -> String {
    let sha = |parts: [&[u8]; 2]| ring::digest::digest(&ring::digest::SHA256, &parts.concat());
    let mut block = [0; 64];
    let short = if secret.len() > 64 { sha([secret, b""]).as_ref().to_vec() } else { secret.to_vec() };
    block[..short.len()].copy_from_slice(&short);
    let (inner, outer) = (block.map(|b| b ^ 0x36), block.map(|b| b ^ 0x5c));
    let inner = sha([&inner, body]);
    sha([&outer, inner.as_ref()]).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_signature_is_that_of_the_standard() {
    // RFC 4231, test case 2.
    let message = Message { body: b"what do ya want for nothing?".to_vec(), idempotency_key: String::new() };
    let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(message.signature(b"Jefe"), wanted);
}

#[test]
fn the_key_is_that_of_the_event_whatever_has_moved_on_since() {
    let key = |change: &dyn Fn(&mut Event)| {
        let mut event = event();
        change(&mut event);
        Message::of(&event).idempotency_key
    };
    let same = key(&|_| {});
    assert_eq!(key(&|e| e.time = jiff::Timestamp::UNIX_EPOCH), same);
    assert_eq!(key(&|e| e.verdict = None), same, "a gate is asked about the step");
    assert_eq!(key(&|e| e.weights.clear()), same);
    let others = [
        key(&|e| e.rollout = "default/other".into()),
        key(&|e| e.run = "2".into()),
        key(&|e| e.step = Some(3)),
        key(&|e| e.version = "v3".into()),
        key(&|e| e.attempt = 1),
        key(&|e| e.phase = WebhookPhase::BeforePromote),
        key(&|e| e.phase = WebhookPhase::Notify),
        key(&|e| (e.phase, e.verdict) = (WebhookPhase::Notify, Some("fail".into()))),
        key(&|e| (e.run, e.version) = ("17000000000".into(), "00v2".into())),
    ];
    for (i, other) in others.iter().enumerate() {
        assert!(*other != same && !others[..i].contains(other), "{i}");
    }
}

#[test]
fn pauses_double_up_to_half_a_minute_and_half_of_each_is_chance() {
    let bounds = |tries| (backoff::pause(tries, 0.0, None).as_millis(), backoff::pause(tries, 1.0, None).as_millis());
    assert_eq!([1, 2, 3, 4].map(bounds), [(250, 500), (500, 1000), (1000, 2000), (2000, 4000)]);
    assert_eq!([7, 20, u32::MAX].map(bounds), [(15_000, 30_000); 3]);
    assert_eq!(backoff::pause(1, f64::NAN, None).as_millis(), 500);
    let now = event().time;
    let after = |text| backoff::retry_after(text, now).map(|d| d.as_secs());
    assert_eq!(after("Tue, 14 Nov 2023 22:13:50 GMT"), Some(30));
    assert_eq!(after("Tue, 14 Nov 2023 22:13:00 GMT"), Some(0), "in the past");
    assert_eq!((after(" 5 "), after("5.5"), after("")), (Some(5), None, None));
}

#[test]
fn of_a_url_only_the_host_is_shown() {
    for (url, shown) in [
        ("https://hooks.example.com/services/T0/secret", "https://hooks.example.com"),
        ("http://user:password@host:8080/x?y", "host:8080"),
        ("http://host?token=x", "http://host"),
        ("nonsense", "nonsense"),
    ] {
        assert_eq!(send::host(url), shown);
    }
}

#[tokio::test]
async fn a_receiver_with_a_certificate_of_its_own_is_trusted_by_ca_file_only() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = dir.path().join("ca.pem");
    fs::write(&pem, made.cert.pem()).unwrap();
    let receiver = Receiver::with_tls([Reply::status(200, ""), Reply::status(200, "")], &made);
    let strict = Webhook { retries: 0, ..hook(&receiver.url()) };
    let why = failed(call(&strict, &event()).await);
    assert!(why.contains("certificate"), "{why}");
    let trusting = Webhook { ca_file: Some(pem.clone()), ..strict };
    assert!(matches!(call(&trusting, &event()).await, Answer::Go));
    fs::write(&pem, "nothing").unwrap();
    assert!(failed(call(&trusting, &event()).await).contains("there is no certificate in it"));
}
