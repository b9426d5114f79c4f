//! The committed golden vectors: every build picks as they say, and making them anew gives the same file.

use crate::any;
use serde_json::Value;
use sluicegate_core::{key, pick::Even, split::Split, table::Table};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[path = "../../examples/golden/make.rs"]
mod make;

const FILE: &str = include_str!("../../golden/assignments.json");

fn golden(list: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(FILE).expect("golden file is JSON");
    let vectors = file[list].as_array().expect(list).clone();
    assert!(vectors.len() > 2, "{list} is nearly empty");
    vectors
}

fn number(vector: &Value, field: &str) -> u64 {
    u64::from_str_radix(vector[field].as_str().expect(field), 16).expect(field)
}

fn numbers(list: &Value) -> Vec<u64> {
    list.as_array().expect("numbers").iter().map(|n| n.as_u64().expect("number")).collect()
}

fn split_of(weights: &Value) -> Split {
    any::split(&numbers(weights).into_iter().map(|w| w as u32).collect::<Vec<_>>())
}

#[test]
fn the_file_is_what_its_generator_makes_today() {
    let (made, kept) = (make::assignments(), FILE);
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    assert!(made == kept, "stale: see core/examples/golden/main.rs; first difference {differs:?}");
}

#[test]
fn keys_get_the_points_and_subsets_they_always_got() {
    let splits: Vec<Split> = golden("weights").iter().map(split_of).collect();
    for vector in golden("keys") {
        let key = match (vector["key"].as_str(), vector["hex"].as_str()) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(hex)) => {
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
            }
            _ => panic!("neither key nor hex: {vector}"),
        };
        let seed = key::seed(vector["salt"].as_str().unwrap());
        assert_eq!(seed, number(&vector, "seed"), "{vector}");
        let point = key::point(&key, seed);
        assert_eq!(point, number(&vector, "point"), "{vector}");
        let picked: Vec<u64> = splits.iter().map(|split| split.at(point) as u64).collect();
        assert_eq!(picked, numbers(&vector["subsets"]), "{vector}");
    }
}

#[test]
fn ids_are_issued_as_they_always_were() {
    for vector in golden("issued") {
        let (seed, point) = (key::seed(vector["salt"].as_str().unwrap()), number(&vector, "point"));
        assert_eq!(&key::issue(point, seed)[..], vector["id"].as_str().unwrap().as_bytes());
        assert_eq!(key::point(vector["id"].as_str().unwrap().as_bytes(), seed), point, "{vector}");
    }
}

#[test]
fn edges_are_where_they_always_were() {
    for vector in golden("edges") {
        let picked = split_of(&vector["weights"]).at(number(&vector, "point")) as u64;
        assert_eq!(Some(picked), vector["subset"].as_u64(), "{vector}");
    }
}

#[test]
fn even_sequences_are_what_they_always_were() {
    for vector in golden("even") {
        let (split, mut even) = (split_of(&vector["weights"]), Even::new(number(&vector, "start")));
        let picks = numbers(&vector["picks"]);
        let got: Vec<u64> = picks.iter().map(|_| even.next(&split) as u64).collect();
        assert_eq!(got, picks, "{vector}");
    }
}

#[test]
fn authorities_find_the_splits_they_always_found() {
    let mut table = Table::default();
    for vector in golden("hosts") {
        let mut spec = any::spec(&[1]);
        spec.name = vector["split"].as_str().unwrap().to_owned();
        spec.hosts = vector["hosts"].as_array().unwrap().iter().map(|h| h.as_str().unwrap().to_owned()).collect();
        table.insert(Split::try_from(spec).unwrap());
    }
    for vector in golden("authorities") {
        let found = table.by_authority(vector["authority"].as_str().unwrap().as_bytes());
        let found = found.and_then(|index| table.get(index)).map(|split| split.name.as_str());
        assert_eq!(found, vector["split"].as_str(), "{vector}");
    }
}
