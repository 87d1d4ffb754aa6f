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
    /// The coded picture; of an animation, the first frame's.
    pub(super) bitstream: Bitstream<'a>,
    chunks: Vec<Chunk<'a>>,
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
        let body = source.get(MAGIC_SIZE..end).ok_or_else(cut)?;
        let chunks = walk(body)?;
        let mut frames = 0;
        let mut found = None;
        for (name, content) in &chunks {
            let parts =
                if name == b"ANMF" { walk(content.get(16..).unwrap_or_default())? } else { vec![(*name, *content)] };
            let Some(bitstream) = parts.into_iter().find_map(bitstream) else { continue };
            let size = bitstream.size()?;
            limits.check_dimensions(size.width, size.height)?;
            frames += 1;
            Limits::check_frames(frames)?;
            found = found.or(Some((bitstream, size)));
        }
        let (bitstream, mut size) = found.ok_or_else(|| Error::corrupt("there is no picture in the WebP"))?;
        let extended = chunks.first().filter(|(name, _)| name == b"VP8X");
        let mut animated = false;
        if let Some((_, content)) = extended {
            let broken = || Error::corrupt("the header of the WebP is broken");
            let &[flags, _, _, _, w0, w1, w2, h0, h1, h2] = content.first_chunk().ok_or_else(broken)?;
            animated = flags & ANIMATION != 0;
            let length = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]) + 1;
            size = Size { width: length(w0, w1, w2), height: length(h0, h1, h2) };
            limits.check_dimensions(size.width, size.height)?;
        }
        limits.check_pixels(u64::from(size.width) * u64::from(size.height) * frames)?;
        // Without that header nothing but the picture counts.
        let find = |wanted: &[u8; 4]| {
            chunks.iter().find(|(name, _)| name == wanted && extended.is_some()).map(|(_, content)| *content)
        };
        let profile = find(b"ICCP");
        Limits::check_profile(profile.unwrap_or_default().len())?;
        // Some writers put JPEG's mark in front.
        let exif = find(b"EXIF").map(|content| content.strip_prefix(b"Exif\0\0").unwrap_or(content));
        let orientation = exif.map_or(Orientation::NORMAL, Orientation::from_exif);
        Ok(Self { size, animated, orientation, profile, bitstream, chunks })
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
    let [w0, w1, w2, _] = (size.width - 1).to_le_bytes();
    let [h0, h1, h2, _] = (size.height - 1).to_le_bytes();
    let header = [flags | PROFILE, 0, 0, 0, w0, w1, w2, h0, h1, h2];
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
