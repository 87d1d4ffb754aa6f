//! What is going to be coded: symbols with their extra bits, and how often each symbol occurs.
//!
//! Codes that fit the picture are known only when all of it has been seen. So the symbols are
//! noted first, four bytes each, and written in a second pass that does nothing else.

use super::{code::Codes, writer::Writer};

/// Symbols of one scan, for up to four tables.
#[derive(Debug)]
pub(super) struct Tokens {
    /// From the lowest bit: the extra bits (16), their number (4), the symbol (8), its table (2).
    list: Vec<u32>,
    /// Occurrences, by table and symbol.
    counts: Box<[u32; 1024]>,
}

impl Tokens {
    pub(super) fn new() -> Self {
        Self { list: Vec::new(), counts: Box::new([0; 1024]) }
    }

    /// Takes symbols, at most as many as `desk` has room for.
    #[inline(always)]
    pub(super) fn sink<'a>(&'a mut self, desk: &'a mut Desk) -> Sink<'a> {
        let Self { list, counts } = self;
        Sink { desk: &mut desk.0, at: 0, list, counts }
    }

    /// Returns the bytes taken once `more` symbols have been noted. Lists of this size grow by
    /// mapping their pages anew, so the old one does not count.
    pub(super) fn memory(&self, more: usize) -> u64 {
        let (now, wanted) = (self.list.capacity(), self.list.len() + more);
        let entries = if wanted > now { wanted.max(2 * now) } else { now };
        (entries * size_of::<u32>()) as u64
    }

    /// Occurrences of the symbols of `table`.
    pub(super) fn counts(&self, table: usize) -> &[u32] {
        &self.counts[table << 8..][..256]
    }

    /// Makes the best codes for what was noted; `None` for tables without symbols.
    pub(super) fn codes(&self) -> [Option<Codes>; 4] {
        std::array::from_fn(|table| Codes::new(self.counts(table)))
    }

    /// Writes all symbols.
    pub(super) fn write(&self, codes: &[Option<Codes>; 4], writer: &mut Writer) {
        let mut flat = Box::new([(0_u32, 0_u32); 1024]);
        for (table, codes) in codes.iter().enumerate() {
            if let Some(codes) = codes {
                flat[table << 8..][..256].copy_from_slice(&codes.by_symbol);
            }
        }
        for part in self.list.chunks(CHUNK) {
            let (pairs, rest) = part.as_chunks::<2>();
            writer
                .put_pairs(pairs.iter().map(|&[first, second]| (look(&flat, first), look(&flat, second))), pairs.len());
            writer.put_pairs(rest.iter().map(|&token| (look(&flat, token), (0, 0))), rest.len());
        }
    }
}

/// Returns the bits of a symbol and how many they are.
#[inline(always)]
fn look(codes: &[(u32, u32); 1024], token: u32) -> (u32, u32) {
    let (code, length) = codes[(token >> 20) as usize % 1024];
    let width = token >> 16 & 15;
    (code << width | (token & 0xffff), length + width)
}

/// Where the symbols of a row are noted, before they are added to their list. There is room for as
/// many as a row can have, so that noting one needs no look at a capacity; a list with as much room
/// would take several times the memory that its symbols need.
#[derive(Debug)]
pub(super) struct Desk(Vec<u32>);

impl Desk {
    /// Has room for `most` symbols.
    pub(super) fn new(most: usize) -> Self {
        Self(vec![0; most])
    }

    /// Returns the bytes taken.
    pub(super) fn memory(&self) -> u64 {
        size_of_val(self.0.as_slice()) as u64
    }
}

/// Takes symbols. A value of its own, so that it can live in registers; ends with [`end`](Self::end).
pub(super) struct Sink<'a> {
    desk: &'a mut [u32],
    at: usize,
    list: &'a mut Vec<u32>,
    counts: &'a mut [u32; 1024],
}

impl Sink<'_> {
    /// Notes `symbol` of `table` with `width` extra bits. Without room it is lost: see [`Desk`].
    #[inline(always)]
    pub(super) fn push(&mut self, table: usize, symbol: usize, width: u32, bits: u32) {
        let index = table << 8 | symbol;
        self.counts[index % 1024] += 1;
        if let Some(token) = self.desk.get_mut(self.at) {
            *token = (index as u32) << 20 | width << 16 | bits;
            self.at += 1;
        }
    }

    /// Notes the difference of two DC coefficients.
    #[inline(always)]
    pub(super) fn push_difference(&mut self, table: usize, difference: i32) {
        let size = 32 - difference.unsigned_abs().leading_zeros();
        self.push(table, size as usize, size, value_bits(difference, size));
    }

    #[inline(always)]
    pub(super) fn end(self) {
        self.list.extend_from_slice(&self.desk[..self.at]);
    }
}

/// Symbols written between two looks at the room there is.
const CHUNK: usize = 4096;

/// Returns the extra bits that stand for `value` of `size` bits.
#[inline(always)]
pub(super) fn value_bits(value: i32, size: u32) -> u32 {
    ((value + (value >> 31)) as u32) & ((1 << size) - 1)
}
