//! Certificate and key of a port, read again when their files change.

use rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
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
    current: Mutex<(Stamp, Arc<ServerConfig>)>,
}

impl TlsFiles {
    /// Reads both files.
    pub fn read(cert: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let config = load(&cert, &key)?;
        let current = Mutex::new((stamp(&cert, &key), config));
        Ok(Self { cert, key, current })
    }

    /// For the next connection: two file look-ups, which a handshake dwarfs.
    pub fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.cert, &self.key);
        if stamp != current.0 {
            match load(&self.cert, &self.key) {
                Ok(config) => {
                    info!(cert = %self.cert.display(), "certificate read again");
                    *current = (stamp, config);
                }
                // Half a renewal: the old pair goes on until both files are there.
                Err(why) => {
                    warn!(%why, "certificate not renewed");
                    current.0 = stamp;
                }
            }
        }
        TlsAcceptor::from(Arc::clone(&current.1))
    }
}

fn stamp(cert: &Path, key: &Path) -> Stamp {
    let modified = |path| fs::metadata(path).and_then(|m| m.modified()).ok();
    (modified(cert), modified(key))
}

fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let unusable = |what, path: &Path, why: &dyn std::fmt::Display| TlsError::File {
        what,
        path: path.display().to_string(),
        why: why.to_string(),
    };
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|why| unusable("certificate", cert, &why))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|why| unusable("key", key, &why))?;
    let pair = |why| TlsError::Pair { cert: cert.display().to_string(), key: key.display().to_string(), why };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
