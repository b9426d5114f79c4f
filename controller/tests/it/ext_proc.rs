//! ext-proc without Envoy: every golden key, and what no Envoy would send.

mod peer;

use bytes::Bytes;
use peer::{Call, Peer, framed, request};
use proptest::prelude::*;
use serde_json::Value;
use sluicegate::{
    app,
    ext_proc::{
        exchange::Desk,
        gate::{Gate, Rules},
        proto::{
            Answer, HeaderMap, HttpHeaders, HttpTrailers, Part, ProcessingMode, ProcessingRequest, ProcessingResponse,
            SendMode,
        },
        service,
    },
    listen::Port,
};
use sluicegate_core::{
    counts::{Counts, Outcome},
    snapshot::Snapshot,
    spec::{Assignment, Protocol, SplitSpec, Sticky, StickyKey, SubsetSpec},
    wire::{Cursor, Subscription, SyncAnswer},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::sync::watch;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The service on a port of its own.
struct Running {
    gate: Arc<Gate>,
    address: SocketAddr,
    close: watch::Sender<bool>,
    served: tokio::task::JoinHandle<()>,
}

fn spec(weights: &[u32], assignment: Assignment) -> SplitSpec {
    let subset = |(at, weight): (usize, &u32)| SubsetSpec { name: format!("s{at}"), weight: *weight };
    SplitSpec {
        name: "default/backend".to_owned(),
        generation: 1,
        subsets: weights.iter().enumerate().map(subset).collect(),
        default: "s0".to_owned(),
        hosts: Vec::new(),
        assignment,
        overrides: Vec::new(),
        trust_upstream: false,
        write_default: true,
        protocol: Protocol::Http,
    }
}

fn gate(split: SplitSpec) -> Arc<Gate> {
    let rules = Rules {
        subscription: Subscription::Split("default/backend".to_owned()),
        fallback: None,
        revert: None,
        header: "x-sluicegate-subset".to_owned(),
        observe: true,
    };
    let gate = Gate::new(rules, 7);
    let mut snapshot = Snapshot::default();
    let cursor = Cursor { instance: 1, seq: 1 };
    snapshot.merge(SyncAnswer { sluicegate: 1, cursor, splits: vec![split], removed: Vec::new(), report: 0 });
    assert!(gate.load(Some(snapshot)).is_empty());
    Arc::new(gate)
}

async fn start(split: SplitSpec, farewell: Duration) -> Running {
    let port = Port::bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap().with_farewell(farewell);
    let (gate, address) = (gate(split), port.address().unwrap());
    let router = service::router(Desk { gate: Arc::clone(&gate), clock: app::clock(), access_log: false });
    let (close, closing) = watch::channel(false);
    Running { gate, address, close, served: tokio::spawn(port.serve(router, closing)) }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not come"))
}

/// The subset that an answer writes, and what it wants to see next.
fn read(answer: &ProcessingResponse) -> (Option<String>, ProcessingMode) {
    let Some(Answer::RequestHeaders(headers)) = &answer.answer else { panic!("{answer:?}") };
    let written = headers.response.as_ref().and_then(|common| {
        assert!(common.clear_route_cache, "the route is searched again");
        common.header_mutation.as_ref()?.set_headers.first()?.header.clone()
    });
    let subset = written.map(|header| {
        assert_eq!(header.key, "x-sluicegate-subset");
        String::from_utf8(header.raw_value.to_vec()).unwrap()
    });
    (subset, answer.mode_override.unwrap_or_default())
}

async fn decided(call: &mut Call, headers: &[(&str, &[u8])]) -> Option<String> {
    call.say(&request(headers));
    read(&soon("a decision", call.hear()).await.unwrap()).0
}

fn numbers(list: &Value) -> Vec<u32> {
    list.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
}

#[tokio::test]
async fn golden_keys_get_the_subsets_they_always_got() {
    let golden: Value = serde_json::from_str(include_str!("../../../core/golden/assignments.json")).unwrap();
    let mut seen = 0;
    for (at, weights) in golden["weights"].as_array().unwrap().iter().enumerate() {
        for vector in golden["keys"].as_array().unwrap() {
            let key = match (vector["key"].as_str(), vector["hex"].as_str()) {
                (Some(text), None) => text.as_bytes().to_vec(),
                (None, Some(hex)) => {
                    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
                }
                _ => panic!("neither key nor hex: {vector}"),
            };
            // An empty key is none, and goes by the even sequence.
            if key.is_empty() {
                continue;
            }
            let salt = vector["salt"].as_str().unwrap().to_owned();
            let sticky = Assignment::Sticky(Sticky { key: StickyKey::Header("x-key".to_owned()), salt });
            let gate = gate(spec(&numbers(weights), sticky));
            let Some(Part::RequestHeaders(HttpHeaders { headers: Some(headers) })) = request(&[("x-key", &key)]).part
            else {
                panic!("no headers")
            };
            let subset = gate.decide(&headers, None).subset;
            assert_eq!(subset, Some(format!("s{}", numbers(&vector["subsets"])[at])), "{vector} at {weights}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_wait_at_once_on_one_connection_and_each_is_answered() {
    let running = start(spec(&[1, 1], Assignment::Even), Duration::ZERO).await;
    let mut peer = Peer::connect(running.address).await;
    let mut calls = Vec::new();
    for _ in 0..1_000 {
        calls.push(soon("a stream", peer.call()).await.unwrap());
    }
    for call in &mut calls {
        assert!(decided(call, &[]).await.is_some());
    }
    // All of them have their decision, and none its response. A slow client's does not keep the others.
    for call in calls.iter_mut().rev() {
        call.say(&response(200));
        let answer = soon("an answer to the response", call.hear()).await.unwrap();
        assert!(matches!(answer.answer, Some(Answer::ResponseHeaders(_))), "{answer:?}");
        call.finish();
        assert_eq!(soon("the end", call.hear()).await, Err("0".to_owned()));
    }
    let total: Counts = sum(&running.gate);
    assert_eq!((total.requests, total.outcome(Outcome::Success)), (1_000, 1_000));
}

fn response(status: u16) -> ProcessingRequest {
    let Some(Part::RequestHeaders(headers)) = request(&[(":status", status.to_string().as_bytes())]).part else {
        panic!("no headers")
    };
    ProcessingRequest { part: Some(Part::ResponseHeaders(headers)), ..ProcessingRequest::default() }
}

fn sum(gate: &Gate) -> Counts {
    let mut all = Counts::default();
    gate.totals().0.values().for_each(|counts| all.merge(counts));
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_frames_end_their_stream_and_nothing_else() {
    let running = start(spec(&[1, 1], Assignment::Even), Duration::ZERO).await;
    let mut peer = Peer::connect(running.address).await;
    let mut good = soon("a stream", peer.call()).await.unwrap();
    let frames: [(&str, Vec<u8>); 6] = [
        ("no protobuf", framed(b"\xff\xff\xff\xff")),
        ("a length that lies", framed(&[0x12, 0x7f, 0x01])),
        ("a wire type there is not", framed(&[0x17])),
        ("compressed, which was not agreed", [&[1][..], &framed(b"")[1..]].concat()),
        ("a frame of 4 GiB", vec![0, 0xff, 0xff, 0xff, 0xff]),
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in frames {
        let mut call = soon("a stream", peer.call()).await.unwrap();
        call.say_bytes(bytes);
        call.finish();
        let status = soon(what, call.hear()).await.expect_err(what);
        assert_ne!(status, "0", "{what}");
    }
    // Cut off in the middle of a frame.
    let call = soon("a stream", peer.call()).await.unwrap();
    call.say_bytes(framed(&[0; 50])[..20].to_vec());
    drop(call);
    assert!(decided(&mut good, &[]).await.is_some(), "the connection and its other streams live");
    // Another connection, which does not speak HTTP/2.
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut raw = tokio::net::TcpStream::connect(running.address).await.unwrap();
    raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff").await.unwrap();
    let mut told = Vec::new();
    let _ = soon("the end of that connection", raw.read_to_end(&mut told)).await;
    assert!(decided(&mut soon("a stream", peer.call()).await.unwrap(), &[]).await.is_some());
    let unknown = soon("an answer", peer.open("/a.b/C")).await;
    assert_eq!(unknown.headers()["grpc-status"], "12");
    assert_eq!(sum(&running.gate).requests, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_any_bytes_and_of_eight_mebibytes_are_read() {
    let key = StickyKey::Header("x-key".to_owned());
    let sticky = Assignment::Sticky(Sticky { key, salt: "s".to_owned() });
    let running = start(spec(&[1, 1], sticky), Duration::ZERO).await;
    let mut peer = Peer::connect(running.address).await;
    let huge = vec![0xfe_u8; 8 << 20];
    let odd = &b"\0\xff\r\n"[..];
    for headers in [&[("x-key", odd), ("cookie", odd), (":authority", odd)][..], &[("x-key", &huge)]] {
        let mut call = soon("a stream", peer.call()).await.unwrap();
        assert!(decided(&mut call, headers).await.is_some());
    }
    let mut call = soon("a stream", peer.call()).await.unwrap();
    let more = vec![0xfe_u8; 10 << 20];
    call.say(&request(&[("x-key", &more)]));
    // OUT_OF_RANGE: longer than any Envoy takes.
    assert_eq!(soon("a refusal", call.hear()).await, Err("11".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_ends_in_order_when_the_process_is_asked_to_end() {
    let Running { gate, address, close, served } = start(spec(&[1, 1], Assignment::Even), PATIENCE).await;
    let mut peer = Peer::connect(address).await;
    let mut call = soon("a stream", peer.call()).await.unwrap();
    assert!(decided(&mut call, &[]).await.is_some());
    close.send_replace(true);
    // No new connections, no new streams; the old stream goes on.
    soon("the port to close", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!served.is_finished());
    call.say(&response(503));
    soon("an answer", call.hear()).await.unwrap();
    call.finish();
    assert_eq!(soon("the end", call.hear()).await, Err("0".to_owned()));
    soon("the port to end", served).await.unwrap();
    assert_eq!(sum(&gate).outcome(Outcome::ServerError), 1);
    assert!(peer.call().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_ends_its_stream_does_not_keep_the_process() {
    let Running { gate, address, close, served } =
        start(spec(&[1, 1], Assignment::Even), Duration::from_millis(50)).await;
    let mut peer = Peer::connect(address).await;
    let mut call = soon("a stream", peer.call()).await.unwrap();
    assert!(decided(&mut call, &[]).await.is_some());
    close.send_replace(true);
    soon("the port to end", served).await.unwrap();
    assert_eq!(sum(&gate).requests, 1);
}

#[tokio::test]
async fn only_observed_requests_ask_for_their_response_and_grpc_ones_for_its_trailers() {
    for (protocol, trailers) in [(Protocol::Http, SendMode::Skip), (Protocol::Grpc, SendMode::Send)] {
        let split = SplitSpec { protocol, ..spec(&[63, 1], Assignment::Even) };
        let running = start(split, Duration::ZERO).await;
        let mut peer = Peer::connect(running.address).await;
        let mut asked = 0;
        for _ in 0..320 {
            let mut call = soon("a stream", peer.call()).await.unwrap();
            call.say(&request(&[]));
            let (subset, mode) = read(&soon("a decision", call.hear()).await.unwrap());
            let observed = mode.response_header_mode == SendMode::Send as i32;
            assert!(observed || subset.as_deref() == Some("s0"), "the small subset is observed in full");
            let wanted = if observed { trailers } else { SendMode::Skip };
            assert_eq!(mode.response_trailer_mode, wanted as i32);
            asked += u32::from(observed);
        }
        // 5 of the small subset, and one in 32 of the other.
        assert!((13..=17).contains(&asked), "{asked}");
    }
}

/// Any part, with what might be in it.
fn any_part() -> impl Strategy<Value = ProcessingRequest> {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..20),
        prop::sample::select(vec!["200", "503", "0", "14", "99999999999999999999", "-1", "uid=sg-0", ";;=;"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let name =
        prop::sample::select(vec![":status", "grpc-status", "cookie", "x-key", ":authority", "x-sluicegate-subset"]);
    let headers = prop::collection::vec((name, value), 0..5).prop_map(|headers| {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
        let Some(Part::RequestHeaders(headers)) = request(&headers).part else { panic!("no headers") };
        headers
    });
    (headers, 0..7_u8).prop_map(|(headers, kind)| {
        let trailers = HttpTrailers { trailers: headers.headers.clone() };
        let part = match kind {
            0 => Part::RequestHeaders(headers),
            1 => Part::ResponseHeaders(headers),
            2 => Part::RequestBody(Default::default()),
            3 => Part::ResponseBody(Default::default()),
            4 => Part::RequestTrailers(Default::default()),
            5 => Part::ResponseTrailers(trailers),
            _ => return ProcessingRequest::default(),
        };
        ProcessingRequest { part: Some(part), ..ProcessingRequest::default() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_any_parts_is_answered_and_no_request_counts_twice(parts in prop::collection::vec(any_part(), 0..8)) {
        let key = StickyKey::Cookie { name: "uid".to_owned(), ttl: None };
        for protocol in [Protocol::Http, Protocol::Grpc] {
            let sticky = Assignment::Sticky(Sticky { key: key.clone(), salt: "s".to_owned() });
            let gate = gate(SplitSpec { protocol, ..spec(&[1, 1], sticky) });
            let desk = Desk { gate: Arc::clone(&gate), clock: app::clock(), access_log: true };
            let mut exchange = sluicegate::ext_proc::exchange::Exchange::new(desk);
            let begun = parts.iter().filter(|part| matches!(part.part, Some(Part::RequestHeaders(_)))).count() as u64;
            for part in &parts {
                let answer = exchange.answer(part.clone());
                prop_assert_eq!(answer.answer.is_some(), part.part.is_some());
            }
            drop(exchange);
            let counts = sum(&gate);
            prop_assert_eq!(counts.requests, begun);
            prop_assert_eq!(counts.observed(), begun, "each ends once");
        }
    }
}

#[test]
fn a_value_may_come_as_text_or_as_bytes() {
    let mut headers = HeaderMap::default();
    let header = |value: &'static [u8], raw: &'static [u8]| sluicegate::ext_proc::proto::HeaderValue {
        key: "a".to_owned(),
        value: Bytes::from_static(value),
        raw_value: Bytes::from_static(raw),
    };
    headers.headers = vec![header(b"old", b""), header(b"", b"new")];
    assert_eq!(headers.values("a").collect::<Vec<_>>(), [&b"old"[..], b"new"]);
}
