//! The chunks of a WebP file (RFC 9649).
//!
//! Walking them tells a file that was cut off from a whole one, and yields the size of every frame
//! before anything is decoded.

use super::vp8;
use crate::{Error, Limits, orientation::Orientation, resize::Size};

const MAGIC_SIZE: usize = 12;
const ANIMATION: u8 = 0x02;
const EXIF: u8 = 0x08;
const ALPHA: u8 = 0x10;
const PROFILE: u8 = 0x20;

/// What a file says of itself.
#[derive(Debug)]
pub(super) struct Container<'a> {
    /// Width and height as stored.
    pub(super) size: Size,
    pub(super) animated: bool,
    pub(super) orientation: Orientation,
    pub(super) profile: Option<&'a [u8]>,
    /// The picture, or an animation's first frame.
    pub(super) frame: Frame<'a>,
    chunks: Vec<Chunk<'a>>,
}

/// A coded picture, and where it stands on an animation's canvas.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) size: Size,
    pub(super) bitstream: Bitstream<'a>,
    /// The alpha channel of a lossy picture.
    alpha: Option<&'a [u8]>,
}

/// A coded picture without its alpha channel.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bitstream<'a> {
    Lossy(&'a [u8]),
    Lossless(&'a [u8]),
}

type Chunk<'a> = ([u8; 4], &'a [u8]);

impl<'a> Container<'a> {
    /// Walks all chunks, those of frames included.
    pub(super) fn read(source: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let length = source.get(4..8).and_then(<[u8]>::first_chunk).map(|it| u32::from_le_bytes(*it));
        let end = (length.ok_or_else(cut)? as usize).saturating_add(8);
        let chunks = walk(source.get(MAGIC_SIZE..end).ok_or_else(cut)?)?;
        let broken = || Error::corrupt("the header of the WebP is broken");
        let extended = chunks.first().filter(|(name, _)| name == b"VP8X");
        let header = extended.map(|(_, content)| content.first_chunk::<10>().ok_or_else(broken)).transpose()?;
        let animated = header.is_some_and(|header| header[0] & ANIMATION != 0);
        let canvas = header.map(|header| size_of(&header[4..]));
        if let Some(canvas) = canvas {
            limits.check_dimensions(canvas.width, canvas.height)?;
        }
        let (frame, count) = if animated { first_frame(&chunks, limits)? } else { (Frame::read(&chunks, limits)?, 1) };
        let size = canvas.unwrap_or(frame.size);
        limits.check_pixels(u64::from(size.width) * u64::from(size.height) * count)?;
        if frame.left + frame.size.width > size.width || frame.top + frame.size.height > size.height {
            return Err(Error::corrupt("the picture in the WebP is larger than its canvas"));
        }
        // Without that header nothing but the picture counts.
        let find = |wanted: &[u8; 4]| {
            chunks.iter().find(|(name, _)| name == wanted && header.is_some()).map(|(_, content)| *content)
        };
        let profile = find(b"ICCP");
        Limits::check_profile(profile.unwrap_or_default().len())?;
        // Some writers put JPEG's mark in front.
        let exif = find(b"EXIF").map(|content| content.strip_prefix(b"Exif\0\0").unwrap_or(content));
        let orientation = exif.map_or(Orientation::NORMAL, Orientation::from_exif);
        Ok(Self { size, animated, orientation, profile, frame, chunks })
    }

    /// Returns the file without its metadata: the orientation is the only EXIF tag.
    pub(super) fn stripped(&self) -> Vec<u8> {
        let turned = self.orientation != Orientation::NORMAL;
        let exif = self.orientation.to_exif();
        let mut chunks = Vec::new();
        let mut header;
        for (name, content) in &self.chunks {
            match name {
                b"VP8X" => {
                    header = content.to_vec();
                    if let Some(flags) = header.first_mut() {
                        *flags = *flags & (ANIMATION | ALPHA | PROFILE) | if turned { EXIF } else { 0 };
                    }
                    chunks.push((*name, header.clone()));
                }
                b"ICCP" | b"ALPH" | b"VP8 " | b"VP8L" | b"ANIM" | b"ANMF" => chunks.push((*name, content.to_vec())),
                _ => {}
            }
        }
        if turned {
            chunks.push((*b"EXIF", exif));
        }
        let chunks: Vec<Chunk<'_>> = chunks.iter().map(|(name, content)| (*name, content.as_slice())).collect();
        write(&chunks)
    }
}

impl Bitstream<'_> {
    fn size(self) -> Result<Size, Error> {
        let size = match self {
            Self::Lossy(frame) => vp8::size(frame),
            Self::Lossless(frame) => frame.strip_prefix(&[0x2f]).and_then(<[u8]>::first_chunk).map(|bits| {
                let bits = u32::from_le_bytes(*bits);
                Size { width: (bits & 0x3fff) + 1, height: (bits >> 14 & 0x3fff) + 1 }
            }),
        };
        size.ok_or_else(|| Error::corrupt("the header of a WebP picture is broken"))
    }
}

