//! Certificate and key of a port, read again when their files change; and the same certificate as what a replica knows
//! another one by.

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{PrivateKeyDer, ServerName, UnixTime},
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};
use thiserror::Error;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::{info, warn};

/// Why TLS cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read or holds something else.
    #[error("cannot use {what} {path}: {why}; it must be PEM")]
    File {
        /// Certificate or key.
        what: &'static str,
        /// Which file.
        path: String,
        /// Why.
        why: String,
    },
    /// They do not fit together.
    #[error("certificate {cert} and key {key} cannot be used together: {why}")]
    Pair {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
        /// Why.
        why: rustls::Error,
    },
}

/// When the files were last written.
type Stamp = (Option<SystemTime>, Option<SystemTime>);

/// A certificate and its key.
#[derive(Debug)]
pub struct TlsFiles {
    cert: PathBuf,
    key: PathBuf,
    current: Mutex<(Stamp, Pair)>,
}

#[derive(Debug, Clone)]
struct Pair {
    server: Arc<ServerConfig>,
    /// Of the chain, the one that says who this is.
    own: CertificateDer<'static>,
}

impl TlsFiles {
    /// Reads both files.
    pub fn read(cert: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let pair = load(&cert, &key)?;
        let current = Mutex::new((stamp(&cert, &key), pair));
        Ok(Self { cert, key, current })
    }

    /// For the next connection: two file look-ups, which a handshake dwarfs.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.pair().server)
    }

    /// For a connection to another replica, which is known by having the same certificate: it is called by the address
    /// of its pod, which no certificate names.
    pub fn connector(&self) -> Result<TlsConnector, rustls::Error> {
        let provider = ring::default_provider();
        let same = Same { certificate: self.pair().own, algorithms: provider.signature_verification_algorithms };
        let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(same)).with_no_client_auth();
        Ok(TlsConnector::from(Arc::new(config)))
    }

    fn pair(&self) -> Pair {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.cert, &self.key);
        if stamp != current.0 {
            match load(&self.cert, &self.key) {
                Ok(pair) => {
                    info!(cert = %self.cert.display(), "certificate read again");
                    *current = (stamp, pair);
                }
                // Half a renewal: the old pair goes on until both files are there.
                Err(why) => {
                    warn!(%why, "certificate not renewed");
                    current.0 = stamp;
                }
            }
        }
        current.1.clone()
    }
}

/// Trusts one certificate, whatever the name; that its owner has the key is proved by the handshake.
#[derive(Debug)]
struct Same {
    certificate: CertificateDer<'static>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Same {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *shown == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn stamp(cert: &Path, key: &Path) -> Stamp {
    let modified = |path| fs::metadata(path).and_then(|m| m.modified()).ok();
    (modified(cert), modified(key))
}

fn load(cert: &Path, key: &Path) -> Result<Pair, TlsError> {
    let unusable = |what, path: &Path, why: &dyn std::fmt::Display| TlsError::File {
        what,
        path: path.display().to_string(),
        why: why.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|why| unusable("certificate", cert, &why))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| unusable("key", key, &why))?;
    let own = chain.first().cloned();
    let pair = |why| TlsError::Pair { cert: cert.display().to_string(), key: key.display().to_string(), why };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(pair)?;
    let own = own.ok_or_else(|| unusable("certificate", cert, &"no certificate in it"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Pair { server: Arc::new(config), own })
}
