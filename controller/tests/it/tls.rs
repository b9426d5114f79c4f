//! TLS on the proxy port.

use crate::{
    serve::{request, start_with},
    support::backend,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use sluicegate::listen::TlsFiles;
use std::{fs, net::SocketAddr, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Writes a fresh certificate and key; returns the certificate to trust.
fn certify(dir: &Path) -> rustls::pki_types::CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["controller.test".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn sync(address: SocketAddr, trusted: &rustls::pki_types::CertificateDer<'static>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("controller.test").unwrap();
    let stream = TcpStream::connect(address).await?;
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let body = request(1).to_string();
    let head =
        format!("POST /v1/sync HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    // The peer may close without saying so in TLS; what was read counts.
    let _ = stream.read_to_string(&mut answer).await;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_come_by_tls_and_a_slow_handshake_delays_nobody() {
    let certs = tempfile::tempdir().unwrap();
    let trusted = certify(certs.path());
    let files = (certs.path().join("cert.pem"), certs.path().join("key.pem"));
    let running = start_with(&[("a.yaml", &backend(90, 10))], |c| c.proxy_tls = Some(files)).await;
    // These connect and say nothing.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(running.proxy).await.unwrap());
    }
    let answer = sync(running.proxy, &trusted).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"generation\":1"), "{answer}");
    // A renewed certificate is used without a restart.
    let renewed = certify(certs.path());
    let answer = sync(running.proxy, &renewed).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(sync(running.proxy, &trusted).await.is_err(), "the old one is not shown any more");
    // Half a renewal keeps the pair that works.
    fs::write(certs.path().join("key.pem"), "nonsense").unwrap();
    assert!(sync(running.proxy, &renewed).await.is_ok());
}

#[test]
fn files_that_are_no_certificate_are_refused_by_name() {
    let certs = tempfile::tempdir().unwrap();
    certify(certs.path());
    let (cert, key) = (certs.path().join("cert.pem"), certs.path().join("key.pem"));
    let why = TlsFiles::read(cert, certs.path().join("missing")).unwrap_err().to_string();
    assert!(why.contains("key") && why.contains("missing"), "{why}");
    let why = TlsFiles::read(key.clone(), key).unwrap_err().to_string();
    assert!(why.contains("cannot be used"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_known_by_its_certificate_whatever_its_address() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = [&ours, &theirs].map(|certs| {
        certify(certs.path());
        (certs.path().join("cert.pem"), certs.path().join("key.pem"))
    });
    let running = start_with(&[("a.yaml", &backend(90, 10))], |c| c.proxy_tls = Some(files[0].clone())).await;
    for ((cert, key), known) in files.into_iter().zip([true, false]) {
        let connector = TlsFiles::read(cert, key).unwrap().connector().unwrap();
        let stream = TcpStream::connect(running.proxy).await.unwrap();
        let met = connector.connect(ServerName::from(running.proxy.ip()), stream).await;
        assert_eq!(met.is_ok(), known, "{met:?}");
    }
}
