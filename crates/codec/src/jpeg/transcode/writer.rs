//! Writes marker segments and bits.

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    /// The last `count` bits, below 8, are still to be written.
    reservoir: u64,
    count: u32,
}

impl Writer {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, reservoir: 0, count: 0 }
    }

    /// Writes a marker segment; `body` is shorter than 65,534 bytes.
    pub(super) fn segment(&mut self, marker: u8, body: &[u8]) {
        self.bytes.extend([0xff, marker]);
        self.bytes.extend((body.len() as u16 + 2).to_be_bytes());
        self.bytes.extend_from_slice(body);
    }

    /// Writes pairs of values of at most 28 bits, each with its number of bits; `count` at most.
    #[inline]
    pub(super) fn put_pairs(&mut self, pairs: impl Iterator<Item = ((u32, u32), (u32, u32))>, count: usize) {
        let start = self.bytes.len();
        // Each byte may need one more behind it, and eight are written where fewer count.
        self.bytes.resize(start + 14 * count + 16, 0);
        let (mut reservoir, mut left, mut at) = (self.reservoir, self.count, start);
        for ((first, first_width), (second, second_width)) in pairs {
            let width = first_width + second_width;
            reservoir = reservoir << width | u64::from(first) << second_width | u64::from(second);
            left += width;
            // Up to 7 + 2 * 28 bits; what does not fill a byte stays.
            let word = (reservoir << 1) << (63 - left);
            let whole = left / 8;
            left %= 8;
            let unused = u64::MAX.checked_shr(8 * whole).unwrap_or(0);
            let flipped = !word | unused;
            if flipped.wrapping_sub(0x0101_0101_0101_0101) & !flipped & 0x8080_8080_8080_8080 == 0 {
                if let Some(to) = self.bytes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
                    *to = word.to_be_bytes();
                }
                at += whole as usize;
            } else {
                at = stuff(&mut self.bytes, at, word, whole as usize);
            }
        }
        self.bytes.truncate(at);
        (self.reservoir, self.count) = (reservoir, left);
    }

    /// Fills the last byte with ones.
    pub(super) fn align(&mut self) {
        let fill = (8 - self.count % 8) % 8;
        self.reservoir = self.reservoir << fill | ((1 << fill) - 1);
        self.count += fill;
        while self.count > 0 {
            self.count -= 8;
            let byte = (self.reservoir >> self.count) as u8;
            self.bytes.push(byte);
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
    }
}

/// Writes the first `count` bytes of `word`, at least one of which is 0xff; returns where the next
/// one goes.
#[cold]
fn stuff(bytes: &mut [u8], mut at: usize, word: u64, count: usize) -> usize {
    for byte in word.to_be_bytes().into_iter().take(count) {
        bytes[at] = byte;
        at += 1;
        if byte == 0xff {
            bytes[at] = 0;
            at += 1;
        }
    }
    at
}
