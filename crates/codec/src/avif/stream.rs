//! The headers of an AV1 stream (the specification of the AV1 bitstream, sections 5.5 and 5.9).
//!
//! They say what a decoder would allocate, and how coarsely the picture was quantized.

use super::bits::Bits;
use crate::{Error, resize::Size};

const SEQUENCE_HEADER: u8 = 1;
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;

/// What the headers of a picture's stream say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) sequence: Sequence,
    /// How many frames would be decoded.
    pub(super) frames: u64,
    /// That of the first frame; `None` if its header is of a rare kind.
    pub(super) quantizer: Option<Quantizer>,
}

/// How coarsely a frame was quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantizer {
    /// 0, which is without loss, to 255.
    pub(super) index: u8,
    /// Whether high frequencies have larger steps.
    pub(super) matrices: bool,
}

/// What holds for all frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    /// No frame is larger.
    pub(super) size: Size,
    /// 8, 10 or 12 bits a sample.
    pub(super) depth: u8,
    pub(super) grey: bool,
    /// Whether chroma has fewer samples than luma.
    pub(super) subsampled: bool,
    /// Primaries, transfer and matrix by ITU-T H.273; 2 is unspecified.
    pub(super) code_points: [u8; 3],
    pub(super) full_range: bool,
    /// What the frame header depends on; `None` where it is of a rare kind.
    frame: Option<FrameRules>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FrameRules {
    reduced: bool,
    /// 0 or 1 for all frames, 2 where each frame says it.
    screen_content: u32,
    integer_motion: u32,
    order_bits: u32,
    superres: bool,
    /// The side of a block in pixels, as a power of two: 6 or 7.
    block_shift: u32,
    size_bits: [u32; 2],
    /// Whether both chroma channels may have quantizers of their own.
    separate_chroma: bool,
}

/// Reads the headers of a stream; every one for the sequence must be the same.
pub(super) fn read(mut data: &[u8]) -> Result<Stream, Error> {
    let mut sequence: Option<Sequence> = None;
    let (mut frames, mut quantizer) = (0, None);
    while let Some((&header, rest)) = data.split_first() {
        let broken = || Error::corrupt("the AV1 stream is broken");
        // Only streams with sizes are allowed here.
        if header & 0x82 != 2 {
            return Err(broken());
        }
        let rest = rest.get(usize::from(header >> 2 & 1)..).ok_or_else(broken)?;
        let (length, rest) = leb128(rest).ok_or_else(broken)?;
        let unit = rest.get(..length).ok_or_else(|| Error::truncated("the AV1 stream ends early"))?;
        data = &rest[length..];
        match header >> 3 & 15 {
            SEQUENCE_HEADER => {
                let read = Sequence::read(&mut Bits::new(unit)).ok_or_else(broken)?;
                if sequence.is_some_and(|sequence| sequence != read) {
                    return Err(Error::corrupt("the AV1 stream changes its kind"));
                }
                sequence = Some(read);
            }
            FRAME_HEADER | FRAME => {
                let rules = sequence.and_then(|sequence| Some((sequence.size, sequence.frame?)));
                if let Some((size, rules)) = rules.filter(|_| frames == 0) {
                    let grey = sequence.is_some_and(|sequence| sequence.grey);
                    quantizer = rules.quantizer(size, grey, &mut Bits::new(unit));
                }
                frames += 1;
            }
            _ => {}
        }
    }
    let sequence = sequence.ok_or_else(|| Error::truncated("the AV1 stream has no header"))?;
    Ok(Stream { sequence, frames, quantizer })
}

/// Reads a number of at most 32 bits, seven of them a byte.
fn leb128(mut bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    for at in 0..8 {
        let (&byte, rest) = bytes.split_first()?;
        bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return u32::try_from(number).ok().map(|number| (number as usize, bytes));
        }
    }
    None
}

impl Sequence {
    fn read(bits: &mut Bits<'_>) -> Option<Self> {
        let profile = bits.take(3)?;
        bits.take(1)?;
        let reduced = bits.flag()?;
        let mut plain = true;
        if reduced {
            bits.take(5)?;
        } else {
            plain = operating_points(bits)?;
        }
        let size_bits = [bits.take(4)? + 1, bits.take(4)? + 1];
        let size = Size { width: bits.take(size_bits[0])? + 1, height: bits.take(size_bits[1])? + 1 };
        if !reduced && bits.flag()? {
            // Frames with numbers of their own.
            bits.take(7)?;
            plain = false;
        }
        let block_shift = 6 + bits.take(1)?;
        bits.take(2)?;
        let (mut screen_content, mut integer_motion, mut order_bits) = (2, 2, 0);
        if !reduced {
            bits.take(4)?;
            let ordered = bits.flag()?;
            if ordered {
                bits.take(2)?;
            }
            screen_content = if bits.flag()? { 2 } else { bits.take(1)? };
            if screen_content > 0 {
                integer_motion = if bits.flag()? { 2 } else { bits.take(1)? };
            }
            if ordered {
                order_bits = bits.take(3)? + 1;
            }
        }
        let superres = bits.flag()?;
        bits.take(2)?;
        let rules = FrameRules {
            reduced,
            screen_content,
            integer_motion,
            order_bits,
            superres,
            block_shift,
            size_bits,
            separate_chroma: false,
        };
        Self::read_color(bits, profile, size, plain.then_some(rules))
    }

