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
    /// Index into the ledger, or [`NO_SERIES`].
    pub series: u32,
    /// Monotonic ns.
    pub started: u64,
    /// `set-cookie` value still to be added to the response.
    cookie: Option<Box<str>>,
}

/// All slots of a VM.
#[derive(Debug)]
pub struct Slots {
    /// The stream of each slot, 0 for a free one (Envoy never gives a stream that id). Apart from the slots, since most
    /// streams are looked for in vain: that reads one or two cache lines.
    streams: Vec<u32>,
    slots: Vec<Slot>,
    /// Slots that hold a cookie; mostly none, and then a response has nothing to look for.
    cookies: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self { streams: vec![0; CAPACITY], slots: vec![Slot::default(); CAPACITY], cookies: 0 }
    }
}

impl Slots {
    /// Where near this stream's place `wanted` is.
    fn position(&self, stream: u32, wanted: u32) -> Option<usize> {
        let first = stream as usize;
        (first..first + REACH).map(|step| step % CAPACITY).find(|at| self.streams.get(*at) == Some(&wanted))
    }

    /// A free slot for this stream; `false` when too many streams near it are still open.
    pub fn open(&mut self, stream: u32, series: u32, started: u64, cookie: Option<Box<str>>) -> bool {
        let Some(at) = self.position(stream, 0) else { return false };
        let (Some(owner), Some(slot)) = (self.streams.get_mut(at), self.slots.get_mut(at)) else { return false };
        self.cookies += usize::from(cookie.is_some());
        *owner = stream;
        *slot = Slot { series, started, cookie };
        true
    }

    /// The cookie to be set on this stream's response, once.
    pub fn take_cookie(&mut self, stream: u32) -> Option<Box<str>> {
        if self.cookies == 0 {
            return None;
        }
        let at = self.position(stream, stream)?;
        let cookie = self.slots.get_mut(at)?.cookie.take()?;
        self.cookies -= 1;
        Some(cookie)
    }

    /// Takes the stream out of its slot.
    pub fn close(&mut self, stream: u32) -> Option<Slot> {
        let at = self.position(stream, stream)?;
        *self.streams.get_mut(at)? = 0;
        let slot = std::mem::take(self.slots.get_mut(at)?);
        self.cookies -= usize::from(slot.cookie.is_some());
        Some(slot)
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
        slots.close(0);
        assert!(slots.close(5).is_none());
        slots.open(5, 1, 0, None);
        assert!(slots.close(5 + CAPACITY as u32).is_none());
    }

    #[test]
    fn a_cookie_is_handed_out_once_whatever_else_is_open() {
        let mut slots = Slots::default();
        assert!(slots.open(1, 1, 0, None));
        assert!(slots.open(2, 1, 0, Some("a".into())));
        assert!(slots.open(3, 1, 0, Some("b".into())));
        assert_eq!(slots.take_cookie(1), None);
        assert_eq!(slots.take_cookie(2).as_deref(), Some("a"));
        assert_eq!(slots.take_cookie(2), None);
        // Cut off before its response: the cookie goes with the slot.
        assert!(slots.close(3).is_some());
        assert_eq!((slots.cookies, slots.take_cookie(3)), (0, None));
    }
}
