//! Writes marker segments and bits.

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
    /// The last `count` bits, below 32, are still to be written.
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

    /// Writes values of at most 32 bits, each with its number of bits; `count` at most.
    #[inline]
    pub(super) fn put_all(&mut self, values: impl Iterator<Item = (u32, u32)>, count: usize) {
        let start = self.bytes.len();
        // Each byte may need one more behind it.
        self.bytes.resize(start + 8 * count + 8, 0);
        let (mut reservoir, mut left, mut at) = (self.reservoir, self.count, start);
        for (bits, width) in values {
            reservoir = reservoir << width | u64::from(bits);
            left += width;
            if left >= 32 {
                left -= 32;
                let word = (reservoir >> left) as u32;
                if (!word).wrapping_sub(0x0101_0101) & word & 0x8080_8080 == 0 {
                    if let Some(to) = self.bytes[at..].first_chunk_mut() {
                        *to = word.to_be_bytes();
                    }
                    at += 4;
                } else {
                    at = stuff(&mut self.bytes, at, word);
                }
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

/// Writes four bytes of which at least one is 0xff; returns where the next one goes.
#[cold]
fn stuff(bytes: &mut [u8], mut at: usize, word: u32) -> usize {
    for byte in word.to_be_bytes() {
        bytes[at] = byte;
        at += if byte == 0xff { 2 } else { 1 };
    }
    at
}
