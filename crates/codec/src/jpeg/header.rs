//! What a JPEG says of itself: size, components, tables, orientation, profile.
//!
//! Also rewrites the file without metadata. The decoder reads only that rewritten stream, so no
//! foreign EXIF, XMP or multi-picture block reaches its parsers, and the same stream is what gets
//! stored when the quality is already low enough.

use super::segment::{APP0, APP1, APP2, APP14, DHT, DQT, DRI, EOI, SOI, SOS, Segment, Segments};
use crate::{Error, Limits, orientation::Orientation};

const ICC_MARK: &[u8] = b"ICC_PROFILE\0";

/// One colour component of the frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    pub(super) id: u8,
    pub(super) horizontal: u8,
    pub(super) vertical: u8,
    pub(super) table: u8,
}

/// The frame header.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: Vec<Component>,
}

impl Frame {
    /// Returns whether the decoder is known to read this kind of frame right. It fails, or silently
    /// yields other pixels, where a sequential frame has several scans or where the first component
    /// is not the finest.
    fn is_common(&self, scans: u64) -> bool {
        let (first, others) = match self.components.split_first() {
            Some((first, others)) => (*first, others),
            None => return false,
        };
        let coarser = |part: &Component| {
            first.horizontal.is_multiple_of(part.horizontal) && first.vertical.is_multiple_of(part.vertical)
        };
        (self.progressive || scans == 1) && first.horizontal.is_power_of_two() && others.iter().all(coarser)
    }
}

/// A file without its metadata.
#[derive(Debug)]
pub(super) struct Clean {
    pub(super) bytes: Vec<u8>,
    /// Whether its pixels can be had.
    pub(super) decodable: bool,
}

/// How Adobe's segment says four or three components are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    /// RGB or CMYK, as they are.
    None,
    /// YCbCr, or YCCK: YCbCr of the first three.
    Ycc,
}

/// All that stands before the first scan.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) frame: Frame,
    pub(super) orientation: Orientation,
    /// The colour profile, put together from its segments.
    pub(super) icc: Option<Vec<u8>>,
    /// What the Adobe segment says, if there is one.
    pub(super) adobe: Option<Transform>,
    /// The start of the JFIF segment, if there is one.
    pub(super) jfif: Option<[u8; 14]>,
    /// Quantization tables in zigzag order.
    tables: [Option<[u16; 64]>; 4],
}

impl Header {
    /// Reads up to the first scan.
    pub(super) fn read(source: &[u8]) -> Result<Self, Error> {
        let mut segments = Segments::new(source);
        let (mut frame, mut orientation, mut adobe, mut jfif) = (None, Orientation::NORMAL, None, None);
        let mut tables = [None; 4];
        let mut profile = Vec::new();
        loop {
            let Segment { marker, body } = segments.next()?;
            match marker {
                DHT | 0xc8 | 0xcc => {}
                0xc0..=0xcf if frame.is_some() => {
                    return Err(Error::corrupt("there are two frame headers"));
                }
                0xc0..=0xcf => frame = Some(read_frame(marker, body)?),
                DQT => read_tables(body, &mut tables)?,
                APP0 if body.starts_with(b"JFIF\0") => jfif = body.first_chunk().copied(),
                APP1 => {
                    if let Some(exif) = body.strip_prefix(b"Exif\0\0") {
                        orientation = Orientation::from_exif(exif);
                    }
                }
                APP2 => profile.extend(body.strip_prefix(ICC_MARK)),
                APP14 if body.starts_with(b"Adobe") => {
                    adobe = match body.get(11) {
                        Some(0) => Some(Transform::None),
                        Some(1 | 2) => Some(Transform::Ycc),
                        _ => None,
                    };
                }
                SOS => {
                    let frame = frame.ok_or_else(|| Error::corrupt("no frame header"))?;
                    let icc = join_profile(profile, frame.components.len());
                    return Ok(Self { frame, orientation, icc, adobe, jfif, tables });
                }
                EOI => return Err(Error::corrupt("there is no scan")),
                _ => {}
            }
        }
    }

    /// Returns the quantization table of the first component, in zigzag order.
    pub(super) fn luminance(&self) -> Result<&[u16; 64], Error> {
        let index = self.frame.components.first().map_or(0, |component| component.table);
        let table = self.tables.get(usize::from(index)).and_then(Option::as_ref);
        table.ok_or_else(|| Error::corrupt(format!("quantization table {index} is missing")))
    }

    /// Walks the scans to the end of the image and returns the file without its metadata.
    pub(super) fn read_scans(&self, source: &[u8]) -> Result<Clean, Error> {
        let mut bytes = Vec::with_capacity(source.len());
        self.write_metadata(&mut bytes);
        let mut segments = Segments::new(source);
        let mut seen = vec![false; self.frame.components.len()];
        let mut scans = 0;
        loop {
            let Segment { marker, body } = segments.next()?;
            match marker {
                EOI => break,
                SOS => {
                    scans += 1;
                    Limits::check_scans(scans)?;
                    self.note_scan(body, &mut seen)?;
                    push(&mut bytes, marker, &[body]);
                    bytes.extend_from_slice(segments.entropy()?);
                }
                0xc0..=0xc2 if scans > 0 => return Err(Error::corrupt("there are two frame headers")),
                DQT | DHT | DRI | 0xc0..=0xc2 => push(&mut bytes, marker, &[body]),
                APP0..=0xef | 0xfe => {}
                other => return Err(Error::corrupt(format!("unexpected marker 0xff{other:02x}"))),
            }
        }
        if seen.contains(&false) {
            return Err(Error::truncated("a colour component has no scan"));
        }
        bytes.extend([0xff, EOI]);
        Ok(Clean { bytes, decodable: self.frame.is_common(scans) })
    }

