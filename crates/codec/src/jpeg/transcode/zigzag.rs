//! The order in which coefficients are coded.

/// For each place in zigzag order, the place in natural order: row times eight plus column.
pub(super) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

/// The same for places a decoder can reach on broken input; those beyond the block lie behind it.
pub(super) const ZIGZAG_LONG: [u8; 128] = {
    let mut long = [64; 128];
    let mut at = 0;
    while at < 64 {
        long[at] = ZIGZAG[at];
        at += 1;
    }
    long
};

/// For each place in natural order, the place in zigzag order.
pub(super) const NATURAL: [u8; 64] = {
    let mut natural = [0; 64];
    let mut at = 0;
    while at < 64 {
        natural[ZIGZAG[at] as usize] = at as u8;
        at += 1;
    }
    natural
};
