//! The compact encoding: read back as written, open to fields of a later version, closed to damage.

use crate::{any, cases};
use proptest::{collection::vec, prelude::*};
use sluicegate_core::{
    codec::{Damaged, Reader, Writer, message, read_message},
    counts::Counts,
    latency::Histogram,
    snapshot::Snapshot,
    spec::SplitSpec,
    wire::SyncAnswer,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const WORDS: &[&str] = &["\u{1}S\u{1}", "n/s1", "\u{7f}\u{7f}\u{7f}\u{7f}", "\u{0}\u{0}\u{0}\u{0}"];

fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut to = Writer::default();
    write(&mut to);
    to.finish()
}

#[test]
fn numbers_take_one_to_ten_bytes_and_stop_at_64_bits() {
    for (number, bytes) in [
        (0, &[0][..]),
        (127, &[0x7F]),
        (128, &[0x80, 1]),
        (u64::from(u32::MAX), &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]),
        (u64::MAX, &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01]),
    ] {
        assert_eq!(written(|w| w.number(number)), bytes);
        assert_eq!(Reader::new(bytes).number(), Ok(number));
        assert_eq!(Reader::new(bytes).small().ok(), u32::try_from(number).ok());
    }
    let over = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02];
    let eleven = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00];
    for bytes in [&over[..], &eleven, &[0x80], &[0xFF, 0xFF]] {
        assert_eq!(Reader::new(bytes).number(), Err(Damaged), "{bytes:?}");
    }
}

#[test]
fn what_an_older_writer_did_not_have_is_its_default() {
    let mut from = Reader::new(&[]);
    assert_eq!((from.number(), from.flag(), from.string()), (Ok(0), Ok(false), Ok(String::new())));
    assert_eq!(from.list(Reader::number), Ok(Vec::new()));
    assert!(from.record().is_ok_and(|r| r.is_empty()));
}

#[test]
fn a_message_has_its_layout_at_its_head_and_nothing_behind_it() {
    let good = message(9, |w| w.number(5));
    assert_eq!(read_message(9, &good).and_then(|mut r| r.number()), Ok(5));
    assert!(read_message(8, &good).is_err());
    assert!(read_message(9, &[&good[..], &[0]].concat()).is_err());
    assert!((0..good.len()).all(|cut| read_message(9, &good[..cut]).is_err()));
}

#[test]
fn counts_are_in_order_whatever_order_they_were_written_in() {
    let wild = Counts { latency: Histogram(vec![(9, 1), (255, 2), (3, 4), (9, 8), (5, 0)]), ..Counts::default() };
    let read = Counts::read(&mut Reader::new(&written(|w| wild.write(w)))).unwrap();
    assert_eq!(read.latency, Histogram(vec![(3, 4), (9, 9), (121, 2)]));
}

#[test]
fn text_that_is_not_utf8_is_damage() {
    assert_eq!(Reader::new(&[2, 0xC3, 0x28]).string(), Err(Damaged));
    assert_eq!(Reader::new(&[2, 0xC3, 0x28]).bytes(), Ok(&[0xC3, 0x28][..]));
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn any_number_is_read_back(numbers in vec(prop_oneof![any::<u64>(), 0..300_u64], 0..20)) {
        let bytes = written(|w| numbers.iter().for_each(|n| w.number(*n)));
        let mut from = Reader::new(&bytes);
        prop_assert!(numbers.iter().all(|n| from.number() == Ok(*n)) && from.is_empty());
    }

    #[test]
    fn specs_answers_and_counts_are_read_back(answer in any::answer(), counts in any::counts()) {
        prop_assert_eq!(SyncAnswer::decode(&answer.encode()), Ok(answer.clone()));
        for split in answer.splits {
            prop_assert_eq!(SplitSpec::read(&mut Reader::new(&written(|w| split.write(w)))), Ok(split));
        }
        prop_assert_eq!(Counts::read(&mut Reader::new(&written(|w| counts.write(w)))), Ok(counts));
    }

    #[test]
    fn fields_of_a_later_version_are_ignored(
        mut spec in any::any_spec(), counts in any::counts(), more in vec(any::<u8>(), 1..20), generation in any::<u64>(),
    ) {
        spec.generation = generation;
        let bytes = written(|w| {
            spec.write(w);
            w.bytes(&more);
        });
        prop_assert_eq!(SplitSpec::read(&mut Reader::new(&bytes)), Ok(spec));
        let bytes = written(|w| {
            counts.write(w);
            w.bytes(&more);
        });
        prop_assert_eq!(Counts::read(&mut Reader::new(&bytes)), Ok(counts));
    }

    #[test]
    fn a_cut_answer_is_never_taken_for_a_whole_one(answer in any::answer()) {
        let bytes = answer.encode();
        prop_assert!((0..bytes.len()).all(|cut| SyncAnswer::decode(&bytes[..cut]).is_err()));
    }
}

proptest! {
    // With 100 damages for each answer: 10^5 mutants.
    #![proptest_config(cases(1_000))]

    #[test]
    fn damaged_answers_and_counts_are_refused_or_usable(
        answer in any::answer(), counts in any::counts(), damages in vec(any::damage(WORDS), 100),
    ) {
        let (answer, counts) = (answer.encode(), written(|w| counts.write(w)));
        let mut snapshot = Snapshot::default();
        for damage in damages {
            if let Ok(read) = SyncAnswer::decode(&any::damaged(&answer, &damage)) {
                prop_assert!(SyncAnswer::decode(&read.encode()).is_ok_and(|same| same == read));
                snapshot.merge(read);
            }
            if let Ok(read) = Counts::read(&mut Reader::new(&any::damaged(&counts, &damage))) {
                let again = written(|w| read.write(w));
                prop_assert!(Counts::read(&mut Reader::new(&again)).is_ok_and(|same| same == read));
            }
        }
        prop_assert!(Snapshot::decode(&snapshot.encode()).is_ok_and(|read| read == snapshot));
    }
}
