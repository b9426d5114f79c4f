//! Odd methods, versions and targets.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Gate, PLAIN, WEB};

#[test]
fn odd_methods_versions_and_targets_are_split_like_any_other() -> Result<()> {
    let gate = Gate::open(json!({
        "http_protocol_options": { "accept_http_10": true, "default_host_for_http_10": "header.test" },
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
    }))?;
    // HTTP/1.0, with and without a host.
    ensure!(gate.send(b"GET / HTTP/1.0\r\n\r\n")?.status == 200);
    ensure!(gate.send(b"GET / HTTP/1.0\r\nhost: cookie.test\r\n\r\n")?.status == 200);
    for method in ["HEAD", "OPTIONS", "DELETE", "PATCH", "TRACE", "PROPFIND", "REPORT"] {
        let answer = gate.client()?.request(method, "/", &[("host", "cookie.test")], b"")?;
        ensure!(matches!(answer.status, 200 | 400), "{method}: {}", answer.status);
        let issued = answer.headers("set-cookie").len();
        ensure!(answer.status == 400 || issued == 1, "{method}: {issued} cookies");
    }
    // What is no request to an origin.
    let absolute = gate.send(b"GET http://header.test/ HTTP/1.1\r\nhost: other.test\r\n\r\n")?;
    ensure!(absolute.status == 200);
    for head in ["CONNECT x:80 HTTP/1.1\r\nhost: x:80\r\n\r\n", "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let answer = gate.send(head.as_bytes())?;
        ensure!((400..500).contains(&answer.status), "{head:?}: {}", answer.status);
    }
    let h2c = b"GET / HTTP/1.1\r\nhost: header.test\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: \r\n\r\n";
    ensure!(matches!(gate.send(h2c)?.status, 200 | 403));

    // An upgrade: bytes both ways, then the client leaves.
    for _ in 0..3 {
        let mut socket = gate.client()?;
        socket.send(b"GET / HTTP/1.1\r\nhost: cookie.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")?;
        let answer = socket.read()?;
        ensure!(answer.status == 101, "{}", answer.status);
        socket.send(b"\x81\x85\xff\xfe")?;
    }

    // Twenty requests in one packet.
    let one = b"GET / HTTP/1.1\r\nhost: header.test\r\nx-user: \xff\r\n\r\n";
    let mut client = gate.client()?;
    client.send(&one.repeat(20))?;
    for _ in 0..20 {
        ensure!(client.read()?.status == 200);
    }
    gate.close()
}

#[test]
fn http2_with_split_cookies_is_read_like_http1() -> Result<()> {
    let gate = Gate::open(json!({}))?;
    let Ok(version) = Command::new("curl").arg("--version").output() else {
        eprintln!("not checked: there is no curl");
        return Ok(());
    };
    if !String::from_utf8_lossy(&version.stdout).contains("HTTP2") {
        eprintln!("not checked: this curl has no HTTP/2");
        return Ok(());
    }
    let address = gate.envoy.listener(WEB)?;
    let ask = |host: &str, extra: &[&str]| -> Result<String> {
        let mut command = Command::new("curl");
        command.args(["-sS", "-m", "10", "--http2-prior-knowledge", "-H", &format!("host: {host}.test")]);
        let output = command.args(extra).arg(format!("http://{address}/")).output().context("curl")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // A client may send each cookie in a header of its own; Envoy joins them.
    let crumbs = ask("header", &["-H", "cookie: a=b", "-H", "cookie: canary=always", "-H", "cookie: c=d"])?;
    ensure!(crumbs.contains("\"v3\""), "{crumbs}");
    ensure!(ask("header", &["-H", "x-canary: always"])?.contains("\"v2\""));
    let sticky = ask("cookie", &["-H", "cookie: uid=me"])?;
    ensure!(ask("cookie", &["-H", "cookie: x=y", "-H", "cookie: uid=me"])? == sticky);
    ensure!(ask("cookie", &["-d", "body", "-H", "x-user: \u{e9}\u{ff}"])?.contains("pod"));
    // Many requests on one connection; curl 7.88 cannot, with or without us.
    let rest = format!("http://{address}/[1-40]");
    let without_us = Command::new("curl")
        .args(["-sS", "-m", "10", "--http2-prior-knowledge", &format!("http://{}/[1-2]", gate.envoy.listener(PLAIN)?)])
        .status()?;
    if without_us.success() {
        let many = ask("header", &["-H", "x-canary: always", &rest])?;
        ensure!(many.matches("\"subset\":\"v2\"").count() == 41, "{many}");
    } else {
        eprintln!("not checked: this curl fails at its second HTTP/2 request on one connection");
    }
    gate.close()
}
