//! Which names are accepted: what Envoy's router would refuse is refused here.

use crate::cases;
use proptest::prelude::*;
use sluicegate_core::name;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const L63: &str = "a23456789012345678901234567890123456789012345678901234567890123";

fn long(n: usize) -> String {
    "a".repeat(n)
}

#[test]
fn subset_names_are_dns_labels() {
    for name in ["v1", "canary", "a", "0", "9z", "a-b", "a--b", L63] {
        assert!(name::subset(name).is_ok(), "{name}");
    }
    let too_long = format!("{L63}4");
    for name in [
        "",
        "V1",
        "-a",
        "a-",
        "-",
        "a.b",
        "a_b",
        "a b",
        " a",
        "a\n",
        "a\r\nx: y",
        "ä",
        "a\0",
        "a,b",
        "\u{200b}",
        &too_long,
    ] {
        let why = name::subset(name).expect_err(name).to_string();
        assert!(why.starts_with(&format!("subset name \"{}\" must be 1 to 63 of a-z", name.escape_default())), "{why}");
    }
}

#[test]
fn split_names_have_a_namespace() {
    for name in ["default/backend", "a/b", &format!("{L63}/{L63}")] {
        assert!(name::split(name).is_ok(), "{name}");
    }
    for name in
        ["", "backend", "/backend", "default/", "/", "a/b/c", "A/b", "a/B", "a /b", "a/b ", &format!("{L63}4/b")]
    {
        assert!(name::split(name).is_err(), "{name}");
    }
    assert!(name::split("backend").unwrap_err().to_string().contains("NAMESPACE/NAME"));
}

#[test]
fn headers_to_read_are_tokens_without_a_meaning_of_their_own() {
    for (given, read) in [
        ("x-user-id", "x-user-id"),
        ("X-User-ID", "x-user-id"),
        ("x_user", "x_user"),
        ("authorization", "authorization"),
    ] {
        assert_eq!(name::read_header(given).as_deref(), Ok(read));
    }
    for given in ["!#$%&'*+-.^_`|~1", &long(256)] {
        assert!(name::read_header(given).is_ok(), "{given}");
    }
    for given in ["", " ", "x y", "x:y", "x\n", "x\r\n", "x\0", "x,y", "x\"", "(x)", "ä", "x\u{7f}", &long(257)] {
        assert!(matches!(name::read_header(given), Err(name::NameError::Token { .. })), "{given}");
    }
    for given in [
        ":path",
        ":authority",
        ":",
        ":anything",
        "host",
        "Host",
        "HOST",
        "content-length",
        "Content-Length",
        "content-type",
        "connection",
        "transfer-encoding",
        "te",
        "TE",
        "trailer",
        "upgrade",
        "keep-alive",
        "proxy-connection",
        "expect",
        "cookie",
        "set-cookie",
    ] {
        let refused = name::read_header(given);
        assert!(matches!(refused, Err(name::NameError::Reserved { .. })), "{given}: {refused:?}");
        assert_eq!(name::written_header(given), refused);
    }
}

#[test]
fn headers_to_write_have_no_underscore() {
    assert_eq!(name::written_header("X-Sluicegate-Subset").as_deref(), Ok("x-sluicegate-subset"));
    let why = name::written_header("x_subset").unwrap_err().to_string();
    assert!(why.contains("x_subset") && why.contains("Envoy Gateway"), "{why}");
}

#[test]
fn cookie_names_are_tokens() {
    for name in ["uid", "__Host-uid", "UID", "a.b", "_"] {
        assert!(name::cookie(name).is_ok(), "{name}");
    }
    for name in ["", "a b", "a=b", "a;b", "a,b", "\"a\"", "ä", "a\n", "a\t", &long(257)] {
        assert!(name::cookie(name).is_err(), "{name}");
    }
}

#[test]
fn hosts_are_lower_case_names_wildcards_or_addresses() {
    let l253 = format!("{L63}.{L63}.{L63}.{}", &L63[..61]);
    for host in [
        "www.example.com",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "[2001:db8::1]",
        "[::ffff:127.0.0.1]",
        "*.example.com",
        "*.com",
        "a_b.example",
        "-a",
        &l253,
    ] {
        assert!(name::host(host).is_ok(), "{host}");
    }
    let addresses = format!("[{}]", ":".repeat(46));
    for host in [
        "",
        "*",
        "*.",
        "*.*.com",
        "a.*.com",
        "*a.com",
        "Www.example.com",
        "a.example.com:80",
        "[::1]:80",
        "[::1",
        "::1",
        "[]",
        "[:]",
        "[FE80::1]",
        "[fe80::1%eth0]",
        ".",
        "..",
        "a.",
        ".a",
        "a..b",
        "a b",
        "a/b",
        "ä.example",
        "a\n",
        &format!("{l253}a"),
        &format!("{L63}4.com"),
        &addresses,
    ] {
        assert!(name::host(host).is_err(), "{host}");
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn accepted_names_are_safe_to_write_into_a_request(text in proptest::collection::vec(any::<char>(), 0..6)) {
        let text: String = text.into_iter().collect();
        let visible = text.bytes().all(|b| (0x21..0x7F).contains(&b));
        let accepted = [
            name::subset(&text).is_ok(),
            name::split(&text).is_ok(),
            name::read_header(&text).is_ok(),
            name::written_header(&text).is_ok(),
            name::cookie(&text).is_ok(),
            name::host(&text).is_ok(),
        ];
        prop_assert!(visible && !text.is_empty() || accepted == [false; 6], "{:?} {:?}", text, accepted);
    }

    #[test]
    fn a_header_is_the_same_in_any_case(text in proptest::collection::vec(0x20..0x7F_u8, 1..12)) {
        let text = String::from_utf8(text).unwrap();
        let (upper, lower) = (name::read_header(&text.to_ascii_uppercase()), name::read_header(&text.to_ascii_lowercase()));
        prop_assert_eq!(upper.ok(), lower.ok());
    }
}
