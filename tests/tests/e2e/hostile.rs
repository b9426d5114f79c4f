//! No request, however odd, kills a VM, chooses its own subset, or spoils the counts.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluicegate_core::spec::{Assignment, Override, OverrideSource, SplitSpec, Sticky, StickyKey};
use sluicegate_tests::brain::{Brain, split};
use sluicegate_tests::client::{Client, Response};
use sluicegate_tests::envoy::Envoy;
use sluicegate_tests::envoy_config::Listener;
use sluicegate_tests::lab::{self, PODS, WEB};
use sluicegate_tests::load::{Limits, Load};
use sluicegate_tests::upstream::Upstreams;

mod bodies;
mod bytes;
mod choosing;
mod cuts;
mod methods;

/// A listener without the filter, which no pod hears of.
const PLAIN: &str = "plain";

/// A gate that reads every header a filter can read: two hosts, one sticky by header, one by cookie, both with overrides.
struct Gate {
    brain: Brain,
    pods: Upstreams,
    envoy: Envoy,
}

fn by(host: &str, key: StickyKey) -> SplitSpec {
    let over = |source, subset: &str| Override { source, value: "always".into(), subset: subset.into() };
    SplitSpec {
        hosts: vec![format!("{host}.test")],
        assignment: Assignment::Sticky(Sticky { key, salt: "hostile".into() }),
        overrides: vec![
            over(OverrideSource::Header("x-canary".into()), "v2"),
            over(OverrideSource::Cookie("canary".into()), "v3"),
        ],
        // Equal weights, so that every request is observed to its end.
        ..split(host, 1, &[("v1", 1), ("v2", 1), ("v3", 1)])
    }
}

impl Gate {
    fn open(manager: Value) -> Result<Self> {
        let brain = Brain::start()?;
        let pods = Upstreams::start(&PODS)?;
        let plugin = lab::plugin(json!({ "hosts": true, "access_log": true }))?;
        let mut listener = lab::listener(WEB, &plugin);
        listener.extra = manager;
        let mut plain = Listener::new(PLAIN, "v1");
        plain.default = json!({ "direct_response": { "status": 200 } });
        let envoy = Envoy::start(lab::options(&pods, vec![listener, plain], brain.door.addr(), 2))?;
        brain.publish(by("header", StickyKey::Header("x-user".into())));
        brain.publish_and_wait(by("cookie", StickyKey::Cookie { name: "uid".into(), ttl: Some(60) }))?;
        Ok(Self { brain, pods, envoy })
    }

    fn client(&self) -> Result<Client> {
        Client::connect(self.envoy.listener(WEB)?)
    }

    /// Sends these bytes on a connection of their own and reads one answer.
    fn send(&self, bytes: &[u8]) -> Result<Response> {
        let mut client = self.client()?;
        client.send(bytes)?;
        client.read().with_context(|| format!("{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(300)])))
    }

    /// A request whose head ends with these lines (each ended by CR LF).
    fn ask(&self, host: &[u8], lines: &[u8]) -> Result<Response> {
        self.send(&[b"GET / HTTP/1.1\r\nhost: ", host, b"\r\n", lines, b"\r\n"].concat())
    }

    /// The VMs are alive, ordinary requests are split as ever, and what the reports say is what the pods received.
    fn close(self) -> Result<()> {
        let address = self.envoy.listener(WEB)?;
        let number = 600;
        let load = |host: &str| -> Result<_> {
            let head = format!("GET / HTTP/1.1\r\nhost: {host}.test\r\n\r\n").into_bytes();
            let tally = Load::with(address, 6, Box::new(move |_, out| out.extend_from_slice(&head)))?
                .run(&Limits::count(number))?;
            ensure!(tally.answers() == number && tally.failures() == 0, "{host}: {tally:?}");
            // Two workers, each within three of its share, before and after.
            ensure!(PODS.iter().all(|pod| tally.pods[*pod].abs_diff(number / 3) <= 12), "{host}: {:?}", tally.pods);
            Ok(())
        };
        load("header")?;
        load("cookie")?;
        let health = self.envoy.stats("wasm.*(vm_failed|vm_reload|crash).*")?;
        ensure!(health.values().all(|count| *count == 0), "{health:?}");
        let log = std::fs::read_to_string(self.envoy.dir().join("envoy-0.log"))?;
        ensure!(!log.contains("[error][wasm]") && !log.contains("[critical]"), "{log}");
        let received: BTreeMap<String, u64> =
            self.pods.received().into_iter().map(|(pod, received)| (pod, received.requests)).collect();
        self.brain.wait_books(&format!("{received:?}, all of them ended"), |books| {
            let counted = books.by_subset();
            let all = counted == received && books.open() == 0;
            if all { Ok(()) } else { Err(format!("{counted:?}, {} open", books.open())) }
        })
    }
}