impl<'a> Frame<'a> {
    /// Reads the picture among `chunks`.
    fn read(chunks: &[Chunk<'a>], limits: &Limits) -> Result<Self, Error> {
        let found = chunks.iter().copied().find_map(bitstream);
        let bitstream = found.ok_or_else(|| Error::corrupt("there is no picture in the WebP"))?;
        let size = bitstream.size()?;
        limits.check_dimensions(size.width, size.height)?;
        let alpha = chunks.iter().find(|(name, _)| name == b"ALPH").map(|(_, content)| *content);
        Ok(Self { left: 0, top: 0, size, bitstream, alpha })
    }

    /// Returns whether the picture has an alpha channel.
    pub(super) fn has_alpha(&self) -> bool {
        match self.bitstream {
            Bitstream::Lossy(_) => self.alpha.is_some(),
            Bitstream::Lossless(frame) => frame.get(4).is_some_and(|bits| bits & 0x10 != 0),
        }
    }

    /// Returns a file with nothing but the picture.
    pub(super) fn file(&self) -> Vec<u8> {
        let flags = if self.has_alpha() { ALPHA } else { 0 };
        let header = header(flags, self.size);
        let mut chunks: Vec<Chunk<'_>> = vec![(*b"VP8X", &header)];
        match self.bitstream {
            Bitstream::Lossy(frame) => {
                chunks.extend(self.alpha.map(|alpha| (*b"ALPH", alpha)));
                chunks.push((*b"VP8 ", frame));
            }
            Bitstream::Lossless(frame) => chunks.push((*b"VP8L", frame)),
        }
        write(&chunks)
    }
}

/// Returns the first frame of an animation, and the number of frames.
fn first_frame<'a>(chunks: &[Chunk<'a>], limits: &Limits) -> Result<(Frame<'a>, u64), Error> {
    let (mut first, mut count) = (None, 0);
    for (_, content) in chunks.iter().filter(|(name, _)| name == b"ANMF") {
        count += 1;
        Limits::check_frames(count)?;
        let broken = || Error::corrupt("a frame of the WebP is broken");
        let (header, parts) = content.split_at_checked(16).ok_or_else(broken)?;
        let frame = Frame::read(&walk(parts)?, limits)?;
        if frame.size != size_of(&header[6..]) {
            return Err(broken());
        }
        // Positions are stored halved.
        let (left, top) = (2 * number(&header[..3]), 2 * number(&header[3..]));
        first = first.or(Some(Frame { left, top, ..frame }));
    }
    let first = first.ok_or_else(|| Error::corrupt("there is no picture in the WebP"))?;
    Ok((first, count))
}

/// Returns the number of 24 bits that `bytes` begin with.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(3).rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Returns the size that stands in six bytes, each side less one.
fn size_of(bytes: &[u8]) -> Size {
    Size { width: number(bytes) + 1, height: number(&bytes[3..]) + 1 }
}

/// Returns the content of a file's header.
fn header(flags: u8, size: Size) -> [u8; 10] {
    let [w0, w1, w2, _] = (size.width - 1).to_le_bytes();
    let [h0, h1, h2, _] = (size.height - 1).to_le_bytes();
    [flags, 0, 0, 0, w0, w1, w2, h0, h1, h2]
}

/// Puts a colour profile into a file that an encoder wrote; `None` if it is no such file.
pub(super) fn with_profile(file: &[u8], size: Size, profile: &[u8]) -> Option<Vec<u8>> {
    let chunks = walk(file.get(MAGIC_SIZE..)?).ok()?;
    let (name, content) = chunks.first()?;
    let flags = match name {
        b"VP8X" => *content.first()?,
        // The encoder uses the simple container for a lossless picture with alpha.
        b"VP8L" if content.get(4)? & 0x10 != 0 => ALPHA,
        _ => 0,
    };
    let header = header(flags | PROFILE, size);
    let mut all: Vec<Chunk<'_>> = vec![(*b"VP8X", &header), (*b"ICCP", profile)];
    all.extend(chunks.iter().filter(|(name, _)| name != b"VP8X"));
    Some(write(&all))
}

fn bitstream((name, content): Chunk<'_>) -> Option<Bitstream<'_>> {
    match &name {
        b"VP8 " => Some(Bitstream::Lossy(content)),
        b"VP8L" => Some(Bitstream::Lossless(content)),
        _ => None,
    }
}

fn walk(mut bytes: &[u8]) -> Result<Vec<Chunk<'_>>, Error> {
    let mut chunks = Vec::new();
    while let Some((&[n0, n1, n2, n3, length @ ..], rest)) = bytes.split_first_chunk::<8>() {
        let (content, rest) = rest.split_at_checked(u32::from_le_bytes(length) as usize).ok_or_else(cut)?;
        chunks.push(([n0, n1, n2, n3], content));
        // Chunks begin at even positions; the last one may lack its padding.
        bytes = if content.len().is_multiple_of(2) { rest } else { rest.get(1..).unwrap_or_default() };
    }
    Ok(chunks)
}

fn write(chunks: &[Chunk<'_>]) -> Vec<u8> {
    let mut bytes = b"RIFF\0\0\0\0WEBP".to_vec();
    for (name, content) in chunks {
        bytes.extend(name);
        bytes.extend((content.len() as u32).to_le_bytes());
        bytes.extend(*content);
        bytes.extend(vec![0; content.len() % 2]);
    }
    let length = (bytes.len() - 8) as u32;
    bytes[4..8].copy_from_slice(&length.to_le_bytes());
    bytes
}

fn cut() -> Error {
    Error::truncated("the WebP is shorter than its header says")
}
