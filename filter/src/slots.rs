//! The streams under observation: a fixed array, found by stream id in a few steps, nothing allocated per request.
//!
//! Envoy numbers streams upwards, so neighbours in time are neighbours here, and a stream that lives long keeps its
//! slot while others pass around it.

/// Streams one VM can observe at once; a power of two.
const CAPACITY: usize = 4096;
/// Steps looked at before giving up.
const REACH: usize = 16;
/// No series: the slot is only there for the cookie.
pub const NO_SERIES: u32 = u32::MAX;

/// A stream under observation.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// 0: free. Envoy never gives a stream this id.
    stream: u32,
    /// Index into the ledger, or [`NO_SERIES`].
    pub series: u32,
    /// Monotonic ns.
    pub started: u64,
    /// `set-cookie` value still to be added to the response.
    pub cookie: Option<Box<str>>,
}

/// All slots of a VM.
#[derive(Debug)]
pub struct Slots(Vec<Slot>);

impl Default for Slots {
    fn default() -> Self {
        Self(vec![Slot::default(); CAPACITY])
    }
}

impl Slots {
    fn position(&self, stream: u32, wanted: u32) -> Option<usize> {
        let first = stream as usize;
        (first..first + REACH)
            .map(|step| step % CAPACITY)
            .find(|at| self.0.get(*at).is_some_and(|slot| slot.stream == wanted))
    }

    /// A free slot for this stream; `false` when too many streams near it are still open.
    pub fn open(&mut self, stream: u32, series: u32, started: u64, cookie: Option<Box<str>>) -> bool {
        let Some(slot) = self.position(stream, 0).and_then(|at| self.0.get_mut(at)) else { return false };
        *slot = Slot { stream, series, started, cookie };
        true
    }

    /// The slot of this stream.
    pub fn get_mut(&mut self, stream: u32) -> Option<&mut Slot> {
        self.position(stream, stream).and_then(|at| self.0.get_mut(at))
    }

    /// Takes the stream out of its slot.
    pub fn close(&mut self, stream: u32) -> Option<Slot> {
        self.get_mut(stream).map(std::mem::take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_lived_stream_keeps_its_slot_while_thousands_pass() {
        let mut slots = Slots::default();
        assert!(slots.open(7, 1, 100, None));
        for stream in 8..100_000 {
            assert!(slots.open(stream, 2, 0, None), "{stream}");
            assert_eq!(slots.close(stream).map(|s| s.series), Some(2));
        }
        assert_eq!(slots.close(7).map(|s| (s.series, s.started)), Some((1, 100)));
        assert!(slots.close(7).is_none());
    }

    #[test]
    fn more_open_streams_than_slots_are_refused_and_the_others_stay_right() {
        let mut slots = Slots::default();
        let opened: Vec<u32> = (1..=10_000).filter(|s| slots.open(*s, *s, 0, None)).collect();
        assert_eq!(opened.len(), CAPACITY);
        assert!(opened.iter().all(|s| slots.close(*s).is_some_and(|slot| slot.series == *s)));
        assert!(slots.open(1, 1, 0, None));
    }

    #[test]
    fn a_stream_without_slot_finds_none() {
        let mut slots = Slots::default();
        assert!(slots.close(0).is_none_or(|s| s.stream == 0));
        assert!(slots.close(5).is_none());
        slots.open(5, 1, 0, None);
        assert!(slots.close(5 + CAPACITY as u32).is_none());
    }
}