    /// Marks the components whose first coefficients the scan with header `body` holds.
    fn note_scan(&self, body: &[u8], seen: &mut [bool]) -> Result<(), Error> {
        let broken = || Error::corrupt("a scan header is broken");
        let (&count, rest) = body.split_first().ok_or_else(broken)?;
        let ids = rest.get(..2 * usize::from(count)).ok_or_else(broken)?;
        let first = *rest.get(2 * usize::from(count)).ok_or_else(broken)?;
        for id in ids.iter().step_by(2) {
            let position = self.frame.components.iter().position(|component| component.id == *id);
            seen[position.ok_or_else(broken)?] |= first == 0;
        }
        Ok(())
    }

    /// Writes the start of a file: what is kept of the segments before the frame.
    pub(super) fn write_metadata(&self, clean: &mut Vec<u8>) {
        clean.extend([0xff, SOI]);
        let components = self.frame.components.len();
        if let Some(mut jfif) = self.jfif {
            // The last two bytes are the size of the thumbnail, which goes.
            jfif[12..].fill(0);
            push(clean, APP0, &[&jfif]);
        }
        if self.orientation != Orientation::NORMAL {
            push(clean, APP1, &[b"Exif\0\0", &self.orientation.to_exif()]);
        }
        if components < 4
            && let Some(icc) = &self.icc
        {
            // At most 255 parts: they came out of as many segments of the same size.
            let parts = icc.chunks(65_519);
            let count = parts.len() as u8;
            for (number, part) in (1..).zip(parts) {
                push(clean, APP2, &[ICC_MARK, &[number, count], part]);
            }
        }
        let transform = match (components, self.adobe) {
            // Passed through by the decoder as they are, and converted afterwards.
            (4, _) => Some(Transform::None),
            // JFIF promises YCbCr and wins over Adobe.
            (3, adobe) if self.jfif.is_none() => adobe,
            _ => None,
        };
        if let Some(transform) = transform {
            push(clean, APP14, &[b"Adobe\0\x64\0\0\0\0", &[u8::from(transform == Transform::Ycc)]]);
        }
    }
}

fn push(stream: &mut Vec<u8>, marker: u8, parts: &[&[u8]]) {
    // A segment that was read, or is built here, is shorter than 65,534 bytes.
    let length = parts.iter().map(|part| part.len()).sum::<usize>() as u16 + 2;
    stream.extend([0xff, marker]);
    stream.extend(length.to_be_bytes());
    for part in parts {
        stream.extend_from_slice(part);
    }
}

fn read_frame(marker: u8, body: &[u8]) -> Result<Frame, Error> {
    let unsupported = |variant: &str| Err(Error::unsupported(format!("JPEG, {variant}")));
    match marker {
        0xc0..=0xc2 => {}
        0xc3 => return unsupported("lossless"),
        0xc5..=0xc7 | 0xcd..=0xcf => return unsupported("hierarchical"),
        _ => return unsupported("arithmetic coding"),
    }
    let broken = || Error::corrupt("the frame header is broken");
    let (&[precision, h1, h0, w1, w0, count], rest) = body.split_first_chunk::<6>().ok_or_else(broken)?;
    if precision != 8 {
        return unsupported(&format!("{precision} bits a sample"));
    }
    if !matches!(count, 1 | 3 | 4) {
        return unsupported(&format!("{count} colour components"));
    }
    let (parts, _) = rest.as_chunks::<3>();
    let parts = parts.iter().take(usize::from(count));
    let components: Vec<_> = parts
        .map(|&[id, factors, table]| Component { id, horizontal: factors >> 4, vertical: factors & 15, table })
        .collect();
    let valid = |part: &Component| (1..=4).contains(&part.horizontal) && (1..=4).contains(&part.vertical);
    if components.len() != usize::from(count) || !components.iter().all(valid) {
        return Err(broken());
    }
    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
    if height == 0 && width > 0 {
        return unsupported("its height given behind the first scan");
    }
    let progressive = marker == 0xc2;
    Ok(Frame { progressive, width: u32::from(width), height: u32::from(height), components })
}

pub(super) fn read_tables(mut body: &[u8], tables: &mut [Option<[u16; 64]>; 4]) -> Result<(), Error> {
    let broken = || Error::corrupt("a quantization table is broken");
    while let Some((&head, rest)) = body.split_first() {
        let size = if head >> 4 == 0 { 64 } else { 128 };
        let (values, rest) = rest.split_at_checked(size).ok_or_else(broken)?;
        let mut steps = [0; 64];
        if size == 64 {
            steps.iter_mut().zip(values).for_each(|(step, &value)| *step = u16::from(value));
        } else {
            let (pairs, _) = values.as_chunks::<2>();
            steps.iter_mut().zip(pairs).for_each(|(step, pair)| *step = u16::from_be_bytes(*pair));
        }
        *tables.get_mut(usize::from(head & 15)).ok_or_else(broken)? = Some(steps);
        body = rest;
    }
    Ok(())
}

/// Puts the profile together; one that is incomplete or made for other colours is dropped.
fn join_profile(mut parts: Vec<&[u8]>, components: usize) -> Option<Vec<u8>> {
    parts.sort_by_key(|part| part.first().copied());
    let numbered = parts.iter().zip(1_usize..).all(|(part, number)| {
        part.first().map(|&at| usize::from(at)) == Some(number)
            && part.get(1).map(|&count| usize::from(count)) == Some(parts.len())
    });
    let space: &[u8] = match components {
        1 => b"GRAY",
        3 => b"RGB ",
        _ => b"CMYK",
    };
    let profile: Vec<u8> = parts.iter().flat_map(|part| part.iter().skip(2)).copied().collect();
    (numbered && profile.get(16..20) == Some(space)).then_some(profile)
}
