//! Keys: points, issued ids, cookies, addresses.

use crate::cases;
use proptest::{collection::vec, prelude::*, sample::select};
use sluicegate_core::key::{address, cookie, issue, point, seed};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn points_are_plain_xxh3() {
    // Values of the reference implementation (xxHash 0.8), so that others can compute the same points.
    assert_eq!(seed(""), 0x2D06_8005_38D3_94C2);
    assert_eq!(point(b"", 0), 0x2D06_8005_38D3_94C2);
    assert_eq!(seed("default/checkout"), 0xE8C7_295B_0091_3823);
    assert_eq!(point(b"alice", 0xE8C7_295B_0091_3823), 0x0435_16A7_8954_7BFB);
}

#[test]
fn only_what_we_would_issue_is_read_as_an_id() {
    let hashed = |key: &[u8]| point(key, 5) == xxhash(key, 5);
    assert!(!hashed(b"sg-0123456789abcdef"));
    for key in [
        &b"sg-0123456789abcde"[..],
        b"sg-0123456789abcdef0",
        b"sg-0123456789ABCDEF",
        b"sg-0123456789abcdeg",
        b"sg-0123456789abcde/",
        b"sg-0123456789abcde:",
        b"sg-0123456789abcde`",
        b"sg_0123456789abcdef",
        b"SG-0123456789abcdef",
        b"sg-",
        b"",
        b"0123456789abcdef",
        b" sg-0123456789abcdef",
    ] {
        assert!(hashed(key), "{:?}", String::from_utf8_lossy(key));
    }
}

/// What the key would be were it no id.
fn xxhash(key: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(key, seed)
}

/// A cookie value: visible, without `;` and `"`.
fn value() -> impl Strategy<Value = String> {
    let visible: Vec<char> = ('!'..='~').filter(|c| !matches!(c, ';' | '"')).collect();
    vec(select(visible), 0..10).prop_map(|chars| chars.into_iter().collect())
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn an_issued_id_lands_on_its_point(point_wanted in any::<u64>(), seed in any::<u64>()) {
        let id = issue(point_wanted, seed);
        prop_assert_eq!(point(&id, seed), point_wanted);
        prop_assert!(id.starts_with(b"sg-"));
        prop_assert!(id[3..].iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)));
    }

    #[test]
    fn every_id_is_the_only_one_for_its_point(id in any::<u64>(), seed in any::<u64>()) {
        let text = format!("sg-{id:016x}");
        let issued = issue(point(text.as_bytes(), seed), seed);
        prop_assert_eq!(&issued[..], text.as_bytes());
    }

    #[test]
    fn neighbouring_points_get_ids_that_do_not_look_alike(point in any::<u64>(), seed in any::<u64>()) {
        let (one, next) = (issue(point, seed), issue(point.wrapping_add(1), seed));
        let same = one[3..].iter().zip(&next[3..]).filter(|(a, b)| a == b).count();
        prop_assert!(same <= 9, "{} of 16 digits are the same", same);
    }

    #[test]
    fn any_other_key_is_hashed_with_the_seed(key in vec(any::<u8>(), 0..300), seed in any::<u64>()) {
        prop_assume!(!key.starts_with(b"sg-"));
        prop_assert_eq!(point(&key, seed), xxhash(&key, seed));
    }

    #[test]
    fn the_first_cookie_of_a_name_is_found_among_others(
        before in vec((0..4_u8, value()), 0..5),
        value in value(),
        quoted in any::<bool>(),
        after in vec((0..6_u8, value()), 0..5),
        spaces in 0..3_usize,
    ) {
        let (space, mut header) = (" ".repeat(spaces), String::new());
        before.iter().for_each(|(name, value)| header += &format!("n{name}={value};{space}"));
        header += &if quoted { format!("n5 = \"{value}\"") } else { format!("n5={value}{space}") };
        after.iter().for_each(|(name, value)| header += &format!(";{space}n{name}={value}"));
        prop_assert_eq!(cookie(header.as_bytes(), b"n5"), Some(value.as_bytes()));
        prop_assert_eq!(cookie(header.as_bytes(), b"n"), None);
        prop_assert_eq!(cookie(header.as_bytes(), b"5"), None);
    }

    #[test]
    fn any_bytes_may_stand_in_a_cookie_header(header in vec(any::<u8>(), 0..200), name in vec(any::<u8>(), 0..3)) {
        if let Some(value) = cookie(&header, &name) {
            prop_assert!(!value.contains(&b';'));
            prop_assert!(value.is_empty() || header.windows(value.len()).any(|w| w == value));
        }
    }
}

#[test]
fn broken_cookies_are_read_as_far_as_they_go() {
    for (header, value) in [
        (&b"uid=7"[..], Some(&b"7"[..])),
        (b"uid=7; uid=8", Some(b"7")),
        (b"a=1;uid=7;b=2", Some(b"7")),
        (b"  uid = 7  ;", Some(b"7")),
        (b"\tuid=7\t", Some(b"7")),
        (b"uid=a=b=c", Some(b"a=b=c")),
        (b"uid=\"7\"", Some(b"7")),
        (b"uid=\"\"", Some(b"")),
        (b"uid=\"7", Some(b"\"7")),
        (b"uid=7\"", Some(b"7\"")),
        (b"uid=\"", Some(b"\"")),
        (b"uid=", Some(b"")),
        (b"uid=\xFF\x80", Some(b"\xFF\x80")),
        (b"\xFF;;=;===;uid=7", Some(b"7")),
        (b"uid", None),
        (b"uid; uid=7", Some(b"7")),
        (b"xuid=7", None),
        (b"uidx=7", None),
        (b"UID=7", None),
        (b"a=uid=7", None),
        (b"a=\"; uid=7; \"", Some(b"7")),
        (b"", None),
        (b";", None),
        (b"=", None),
        (b"=7", None),
    ] {
        assert_eq!(cookie(header, b"uid"), value, "{:?}", String::from_utf8_lossy(header));
    }
}

#[test]
fn a_very_long_cookie_header_is_searched_to_its_end() {
    let mut header = b"a=1; ".repeat(12_000);
    assert_eq!(cookie(&header, b"uid"), None);
    header.extend_from_slice(b"uid=7");
    assert_eq!(cookie(&header, b"uid"), Some(&b"7"[..]));
    assert_eq!(cookie(&b"=".repeat(60_000), b"uid"), None);
    assert_eq!(cookie(&b";".repeat(60_000), b"uid"), None);
}

#[test]
fn an_address_is_taken_without_its_port() {
    for (source, host) in [
        ("127.0.0.1:42432", "127.0.0.1"),
        ("[::1]:36530", "[::1]"),
        ("[2001:db8::1]:0", "[2001:db8::1]"),
        ("8.8.8.8:0", "8.8.8.8"),
        ("/run/socket", "/run/socket"),
        ("", ""),
        (":", ""),
    ] {
        assert_eq!(address(source.as_bytes()), host.as_bytes(), "{source}");
    }
    assert_eq!(address(b"\xFF\xFE:1"), b"\xFF\xFE");
}
