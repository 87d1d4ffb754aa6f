//! The header of a lossy picture (RFC 6386, section 9): its size, and the quality it was made at.
//!
//! Files do not say their quality; they carry the quantizer's indices it was turned into. libwebp,
//! which writes nearly all files, maps quality to an index by a fixed curve and then spreads the
//! indices of up to four segments around it, weighted by how many blocks each has. Both are undone.

use crate::resize::Size;

/// Returns width and height of a key frame.
pub(super) fn size(frame: &[u8]) -> Option<Size> {
    let &[tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = frame.first_chunk()? else { return None };
    // The upper two bits ask for scaling, which no decoder does. Inter frames have no place here.
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    (tag & 1 == 0).then(|| Size { width: side(w0, w1), height: side(h0, h1) })
}

/// Estimates the quality of a key frame on libwebp's scale, 1 to 100. A header that ends early
/// counts as zeros, which is the finest quantizer.
pub(super) fn quality(frame: &[u8]) -> u8 {
    let mut bits = BoolDecoder::new(frame.get(10..).unwrap_or_default());
    // Colour space and clamping.
    bits.literal(2);
    let segments = bits.segments();
    // Loop filter: kind, level and sharpness.
    bits.literal(10);
    if bits.flag() && bits.flag() {
        for _ in 0..8 {
            bits.optional(6);
        }
    }
    // Number of partitions.
    bits.literal(2);
    let base = bits.literal(7) as i32;
    let fineness = segments.iter().map(|segment| {
        let index = if segment.absolute { segment.quantizer } else { base + segment.quantizer };
        // Zero has no logarithm; the coarsest quantizer is quality 0 anyway.
        let fineness = 1.0 - f64::from(index.clamp(0, 127)) / 127.0;
        fineness.max(1e-3).ln() * segment.share
    });
    let cube = fineness.sum::<f64>().exp().powi(3);
    let quality = if cube < 0.5 { cube * 1.5 } else { f64::midpoint(cube, 1.0) };
    // Between 0 and 100.
    ((quality * 100.0).round() as u8).clamp(1, 100)
}

#[derive(Debug, Clone, Copy, Default)]
struct Segment {
    quantizer: i32,
    absolute: bool,
    /// Share of the blocks, 0 to 1.
    share: f64,
}

/// Reads flags of even odds, and numbers made of them.
struct BoolDecoder<'a> {
    bytes: &'a [u8],
    value: u32,
    range: u32,
    bits: u32,
}

impl<'a> BoolDecoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let at = |index: usize| u32::from(bytes.get(index).copied().unwrap_or_default());
        Self { bytes: bytes.get(2..).unwrap_or_default(), value: at(0) << 8 | at(1), range: 255, bits: 0 }
    }

    fn flag(&mut self) -> bool {
        let split = 1 + (((self.range - 1) * 128) >> 8);
        let set = self.value >= split << 8;
        if set {
            self.range -= split;
            self.value -= split << 8;
        } else {
            self.range = split;
        }
        while self.range < 128 {
            self.value <<= 1;
            self.range <<= 1;
            self.bits += 1;
            if self.bits == 8 {
                self.bits = 0;
                if let Some((&next, rest)) = self.bytes.split_first() {
                    self.value |= u32::from(next);
                    self.bytes = rest;
                }
            }
        }
        set
    }

    fn literal(&mut self, count: u32) -> u32 {
        (0..count).fold(0, |value, _| value << 1 | u32::from(self.flag()))
    }

    /// Reads a number with its sign behind a flag that says whether it is there.
    fn optional(&mut self, count: u32) -> i32 {
        if !self.flag() {
            return 0;
        }
        let value = self.literal(count) as i32;
        if self.flag() { -value } else { value }
    }

    fn segments(&mut self) -> Vec<Segment> {
        if !self.flag() {
            return vec![Segment { share: 1.0, ..Segment::default() }];
        }
        let mut segments = vec![Segment { share: 0.25, ..Segment::default() }; 4];
        let (has_map, has_values) = (self.flag(), self.flag());
        if has_values {
            let absolute = self.flag();
            for segment in &mut segments {
                segment.quantizer = self.optional(7);
                segment.absolute = absolute;
            }
            for _ in 0..4 {
                self.optional(6);
            }
        }
        if has_map {
            // Odds of a zero at the root of a tree of two levels, then in its two branches.
            let mut odds = || f64::from(if self.flag() { self.literal(8) } else { 255 }) / 255.0;
            let (root, left, right) = (odds(), odds(), odds());
            let shares = [root * left, root * (1.0 - left), (1.0 - root) * right, (1.0 - root) * (1.0 - right)];
            segments.iter_mut().zip(shares).for_each(|(segment, share)| segment.share = share);
        }
        segments
    }
}
