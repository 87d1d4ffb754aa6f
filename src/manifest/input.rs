//! The bytes of a source on their way into the CSV reader: bounded for each record, lines counted.
//!
//! The `csv` crate has no bound on a record. Its line numbers are those of where the record before
//! ended: one too low behind CRLF, and too low behind blank lines.

use std::collections::VecDeque;
use std::io::{Error, Read, Result};

/// A reader that fails once a record used up its budget of bytes, and knows where lines begin.
pub(super) struct Input<R> {
    inner: R,
    /// Bytes that may still be read for this record.
    left: usize,
    offset: u64,
    line: u64,
    last: u8,
    /// Offset and number of each line that is not empty and not yet behind the record asked for.
    starts: VecDeque<(u64, u64)>,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, left: 0, offset: 0, line: 1, last: b'\n', starts: VecDeque::new() }
    }

    /// Grants the next record that many bytes.
    pub(super) fn grant(&mut self, bytes: usize) {
        self.left = bytes;
    }

    /// Returns whether the record used up its budget.
    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Returns the line of the record that the `csv` crate says begins at `offset`, which is before
    /// any line ends it skips. Offsets must not decrease.
    pub(super) fn line_at(&mut self, offset: u64) -> u64 {
        while self.starts.front().is_some_and(|(start, _)| *start < offset) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.line, |(_, line)| *line)
    }

    fn count(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match (self.last, byte) {
                // The second half of one line's end.
                (b'\r', b'\n') => {}
                (_, b'\r' | b'\n') => self.line += 1,
                (b'\r' | b'\n', _) => self.starts.push_back((self.offset, self.line)),
                _ => {}
            }
            self.last = byte;
            self.offset += 1;
        }
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if self.left == 0 {
            return Err(Error::other("record too large"));
        }
        let end = buffer.len().min(self.left);
        let read = self.inner.read(&mut buffer[..end])?;
        self.left -= read;
        self.count(&buffer[..read]);
        Ok(read)
    }
}
