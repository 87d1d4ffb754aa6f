//! The marker segments of a JPEG file, one after the other.
//!
//! Walking them is cheap and needs no decoding, and tells a file that was cut off from one that is
//! whole: only a whole one reaches its end-of-image marker.

use crate::Error;

pub(super) const SOI: u8 = 0xd8;
pub(super) const EOI: u8 = 0xd9;
pub(super) const SOS: u8 = 0xda;
pub(super) const DQT: u8 = 0xdb;
pub(super) const DHT: u8 = 0xc4;
pub(super) const DRI: u8 = 0xdd;
pub(super) const APP0: u8 = 0xe0;
pub(super) const APP1: u8 = 0xe1;
pub(super) const APP2: u8 = 0xe2;
pub(super) const APP14: u8 = 0xee;

/// One marker with what belongs to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    /// What follows the length field; empty for the end-of-image marker.
    pub(super) body: &'a [u8],
}

/// Reads segments off a file whose start-of-image marker has been checked.
#[derive(Debug)]
pub(super) struct Segments<'a> {
    rest: &'a [u8],
}

impl<'a> Segments<'a> {
    pub(super) fn new(source: &'a [u8]) -> Self {
        Self { rest: source.get(2..).unwrap_or_default() }
    }

    /// Returns the next segment. The end of the file before the end-of-image marker is an error;
    /// stray bytes between segments are skipped, as every decoder does.
    pub(super) fn next(&mut self) -> Result<Segment<'a>, Error> {
        let marker = loop {
            let at = memchr::memchr(0xff, self.rest).ok_or_else(cut)?;
            self.rest = &self.rest[at + 1..];
            match *self.rest.first().ok_or_else(cut)? {
                // Fill bytes, stuffing, and markers that stand alone and mean nothing here.
                0x00 | 0x01 | 0xd0..=SOI | 0xff => {}
                marker => break marker,
            }
        };
        self.rest = &self.rest[1..];
        if marker == EOI {
            return Ok(Segment { marker, body: &[] });
        }
        let length = self.rest.first_chunk().map(|length| u16::from_be_bytes(*length));
        let length = usize::from(length.ok_or_else(cut)?);
        if length < 2 {
            return Err(Error::corrupt(format!("segment 0xff{marker:02x} has length {length}")));
        }
        let (body, rest) = self.rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(Segment { marker, body: &body[2..] })
    }

    /// Returns the entropy-coded data behind a start of scan, restart markers included.
    pub(super) fn entropy(&mut self) -> Result<&'a [u8], Error> {
        let (entropy, rest) = self.rest.split_at(entropy_length(self.rest).ok_or_else(cut)?);
        self.rest = rest;
        Ok(entropy)
    }
}

fn cut() -> Error {
    Error::truncated("the JPEG ends before its end-of-image marker")
}

/// Returns the length of the entropy-coded data, which ends at the first marker that is neither
/// stuffing nor a restart; `None` if there is no such marker.
pub(super) fn entropy_length(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(0xff, bytes.get(from..)?)?;
        match *bytes.get(at + 1)? {
            0x00 | 0xd0..=0xd7 => from = at + 2,
            0xff => from = at + 1,
            _ => return Some(at),
        }
    }
}
