//! From a sticky key to a point; the ids the filter issues as cookies; cookies in a header.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// What an issued id begins with.
const ISSUED: &[u8] = b"sg-";

/// The seed a salt stands for.
pub fn seed(salt: &str) -> u64 {
    xxh3_64(salt.as_bytes())
}

/// The point of a key: XXH3-64 with the salt's seed. An id we issued is mapped by a bijection instead, so that
/// [`issue`] can make an id for any point.
pub fn point(key: &[u8], seed: u64) -> u64 {
    match issued(key) {
        Some(id) => mix(id ^ seed),
        None => xxh3_64_with_seed(key, seed),
    }
}

/// The id (cookie value) whose [`point`] under this seed is `point`.
pub fn issue(point: u64, seed: u64) -> [u8; 19] {
    let id = unmix(point) ^ seed;
    let mut text = *b"sg-0000000000000000";
    for (i, place) in text.iter_mut().skip(ISSUED.len()).enumerate() {
        let nibble = (id >> (60 - 4 * i)) as u8 & 15;
        *place = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    }
    text
}

fn issued(key: &[u8]) -> Option<u64> {
    let digits = key.strip_prefix(ISSUED)?;
    if digits.len() != 16 {
        return None;
    }
    digits.iter().try_fold(0_u64, |id, digit| {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(id << 4 | u64::from(nibble))
    })
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection with full avalanche.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ x >> 31
}

/// The inverse of [`mix`]; the factors are the inverses of its factors modulo 2^64.
fn unmix(mut x: u64) -> u64 {
    x = (x ^ x >> 31 ^ x >> 62).wrapping_mul(0x3196_42B2_D24D_8EC3);
    x = (x ^ x >> 27 ^ x >> 54).wrapping_mul(0x96DE_1B17_3F11_9089);
    x ^ x >> 30 ^ x >> 60
}

/// The value of the first cookie with this name in a `cookie` header (RFC 6265 §5.4, read leniently: any bytes).
/// Surrounding double quotes are not part of the value.
pub fn cookie<'a>(header: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    header.split(|b| *b == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|b| *b == b'=')?;
        let (key, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
        if key.trim_ascii() != name {
            return None;
        }
        let value = value.trim_ascii();
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// A client address without its port: `127.0.0.1:42432` → `127.0.0.1`, `[::1]:36530` → `[::1]`.
pub fn address(source: &[u8]) -> &[u8] {
    match source.iter().rposition(|b| *b == b':') {
        Some(colon) => source.get(..colon).unwrap_or(source),
        None => source,
    }
}
