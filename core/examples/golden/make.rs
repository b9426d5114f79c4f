//! The golden vectors as text, one vector per line. In: nothing. Out: the same bytes on every machine.
//!
//! Points, seeds and starts are 16 hex digits, since JSON numbers stop being exact at 2^53 for some readers. Keys are
//! text, or `hex` when they are none.

use serde_json::{Value, json};
use sluicegate_core::{
    key,
    pick::Even,
    spec::{Assignment, Protocol, SplitSpec, SubsetSpec},
    split::Split,
    table::Table,
};

const WEIGHTS: [&[u32]; 8] = [
    &[90, 10],
    &[50, 50],
    &[1, 1, 1],
    &[5, 90, 5],
    &[0, 100, 0],
    &[1, 1_000_000],
    &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
    &[u32::MAX; 16],
];

fn split(name: &str, weights: &[u32], hosts: &[&str]) -> Split {
    let subsets = weights.iter().enumerate().map(|(i, weight)| SubsetSpec { name: format!("s{i}"), weight: *weight });
    let spec = SplitSpec {
        name: name.to_owned(),
        generation: 1,
        subsets: subsets.collect(),
        default: "s0".to_owned(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        assignment: Assignment::Even,
        overrides: Vec::new(),
        trust_upstream: false,
        write_default: false,
        protocol: Protocol::Http,
    };
    Split::try_from(spec).expect("golden splits are valid")
}

fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// Key and salt to point, point and weights to subset.
fn keys() -> Vec<Value> {
    let long = "x".repeat(300);
    let mut keys: Vec<Vec<u8>> =
        ["", "alice", "bob", "user-1", "user-2", "127.0.0.1", "[2001:db8::1]", "ключ 鍵 🔑", &long]
            .map(|key| key.as_bytes().to_vec())
            .to_vec();
    keys.extend(
        ["sg-0000000000000000", "sg-0123456789abcdef", "sg-0123456789ABCDEF"].map(|key| key.as_bytes().to_vec()),
    );
    keys.extend([b"\xFF\x80".to_vec(), b"\0".to_vec(), vec![0xC3, 0x28]]);
    let salts = ["", "default/backend", "other"];
    keys.iter().flat_map(|key| salts.map(|salt| key_vector(key, salt))).collect()
}

fn key_vector(key: &[u8], salt: &str) -> Value {
    let point = key::point(key, key::seed(salt));
    let subsets: Vec<usize> = WEIGHTS.iter().map(|weights| split("n/s", weights, &[]).at(point)).collect();
    let mut vector = json!({"salt": salt, "seed": hex(key::seed(salt)), "point": hex(point), "subsets": subsets});
    match std::str::from_utf8(key) {
        Ok(text) => vector["key"] = json!(text),
        Err(_) => vector["hex"] = json!(key.iter().map(|b| format!("{b:02x}")).collect::<String>()),
    }
    vector
}

/// The id to issue for a point.
fn issued() -> Vec<Value> {
    let points = [0, 1, 1 << 63, u64::MAX, 0x0123_4567_89AB_CDEF];
    let salts = ["", "default/backend"];
    let one = |point, salt| {
        let id = String::from_utf8_lossy(&key::issue(point, key::seed(salt))).into_owned();
        json!({"salt": salt, "point": hex(point), "id": id})
    };
    points.iter().flat_map(|point| salts.map(|salt| one(*point, salt))).collect()
}

/// Points on both sides of the inner edges.
fn edges() -> Vec<Value> {
    let weights = WEIGHTS.iter().filter(|weights| weights.len() < 4);
    weights.flat_map(|weights| edges_of(weights)).collect()
}

fn edges_of(weights: &[u32]) -> Vec<Value> {
    let split = split("n/s", weights, &[]);
    let starts = (0..weights.len()).filter_map(|subset| split.point_in(subset, 0));
    let points = starts.flat_map(|start| [start.wrapping_sub(1), start]);
    points.map(|point| json!({"weights": weights, "point": hex(point), "subset": split.at(point)})).collect()
}

/// The first picks of the even sequence from a start.
fn even() -> Vec<Value> {
    let starts = [0, 1 << 63, 0x0123_4567_89AB_CDEF];
    WEIGHTS.iter().flat_map(|weights| starts.map(|start| even_from(start, weights))).collect()
}

fn even_from(start: u64, weights: &[u32]) -> Value {
    let (split, mut even) = (split("n/s", weights, &[]), Even::new(start));
    let picks: Vec<usize> = (0..40).map(|_| even.next(&split)).collect();
    json!({"start": hex(start), "weights": weights, "picks": picks})
}

const HOSTS: [(&str, &[&str]); 3] = [
    ("n/exact", &["www.example.com", "localhost", "[::1]"]),
    ("n/wild", &["*.example.com"]),
    ("n/deep", &["*.eu.example.com"]),
];

/// Authority to split.
fn authorities() -> Vec<Value> {
    let mut table = Table::default();
    HOSTS.iter().for_each(|(name, hosts)| table.insert(split(name, &[1], hosts)));
    [
        "www.example.com",
        "WWW.example.com.:443",
        "api.example.com",
        "a.eu.example.com",
        "eu.example.com",
        "example.com",
        ".example.com",
        "localhost:80",
        "[::1]:8080",
        "[::1]x",
        "::1",
        "",
        "...",
    ]
    .map(|authority| {
        let split = table.by_authority(authority.as_bytes()).and_then(|index| table.get(index));
        json!({"authority": authority, "split": split.map(|split| split.name.as_str())})
    })
    .to_vec()
}

/// The whole file.
pub(crate) fn assignments() -> String {
    let hosts = HOSTS.iter().map(|(name, hosts)| json!({"split": name, "hosts": hosts}));
    let lists = [
        ("weights", WEIGHTS.iter().map(|weights| json!(weights)).collect()),
        ("keys", keys()),
        ("issued", issued()),
        ("edges", edges()),
        ("even", even()),
        ("hosts", hosts.collect()),
        ("authorities", authorities()),
    ];
    let list = |(name, vectors): (&str, Vec<Value>)| {
        let lines: Vec<String> = vectors.iter().map(|vector| format!("    {vector}")).collect();
        format!("  \"{name}\": [\n{}\n  ]", lines.join(",\n"))
    };
    format!("{{\n{}\n}}\n", lists.map(list).join(",\n"))
}
