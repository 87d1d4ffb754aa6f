//! The chunks of a PNG file.
//!
//! Walking them tells a file that was cut off from a whole one, finds what says how colours are
//! meant, and yields the size before anything is decompressed.

use crate::{Error, Limits, orientation::Orientation, picture::Color, resize::Size, sniff::PNG_MAGIC};

/// Chunks that say how colours are meant; they are kept as they are.
const COLOR_CHUNKS: [[u8; 4]; 7] = [*b"cICP", *b"iCCP", *b"sRGB", *b"gAMA", *b"cHRM", *b"mDCV", *b"cLLI"];

/// What a PNG says of itself outside of its pixels.
#[derive(Debug)]
pub(super) struct Structure<'a> {
    /// Width and height as stored.
    pub(super) size: Size,
    pub(super) animated: bool,
    pub(super) orientation: Orientation,
    /// Name and content of the chunks that say how colours are meant.
    color: Vec<([u8; 4], &'a [u8])>,
    /// Whether samples have 16 bits.
    pub(super) deep: bool,
}

impl<'a> Structure<'a> {
    /// Walks all chunks up to the end of the image.
    pub(super) fn read(source: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let mut chunks = Chunks { rest: source.get(PNG_MAGIC.len()..).unwrap_or_default() };
        let (name, header) = chunks.next()?;
        let Some(&[w3, w2, w1, w0, h3, h2, h1, h0, depth, ..]) =
            header.first_chunk::<13>().filter(|_| name == *b"IHDR")
        else {
            return Err(Error::corrupt("the PNG header is broken"));
        };
        let (width, height) = (u32::from_be_bytes([w3, w2, w1, w0]), u32::from_be_bytes([h3, h2, h1, h0]));
        limits.check_dimensions(width, height)?;
        let mut structure = Self {
            size: Size { width, height },
            animated: false,
            orientation: Orientation::NORMAL,
            color: Vec::new(),
            deep: depth == 16,
        };
        let mut has_pixels = false;
        loop {
            let (name, content) = chunks.next()?;
            match &name {
                b"IEND" if has_pixels => return Ok(structure),
                b"IEND" => return Err(Error::truncated("the PNG has no image data")),
                b"IDAT" => has_pixels = true,
                b"acTL" => structure.animated = true,
                b"eXIf" => structure.orientation = Orientation::from_exif(content),
                _ if COLOR_CHUNKS.contains(&name) && !has_pixels => structure.keep(name, content)?,
                _ => {}
            }
        }
    }

    fn keep(&mut self, name: [u8; 4], content: &'a [u8]) -> Result<(), Error> {
        Limits::check_profile(content.len())?;
        if self.color.iter().all(|(kept, _)| *kept != name) {
            self.color.push((name, content));
        }
        Ok(())
    }

    /// Returns what says how colours are meant.
    pub(super) fn color(&self) -> Color {
        if self.color.is_empty() {
            return Color::Srgb;
        }
        Color::Chunks(self.color.iter().map(|(name, content)| (*name, content.to_vec())).collect())
    }
}

struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Chunks<'a> {
    fn next(&mut self) -> Result<([u8; 4], &'a [u8]), Error> {
        let cut = || Error::truncated("the PNG ends before its IEND chunk");
        let (&[l3, l2, l1, l0, name @ ..], rest) = self.rest.split_first_chunk::<8>().ok_or_else(cut)?;
        let length = u32::from_be_bytes([l3, l2, l1, l0]);
        if !name.iter().all(u8::is_ascii_alphabetic) || length > i32::MAX as u32 {
            return Err(Error::corrupt("a PNG chunk is broken"));
        }
        let (content, rest) = rest.split_at_checked(length as usize).ok_or_else(cut)?;
        // The checksum is the decoder's affair, but it has to be there.
        self.rest = rest.get(4..).ok_or_else(cut)?;
        Ok((name, content))
    }
}
