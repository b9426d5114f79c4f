//! The filter's module on the proxy port.

use crate::serve::{ask_bytes, start, start_with};
use sluicegate::listen::module::Module;
use std::fs;

const WASM: &[u8] = b"\0asm\x01\0\0\0 and more";

#[tokio::test(flavor = "multi_thread")]
async fn the_module_is_served_with_its_digest_to_anybody() {
    let files = tempfile::tempdir().unwrap();
    let (wasm, token) = (files.path().join("a.wasm"), files.path().join("tokens"));
    fs::write(&wasm, WASM).unwrap();
    fs::write(&token, "secret\n").unwrap();
    let module = Module::read(wasm.clone()).unwrap();
    let running = start_with(&[], |config| {
        (config.wasm, config.proxy_token_file) = (Some(wasm), Some(token));
    })
    .await;
    let url = |path: &str| format!("http://{}{path}", running.proxy);
    let (status, tag, body) = ask_bytes(url("/sluicegate.wasm"), None).await;
    assert_eq!((status, body.as_slice()), (200, WASM));
    let (_, _, digest) = ask_bytes(url("/sluicegate.wasm.sha256"), None).await;
    assert_eq!(String::from_utf8(digest).unwrap().trim(), module.sha256);
    assert_eq!(tag.as_deref(), Some(format!("\"{}\"", module.sha256).as_str()));
    let (status, _, body) = ask_bytes(url("/sluicegate.wasm"), tag).await;
    assert_eq!((status, body.len()), (304, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_module_it_is_said_how_to_serve_one() {
    let running = start(&[]).await;
    let (status, _, body) = ask_bytes(format!("http://{}/sluicegate.wasm", running.proxy), None).await;
    assert!(status == 404 && String::from_utf8_lossy(&body).contains("--wasm FILE"));
    let text = tempfile::NamedTempFile::new().unwrap();
    fs::write(text.path(), "a text").unwrap();
    let why = Module::read(text.path().to_owned()).unwrap_err().to_string();
    assert!(why.contains("is no Wasm module; `make wasm`"), "{why}");
}