    fn read_color(bits: &mut Bits<'_>, profile: u32, size: Size, frame: Option<FrameRules>) -> Option<Self> {
        let high = bits.flag()?;
        let depth = if profile == 2 && high && bits.flag()? {
            12
        } else if high {
            10
        } else {
            8
        };
        let grey = profile != 1 && bits.flag()?;
        let mut code_points = [2; 3];
        if bits.flag()? {
            for point in &mut code_points {
                *point = bits.take(8)? as u8;
            }
        }
        // sRGB as it is has the full range and no subsampling.
        let plain = !grey && code_points == [1, 13, 0];
        let full_range = plain || bits.flag()?;
        let (mut subsampled, mut halved) = (false, false);
        if !grey && !plain {
            subsampled = match profile {
                0 => true,
                1 => false,
                _ => depth < 12 || bits.flag()?,
            };
            halved = profile == 0 || depth == 12 && subsampled && bits.flag()?;
        }
        if halved {
            bits.take(2)?;
        }
        let separate_chroma = !grey && bits.flag()?;
        let frame = frame.map(|frame| FrameRules { separate_chroma, ..frame });
        Some(Self { size, depth, grey, subsampled, code_points, full_range, frame })
    }
}

/// Reads timing and operating points; returns whether frame headers are without timing.
fn operating_points(bits: &mut Bits<'_>) -> Option<bool> {
    let mut decoder_model = None;
    let timed = bits.flag()?;
    if timed {
        bits.take(32)?;
        bits.take(32)?;
        if bits.flag()? {
            // A number in Golomb's code.
            let zeros = (0..32).take_while(|_| bits.take(1) == Some(0)).count() as u32;
            bits.take(zeros.min(31))?;
        }
        if bits.flag()? {
            decoder_model = Some(bits.take(5)? + 1);
            bits.take(32)?;
            bits.take(10)?;
        }
    }
    let display_delays = bits.flag()?;
    for _ in 0..=bits.take(5)? {
        bits.take(12)?;
        if bits.take(5)? > 7 {
            bits.take(1)?;
        }
        if let Some(length) = decoder_model
            && bits.flag()?
        {
            bits.take(length)?;
            bits.take(length)?;
            bits.take(1)?;
        }
        if display_delays && bits.flag()? {
            bits.take(4)?;
        }
    }
    Some(decoder_model.is_none())
}

impl FrameRules {
    /// Reads the header of a key frame up to its quantizer.
    fn quantizer(&self, size: Size, grey: bool, bits: &mut Bits<'_>) -> Option<Quantizer> {
        let mut size = size;
        if !self.reduced {
            // Shown before; another kind than a key frame; not shown.
            if bits.flag()? || bits.take(2)? != 0 || !bits.flag()? {
                return None;
            }
        }
        let no_update = bits.flag()?;
        let screen_content = if self.screen_content == 2 { bits.take(1)? } else { self.screen_content };
        if screen_content > 0 && self.integer_motion == 2 {
            bits.take(1)?;
        }
        let other_size = !self.reduced && bits.flag()?;
        bits.take(self.order_bits)?;
        if other_size {
            size = Size { width: bits.take(self.size_bits[0])? + 1, height: bits.take(self.size_bits[1])? + 1 };
        }
        if self.superres && bits.flag()? {
            return None;
        }
        // Another size to be shown at.
        if bits.flag()? {
            bits.take(32)?;
        }
        if screen_content > 0 {
            bits.take(1)?;
        }
        if !self.reduced && !no_update {
            bits.take(1)?;
        }
        self.skip_tiles(size, bits)?;
        let index = bits.take(8)? as u8;
        // Differences of the other quantizers: DC of luma, then DC and AC of chroma.
        let difference = |bits: &mut Bits<'_>| {
            let coded = bits.flag()?;
            bits.take(if coded { 7 } else { 0 })
        };
        difference(bits)?;
        if !grey {
            let different = self.separate_chroma && bits.flag()?;
            for _ in 0..if different { 4 } else { 2 } {
                difference(bits)?;
            }
        }
        Some(Quantizer { index, matrices: bits.flag()? })
    }

    /// Reads how the frame is cut into tiles, where that is uniform.
    fn skip_tiles(&self, size: Size, bits: &mut Bits<'_>) -> Option<()> {
        let shift = self.block_shift;
        let blocks = |side: u32| side.next_multiple_of(8).div_ceil(1 << shift);
        let (columns, rows) = (blocks(size.width), blocks(size.height));
        let logarithm = |count: u32, target: u32| (0..32).find(|log| count << log >= target).unwrap_or(0);
        let max_width = 4096 >> shift;
        let max_area = (4096 * 2304) >> (2 * shift);
        let least_columns = logarithm(max_width, columns);
        let least_tiles = logarithm(max_area, columns * rows).max(least_columns);
        if !bits.flag()? {
            return None;
        }
        let mut steps = |least: u32, most: u32| {
            let mut log = least;
            while log < most && bits.flag()? {
                log += 1;
            }
            Some(log)
        };
        let column_log = steps(least_columns, logarithm(1, columns.min(64)))?;
        let row_log = steps(least_tiles.saturating_sub(column_log), logarithm(1, rows.min(64)))?;
        if column_log + row_log > 0 {
            bits.take(column_log + row_log + 2)?;
        }
        Some(())
    }
}
