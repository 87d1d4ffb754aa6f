//! The EXIF orientation: read it, apply it to pixels, or write it back alone.
//!
//! Cameras store the picture as the sensor saw it and note how it was held. All metadata goes, so
//! the note has to be carried out, or kept as the only tag where the pixels stay as they are.

use crate::resize::Size;

/// How a stored picture is turned to be displayed: the EXIF tag 0x0112, 1 to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation(u8);

impl Orientation {
    pub(crate) const NORMAL: Self = Self(1);

    /// Reads the tag out of an EXIF block that starts with its TIFF header. Anything that is
    /// broken counts as absent, as it does for browsers.
    pub(crate) fn from_exif(exif: &[u8]) -> Self {
        find_tag(exif).map_or(Self::NORMAL, Self::from_tag)
    }

    /// Takes the tag's value; one that has no meaning counts as absent.
    pub(crate) fn from_tag(value: u8) -> Self {
        if (1..=8).contains(&value) { Self(value) } else { Self::NORMAL }
    }

    /// Returns what comes of turning a picture this way and then another.
    pub(crate) fn then(self, next: Self) -> Self {
        // Whether sides are swapped, and whether columns and rows of the source run backwards.
        const TAGS: [(bool, bool, bool); 8] = [
            (false, false, false),
            (false, true, false),
            (false, true, true),
            (false, false, true),
            (true, false, false),
            (true, false, true),
            (true, true, true),
            (true, true, false),
        ];
        let (swapped, columns, rows) = TAGS[usize::from(self.0 - 1)];
        let (next_swapped, next_columns, next_rows) = TAGS[usize::from(next.0 - 1)];
        let (next_columns, next_rows) = if swapped { (next_rows, next_columns) } else { (next_columns, next_rows) };
        let both = (swapped != next_swapped, columns != next_columns, rows != next_rows);
        Self(TAGS.iter().position(|tag| *tag == both).map_or(1, |at| at as u8 + 1))
    }

    /// Returns an EXIF block that holds nothing but this orientation.
    pub(crate) fn to_exif(self) -> Vec<u8> {
        let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
        exif.extend([0, self.0, 0, 0, 0, 0, 0, 0]);
        exif
    }

    /// Returns width and height as displayed.
    pub(crate) fn displayed(self, width: u32, height: u32) -> (u32, u32) {
        if self.0 >= 5 { (height, width) } else { (width, height) }
    }

    /// Returns the same as a [`Size`]; as the turn of sides is its own inverse, also the stored
    /// size of a displayed one.
    pub(crate) fn displayed_size(self, size: Size) -> Size {
        let (width, height) = self.displayed(size.width, size.height);
        Size { width, height }
    }

    /// Returns the pixels as displayed; `size` is the width of one pixel in bytes.
    pub(crate) fn apply(self, pixels: Vec<u8>, width: u32, height: u32, size: usize) -> Vec<u8> {
        match size {
            _ if self == Self::NORMAL => pixels,
            1 => self.turn::<1>(&pixels, width, height),
            2 => self.turn::<2>(&pixels, width, height),
            3 => self.turn::<3>(&pixels, width, height),
            4 => self.turn::<4>(&pixels, width, height),
            6 => self.turn::<6>(&pixels, width, height),
            8 => self.turn::<8>(&pixels, width, height),
            _ => pixels,
        }
    }

    fn turn<const SIZE: usize>(self, pixels: &[u8], width: u32, height: u32) -> Vec<u8> {
        let (width, height) = (width as usize, height as usize);
        let (source, _) = pixels.as_chunks::<SIZE>();
        let mut turned = Vec::with_capacity(pixels.len());
        let (columns, rows) = if self.0 >= 5 { (height, width) } else { (width, height) };
        for row in 0..rows {
            for column in 0..columns {
                let (x, y) = match self.0 {
                    2 => (width - 1 - column, row),
                    3 => (width - 1 - column, height - 1 - row),
                    4 => (column, height - 1 - row),
                    5 => (row, column),
                    6 => (row, height - 1 - column),
                    7 => (width - 1 - row, height - 1 - column),
                    8 => (width - 1 - row, column),
                    _ => (column, row),
                };
                turned.extend_from_slice(&source[y * width + x]);
            }
        }
        turned
    }
}

fn find_tag(exif: &[u8]) -> Option<u8> {
    let little = match exif.get(..4)? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes: [u8; 2] = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let (first, second) = (u32::from(short(at)?), u32::from(short(at + 2)?));
        Some(if little { second << 16 | first } else { first << 16 | second })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    (0..entries).map(|index| directory + 2 + 12 * index).find_map(|entry| {
        let found = short(entry)? == 0x0112 && short(entry + 2)? == 3 && long(entry + 4)? == 1;
        if found { u8::try_from(short(entry + 8)?).ok() } else { None }
    })
}
