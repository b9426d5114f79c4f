//! How long to wait before the next try. Pure.

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use std::time::Duration;

/// Before the first retry; each following pause is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// No pause of ours is longer.
const LONGEST: Duration = Duration::from_secs(30);
/// No pause that a receiver asks for is longer: a rollout must not hang on a number somebody else sent.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// The pause after so many tries (at least 1): half of it fixed, half of it by `jitter` in `[0, 1)`, so that many
/// callers of one receiver that was down do not come back as one. `asked`: at least that, within bounds.
pub fn pause(tries: u32, jitter: f64, asked: Option<Duration>) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX));
    let whole = doubled.min(LONGEST);
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 1.0 };
    let own = whole / 2 + (whole / 2).mul_f64(jitter);
    own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
}

/// What a `Retry-After` header asks for (RFC 9110, §10.2.3): seconds, or a date seen from `now`.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}
