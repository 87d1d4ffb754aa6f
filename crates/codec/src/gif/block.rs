//! The blocks of a GIF file (the specification of `GIF89a`).
//!
//! Walking them tells a file that was cut off from a whole one, and yields the number of frames
//! before any is decoded.

use crate::{Error, Limits, resize::Size};

const EXTENSION: u8 = 0x21;
const IMAGE: u8 = 0x2c;
const TRAILER: u8 = 0x3b;
const APPLICATION: u8 = 0xff;
const COMMENT: u8 = 0xfe;

/// Extensions that change what is seen: how often it plays (two names), and the colour profile.
const SEEN: [&[u8]; 3] = [b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

/// What a file says of itself.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Size of the canvas.
    pub(super) size: Size,
    pub(super) frames: u64,
    /// How often the animation plays; zero is for ever.
    pub(super) plays: u32,
    /// The file without comments and foreign extensions.
    pub(super) stripped: Vec<u8>,
}

impl Blocks {
    /// Walks all blocks up to the trailer.
    pub(super) fn read(source: &[u8], limits: &Limits) -> Result<Self, Error> {
        let mut reader = Reader { source, at: 6 };
        let &[w0, w1, h0, h1, flags, _, _] = reader.take()?;
        let size = Size { width: u16::from_le_bytes([w0, w1]).into(), height: u16::from_le_bytes([h0, h1]).into() };
        limits.check_dimensions(size.width, size.height)?;
        reader.skip(palette_size(flags))?;
        let mut blocks = Self { size, frames: 0, plays: 1, stripped: source[..reader.at].to_vec() };
        loop {
            let start = reader.at;
            let [kind] = *reader.take()?;
            match kind {
                TRAILER if blocks.frames > 0 => {
                    blocks.stripped.push(TRAILER);
                    return Ok(blocks);
                }
                TRAILER => return Err(Error::corrupt("there is no picture in the GIF")),
                IMAGE => {
                    let &[_, _, _, _, w0, w1, h0, h1, flags] = reader.take()?;
                    limits
                        .check_dimensions(u16::from_le_bytes([w0, w1]).into(), u16::from_le_bytes([h0, h1]).into())?;
                    blocks.frames += 1;
                    Limits::check_frames(blocks.frames)?;
                    limits.check_pixels(u64::from(size.width) * u64::from(size.height) * blocks.frames)?;
                    reader.skip(palette_size(flags) + 1)?;
                    reader.skip_parts()?;
                    blocks.stripped.extend(&source[start..reader.at]);
                }
                EXTENSION => {
                    let [label] = *reader.take()?;
                    let name = source.get(reader.at + 1..reader.at + 12).unwrap_or_default();
                    if label == APPLICATION && (name == SEEN[0] || name == SEEN[1]) {
                        blocks.read_plays(source.get(reader.at + 12..).unwrap_or_default());
                    }
                    reader.skip_parts()?;
                    if label != COMMENT && (label != APPLICATION || SEEN.contains(&name)) {
                        blocks.stripped.extend(&source[start..reader.at]);
                    }
                }
                // Some writers pad with zeros.
                0 => {}
                other => return Err(Error::corrupt(format!("a GIF block of the unknown kind {other}"))),
            }
        }
    }

    /// Reads how often the animation is repeated, which is once less than it plays.
    fn read_plays(&mut self, part: &[u8]) {
        if let Some(&[3, 1, low, high]) = part.first_chunk() {
            let repeats = u32::from(u16::from_le_bytes([low, high]));
            self.plays = if repeats == 0 { 0 } else { repeats + 1 };
        }
    }
}

/// Returns the size in bytes of the palette that a header with these flags has.
fn palette_size(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 6 << (flags & 7) }
}

struct Reader<'a> {
    source: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        let taken = self.source.get(self.at..).and_then(<[u8]>::first_chunk).ok_or_else(cut)?;
        self.at += N;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), Error> {
        self.at += count;
        if self.at > self.source.len() { Err(cut()) } else { Ok(()) }
    }

    /// Skips parts up to the empty one.
    fn skip_parts(&mut self) -> Result<(), Error> {
        loop {
            let [length] = *self.take()?;
            if length == 0 {
                return Ok(());
            }
            self.skip(length.into())?;
        }
    }
}

fn cut() -> Error {
    Error::truncated("the GIF ends before its trailer")
}
