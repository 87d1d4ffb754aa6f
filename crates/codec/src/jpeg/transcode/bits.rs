//! Bits of the entropy-coded segments.
//!
//! The bytes are unstuffed in windows that fit the second-level cache: `memchr` finds the 0xff
//! bytes many times faster than a decoder could look at each byte. The decoder then reads from a
//! reservoir of 64 bits that is refilled without a branch. Padding behind the window lets it run
//! over the end for the length of one unit; [`Window::check`] finds that out afterwards.

use memchr::memchr;

use crate::Error;

/// Unstuffed bytes that are kept at a time.
const CAPACITY: usize = 32 << 10;
/// More than the longest unit between two checks: a minimum coded unit has at most ten blocks of
/// 64 symbols, each with at most 16 bits of code and 15 of value.
const UNIT: usize = 10 * 64 * 4;
/// Zeros behind the last byte, so that a unit and the last refill stay within the window.
const PADDING: usize = UNIT + 64;

/// Bits of the longest code with its value.
const LONGEST: usize = 31;
const EARLY: &str = "its scan data ends early";

/// The reservoir: `count` bits, from the top, that stand before byte `at` of the window.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bits {
    reservoir: u64,
    count: u32,
    at: usize,
}

impl Bits {
    /// Makes at least 56 bits available.
    #[inline(always)]
    pub(super) fn refill(&mut self, window: &[u8]) {
        let bytes = window.get(self.at..).and_then(|rest| rest.first_chunk::<8>());
        let word = bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes));
        self.reservoir |= word >> self.count;
        self.at += ((63 - self.count) >> 3) as usize;
        self.count |= 0x38;
    }

    /// Returns the next `width` bits, 1 to 32, without taking them.
    #[inline(always)]
    pub(super) fn peek(&self, width: u32) -> u32 {
        (self.reservoir >> (64 - width)) as u32
    }

    /// Takes `width` bits, at most as many as are available.
    #[inline(always)]
    pub(super) fn skip(&mut self, width: u32) {
        self.reservoir <<= width;
        self.count = self.count.wrapping_sub(width);
    }

    /// Takes the next `width` bits, 0 to 32.
    #[inline(always)]
    pub(super) fn take(&mut self, width: u32) -> u32 {
        let bits = ((self.reservoir >> 1) >> (63 - width)) as u32;
        self.skip(width);
        bits
    }

    /// Takes a value of `size` bits as ITU-T T.81 F.2.2.1 extends it: the upper half of the range
    /// is positive, the lower half negative.
    #[inline(always)]
    pub(super) fn value(&mut self, size: u32) -> i32 {
        extend(self.take(size) as i32, size)
    }
}

/// Extends `bits`, a value of `size` bits, to the number it stands for.
#[inline(always)]
pub(super) fn extend(bits: i32, size: u32) -> i32 {
    if size == 0 || bits >> (size - 1) != 0 { bits } else { bits - (1 << size) + 1 }
}

/// The unstuffed bytes from a place in one entropy-coded segment onwards.
#[derive(Debug)]
pub(super) struct Window<'a> {
    source: &'a [u8],
    /// The next byte of `source` to be unstuffed; at a marker's 0xff once that was met.
    next: usize,
    bytes: Vec<u8>,
    /// Bytes of the window that are valid.
    end: usize,
    /// Whether a marker or the end of the source was met.
    ended: bool,
    pub(super) bits: Bits,
}

impl<'a> Window<'a> {
    /// Starts at the beginning of `source`, the bytes behind a scan header.
    pub(super) fn new(source: &'a [u8]) -> Self {
        // One more than there is, so that the end is met while there is still room.
        let bytes = vec![0; CAPACITY.min(source.len() + 1) + PADDING];
        Self { source, next: 0, bytes, end: 0, ended: false, bits: Bits::default() }
    }

    /// Returns the bytes the reservoir is refilled from.
    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes at least 56 bits available.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        self.bits.refill(&self.bytes);
    }

    /// Makes sure that one unit can be read, and fails if the last one read beyond the end.
    #[inline(always)]
    pub(super) fn check(&mut self) -> Result<(), Error> {
        if self.bits.at + UNIT > self.end { self.fill() } else { Ok(()) }
    }

    #[cold]
    #[inline(never)]
    fn fill(&mut self) -> Result<(), Error> {
        let taken = 8 * self.bits.at - self.bits.count as usize;
        if self.ended {
            return if taken > 8 * self.end { Err(Error::truncated(EARLY)) } else { Ok(()) };
        }
        let room = self.bytes.len() - PADDING;
        self.bytes.copy_within(self.bits.at..self.end, 0);
        self.end -= self.bits.at;
        self.bits.at = 0;
        while self.end < room && !self.ended {
            let rest = &self.source[self.next..];
            let chunk = &rest[..rest.len().min(room - self.end)];
            let found = memchr(0xff, chunk);
            let plain = found.unwrap_or(chunk.len());
            self.bytes[self.end..self.end + plain].copy_from_slice(&chunk[..plain]);
            self.end += plain;
            self.next += plain;
            match (found, rest.get(plain + 1)) {
                (None, _) => self.ended = chunk.is_empty(),
                (Some(_), Some(0)) => {
                    self.bytes[self.end] = 0xff;
                    self.end += 1;
                    self.next += 2;
                }
                // A fill byte; the marker follows.
                (Some(_), Some(0xff)) => self.next += 1,
                _ => self.ended = true,
            }
        }
        let end = self.end;
        self.bytes[end..end + PADDING].fill(0);
        Ok(())
    }

    /// Tells a code that does not exist from one that was cut: what reaches behind the last byte was
    /// filled up with zeros, which mean anything.
    #[cold]
    pub(super) fn explain(&self, error: Error) -> Error {
        let taken = 8 * self.bits.at - self.bits.count as usize;
        match error {
            Error::ImageCorrupt(_) if taken + LONGEST > 8 * self.end => Error::truncated(EARLY),
            other => other,
        }
    }

    /// Ends a restart interval: skips to the marker, which must be the restart of `number`.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), Error> {
        self.finish()?;
        let found = self.source.get(self.next + 1).copied();
        match found {
            Some(marker) if marker == 0xd0 + number => {}
            Some(marker @ 0xd0..=0xd7) => {
                return Err(Error::corrupt(format!("restart marker {} in place of {number}", marker - 0xd0)));
            }
            _ => return Err(Error::truncated("its scan data ends before a restart marker")),
        }
        self.next += 2;
        (self.end, self.ended, self.bits) = (0, false, Bits::default());
        Ok(())
    }

    /// Ends the segment: checks the last unit, and returns the position of the next marker.
    pub(super) fn finish(&mut self) -> Result<usize, Error> {
        if 8 * self.bits.at > 8 * self.end + self.bits.count as usize {
            return Err(Error::truncated(EARLY));
        }
        // Bytes that no code asked for are skipped, as all decoders do.
        while !self.ended {
            let rest = &self.source[self.next..];
            match memchr(0xff, rest) {
                Some(at) if matches!(rest.get(at + 1), Some(0)) => self.next += at + 2,
                Some(at) if matches!(rest.get(at + 1), Some(0xff)) => self.next += at + 1,
                Some(at) => (self.next, self.ended) = (self.next + at, true),
                None => (self.next, self.ended) = (self.source.len(), true),
            }
        }
        Ok(self.next)
    }
}
