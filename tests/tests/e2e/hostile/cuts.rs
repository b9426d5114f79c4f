//! Clients that leave in the middle.

use anyhow::{Result, ensure};
use serde_json::json;
use sluicegate_core::counts::Outcome;
use sluicegate_tests::poll;

use super::Gate;

/// Connections per kind of cut.
const CUTS: u64 = 40;

#[test]
fn requests_cut_in_the_middle_are_counted_once_and_close_their_slots() -> Result<()> {
    let gate = Gate::open(json!({}))?;
    let head = b"POST /?hang=1 HTTP/1.1\r\nhost: cookie.test\r\ncookie: uid=me\r\ncontent-length: 1000\r\n\r\n";
    let arrived = |gate: &Gate| gate.pods.received().values().map(|pod| pod.requests).sum::<u64>();
    let mut sent = 0;
    for n in 0..CUTS {
        // Half a head: the filter never hears of it.
        let mut client = gate.client()?;
        client.send(&head[..(n as usize * 2) % (head.len() - 1) + 1])?;
        drop(client);
        // Half a body; a whole request, unanswered.
        for body in [&b"half"[..], &[b'x'; 1000]] {
            let mut client = gate.client()?;
            client.send(head)?;
            client.send(body)?;
            sent += 1;
            poll::until("the head to arrive", poll::LONG, || match arrived(&gate) {
                all if all == sent => Ok(()),
                other => Err(other),
            })?;
        }
    }
    // In the middle of the answer: there was a status, so that is what is counted.
    for _ in 0..CUTS {
        let mut client = gate.client()?;
        client.send(b"GET /?bytes=50000000 HTTP/1.1\r\nhost: cookie.test\r\ncookie: uid=me\r\n\r\n")?;
        poll::until("the answer to begin", poll::LONG, || client.peek())?;
    }
    gate.brain.wait_books("the abandoned ones", |books| {
        let sum = |outcome| ["v1", "v2", "v3"].iter().map(|subset| books.outcome(subset, outcome)).sum::<u64>();
        let all = (books.total(), sum(Outcome::Abandoned), sum(Outcome::Success), books.open());
        if all == (3 * CUTS, 2 * CUTS, CUTS, 0) { Ok(()) } else { Err(format!("{all:?}")) }
    })?;
    ensure!(gate.envoy.stat("http.web.downstream_cx_active")? == 0);
    gate.close()
}
