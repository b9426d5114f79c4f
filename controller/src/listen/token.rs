//! Bearer tokens of the proxy port, from a file that may be rotated.

use super::teach;
use axum::{
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::Next,
    response::Response,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tracing::warn;

/// Why tokens cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the token file {path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// Nothing in it.
    #[error("the token file {path} is empty; write one token per line, each of them is accepted")]
    Empty {
        /// Which.
        path: String,
    },
}

type Tokens = Vec<Vec<u8>>;

/// Tokens, one per line; each is accepted, so that a new one can be rolled out before the old one goes.
#[derive(Debug, Clone)]
pub struct TokenFile {
    path: PathBuf,
    current: Arc<Mutex<(Option<SystemTime>, Tokens)>>,
}

impl TokenFile {
    /// Reads the file.
    pub fn read(path: PathBuf) -> Result<Self, TokenError> {
        let tokens = load(&path)?;
        Ok(Self { current: Arc::new(Mutex::new((stamp(&path), tokens))), path })
    }

    /// Whether this is one of the tokens. The time it takes does not tell how much of it is right.
    fn accepts(&self, given: &[u8]) -> bool {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = stamp(&self.path);
        if stamp != current.0 {
            match load(&self.path) {
                Ok(tokens) => *current = (stamp, tokens),
                Err(why) => {
                    warn!(%why, "tokens not renewed");
                    current.0 = stamp;
                }
            }
        }
        current.1.iter().fold(false, |found, token| found | bool::from(token.as_slice().ct_eq(given)))
    }
}

/// Lets only requests with one of the tokens pass.
pub async fn check(State(tokens): State<TokenFile>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    match given.and_then(|value| value.strip_prefix(b"Bearer ")) {
        Some(token) if tokens.accepts(token) => next.run(request).await,
        Some(_) => teach(StatusCode::UNAUTHORIZED, "this bearer token is not in the controller's --proxy-token-file"),
        None => teach(
            StatusCode::UNAUTHORIZED,
            "a bearer token is needed here; give the filter one with token_env in its configuration",
        ),
    }
}

fn stamp(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|m| m.modified()).ok()
}

fn load(path: &Path) -> Result<Tokens, TokenError> {
    let shown = || path.display().to_string();
    let bytes = fs::read(path).map_err(|why| TokenError::File { path: shown(), why })?;
    let lines = bytes.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let tokens: Tokens = lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
    if tokens.is_empty() { Err(TokenError::Empty { path: shown() }) } else { Ok(tokens) }
}
