//! Waiting without sleeping blindly. In: a probe and a limit. Out: what the probe found, or an error with what it saw last.

use std::fmt::Display;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a test waits for something that normally takes milliseconds, on a busy machine.
pub const LONG: Duration = Duration::from_secs(20);

/// Calls `probe` until it returns `Ok`, at most for `limit`; `what` completes "waited … for `what`".
///
/// The probe's error is what it saw instead; the last one is in the error of this function.
pub fn until<T, E: Display>(what: &str, limit: Duration, mut probe: impl FnMut() -> Result<T, E>) -> Result<T> {
    let began = Instant::now();
    let mut pause = Duration::from_micros(500);
    loop {
        match probe() {
            Ok(found) => return Ok(found),
            Err(last) if began.elapsed() >= limit => bail!("waited {limit:?} for {what}; last seen: {last}"),
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 3 / 2).min(Duration::from_millis(20));
    }
}
