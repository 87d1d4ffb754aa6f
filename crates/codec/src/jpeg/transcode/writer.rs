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

    /// Writes the lowest `width` bits, at most 32; those above are zero.
    #[inline(always)]
    pub(super) fn put(&mut self, bits: u32, width: u32) {
        self.reservoir = self.reservoir << width | u64::from(bits);
        self.count += width;
        if self.count >= 32 {
            self.count -= 32;
            self.word((self.reservoir >> self.count) as u32);
        }
    }

    #[inline(always)]
    fn word(&mut self, word: u32) {
        let flipped = !word;
        if flipped.wrapping_sub(0x0101_0101) & word & 0x8080_8080 == 0 {
            self.bytes.extend_from_slice(&word.to_be_bytes());
        } else {
            self.stuffed(word);
        }
    }

    /// Writes four bytes of which at least one is 0xff.
    #[cold]
    fn stuffed(&mut self, word: u32) {
        for byte in word.to_be_bytes() {
            self.bytes.push(byte);
            if byte == 0xff {
                self.bytes.push(0);
            }
        }
    }

    /// Fills the last byte with ones.
    pub(super) fn align(&mut self) {
        let fill = (8 - self.count % 8) % 8;
        self.put((1 << fill) - 1, fill);
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
