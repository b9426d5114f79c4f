//! The compact encoding of what travels to and lives in the data plane.
//!
//! Numbers are LEB128, strings and records carry their length. A record ends where its length says: a reader takes the
//! fields it knows, in order, ignores what a newer writer added behind them, and takes the default for what an older
//! writer did not have. So fields are only ever added, at the end. Reading never panics; what it allocates is bounded by
//! the input and by the longest list it takes.

use thiserror::Error;

/// Longest list: an item takes more memory than bytes, so their number is limited as the bytes are.
const MAX_ITEMS: u64 = 1 << 17;

/// The bytes are cut, or are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("cut, damaged, or of another layout")]
pub struct Damaged;

/// A whole message: one record behind the number of its layout, so that a cut one is never taken for a shorter one.
pub fn message(layout: u64, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut to = Writer::default();
    to.number(layout);
    to.record(write);
    to.finish()
}

/// The record of a message with this layout and nothing behind it.
pub fn read_message(layout: u64, bytes: &[u8]) -> Result<Reader<'_>, Damaged> {
    let mut from = Reader::new(bytes);
    if from.number()? != layout || from.is_empty() {
        return Err(Damaged);
    }
    let inner = from.record()?;
    if from.is_empty() { Ok(inner) } else { Err(Damaged) }
}

/// Writes fields.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// A number.
    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// A string or other bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.number(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// A string.
    pub fn string(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    /// Fields that belong together.
    pub fn record(&mut self, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(&inner.0);
    }

    /// A list of records.
    pub fn list<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut write: impl FnMut(&mut Self, T)) {
        self.number(items.len() as u64);
        items.for_each(|item| self.record(|w| write(w, item)));
    }
}

/// Reads fields in the order they were written.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Nothing left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A number; 0 at the end of the record.
    pub fn number(&mut self) -> Result<u64, Damaged> {
        if self.0.is_empty() {
            return Ok(0);
        }
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Damaged)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Damaged);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Damaged)
    }

    /// A number that must fit.
    pub fn small(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    /// A yes or no.
    pub fn flag(&mut self) -> Result<bool, Damaged> {
        Ok(self.number()? != 0)
    }

    /// Bytes; none at the end of the record.
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let size = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (value, rest) = self.0.split_at_checked(size).ok_or(Damaged)?;
        self.0 = rest;
        Ok(value)
    }

    /// A string; empty at the end of the record.
    pub fn string(&mut self) -> Result<String, Damaged> {
        Ok(std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)?.to_owned())
    }

    /// Fields that belong together.
    pub fn record(&mut self) -> Result<Self, Damaged> {
        self.bytes().map(Reader)
    }

    /// A list of records; empty at the end of the record.
    pub fn list<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Damaged>) -> Result<Vec<T>, Damaged> {
        let count = self.number()?;
        if count > MAX_ITEMS {
            return Err(Damaged);
        }
        let mut items = Vec::new();
        for _ in 0..count {
            // Each record takes a byte at least, so a wild count ends here.
            if self.0.is_empty() {
                return Err(Damaged);
            }
            items.push(read(&mut self.record()?)?);
        }
        Ok(items)
    }
}
