//! Bodies of any size, either way.

use anyhow::{Result, ensure};
use serde_json::json;

use super::Gate;

const BIG: usize = 30 << 20;

#[test]
fn huge_and_streamed_bodies_pass_untouched() -> Result<()> {
    let gate = Gate::open(json!({}))?;
    let mut client = gate.client()?;
    let host = [("host", "cookie.test")];
    let answer = client.request("POST", "/", &host, &vec![b'b'; BIG])?;
    ensure!(answer.status == 200 && answer.headers("set-cookie").len() == 1);
    let answer = client.request("GET", &format!("/?bytes={BIG}"), &host, b"")?;
    ensure!(answer.body.len() == BIG);
    let answer = client.request("GET", &format!("/?bytes={BIG}&chunked=1"), &host, b"")?;
    ensure!(answer.body.len() == BIG);

    client.send(b"POST /?status=201 HTTP/1.1\r\nhost: header.test\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let chunk = [b"8000\r\n", &[b'c'; 0x8000][..], b"\r\n"].concat();
    for _ in 0..100 {
        client.send(&chunk)?;
    }
    client.send(b"0\r\nx-trailer: \xff\r\n\r\n")?;
    ensure!(client.read()?.status == 201);
    let received: u64 = gate.pods.received().values().map(|pod| pod.body_bytes).sum();
    ensure!(received == (BIG + 100 * 0x8000) as u64, "{received}");
    ensure!(client.request("GET", "/", &host, b"")?.status == 200, "the connection is still good");
    gate.close()
}
