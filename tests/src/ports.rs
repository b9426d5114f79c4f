//! A port for those who cannot ask the system for any: a listener that a hot restart hands over.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context as _, Result};

/// A port that is free now and outside the range that the system hands out by itself.
///
/// # Errors
/// When 200 tries found none.
pub fn free() -> Result<u16> {
    (0..200)
        .map(|_| fastrand::u16(12_000..30_000))
        .find(|port| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok())
        .context("no free port between 12000 and 30000")
}
