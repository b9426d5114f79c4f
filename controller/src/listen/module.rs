//! The filter itself, for gateways to fetch: `/sluicegate.wasm`, and its SHA-256 beside it. Every replica serves the same.

use super::teach;
use axum::{
    Router,
    body::Bytes,
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use ring::digest::{SHA256, digest};
use std::{
    fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// What every Wasm module begins with.
const MAGIC: &[u8] = b"\0asm";

/// Why there is nothing to serve.
#[derive(Debug, Error)]
pub enum ModuleError {
    /// The file.
    #[error("cannot read --wasm {path}: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: io::Error,
    },
    /// Something else.
    #[error("--wasm {0} is no Wasm module; `make wasm` makes dist/sluicegate.wasm")]
    NotWasm(String),
}

/// A module, in memory.
#[derive(Debug, Clone)]
pub struct Module {
    bytes: Bytes,
    /// SHA-256 in hex.
    pub sha256: String,
}

impl Module {
    /// Reads it.
    pub fn read(file: PathBuf) -> Result<Self, ModuleError> {
        let path = file.display().to_string();
        let bytes = fs::read(Path::new(&file)).map_err(|why| ModuleError::File { path: path.clone(), why })?;
        if !bytes.starts_with(MAGIC) {
            return Err(ModuleError::NotWasm(path));
        }
        let sha256 = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { bytes: bytes.into(), sha256 })
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let tag = format!("\"{}\"", self.sha256);
        if headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
        }
        let kind = HeaderValue::from_static("application/wasm");
        ([(CONTENT_TYPE, kind)], [(ETAG, tag)], self.bytes.clone()).into_response()
    }
}

/// The two paths; without a module they say what to do. No token is asked for: there is nothing secret in it.
pub fn router(module: Option<Module>) -> Router {
    let none = || teach(StatusCode::NOT_FOUND, "this controller serves no module; start it with --wasm FILE");
    let digest = module.as_ref().map(|module| format!("{}\n", module.sha256));
    let whole = move |headers: HeaderMap| {
        let answer = module.as_ref().map_or_else(none, |module| module.answer(&headers));
        std::future::ready(answer)
    };
    let digest = move || std::future::ready(digest.clone().map_or_else(none, IntoResponse::into_response));
    Router::new().route("/sluicegate.wasm", get(whole)).route("/sluicegate.wasm.sha256", get(digest))
}
