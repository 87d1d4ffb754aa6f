//! Where the blocks of each component lie, in the source and in the result.

use std::ops::Range;

use super::super::header::Frame;

/// The blocks of one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plane {
    /// Sampling factors, also the blocks of one minimum coded unit (MCU).
    pub(super) horizontal: usize,
    pub(super) vertical: usize,
    /// Blocks that show anything of the picture.
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Blocks a row of MCUs has, with those that only fill it up.
    pub(super) padded_columns: usize,
}

impl Plane {
    /// Returns the most symbols a row of MCUs can have here.
    pub(super) fn row_symbols(&self) -> usize {
        (64 * self.columns + 1) * self.vertical
    }

    /// Returns the places of the blocks of MCU row `row` that show anything, line by line.
    pub(super) fn visible(self, row: usize) -> impl Iterator<Item = Range<usize>> {
        let lines = self.vertical.min(self.rows.saturating_sub(row * self.vertical));
        (0..lines).map(move |y| y * self.padded_columns..y * self.padded_columns + self.columns)
    }
}

/// The blocks of a whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) planes: Vec<Plane>,
    pub(super) mcu_columns: usize,
    pub(super) mcu_rows: usize,
}

impl Layout {
    /// Lays out a picture whose components have the given sampling factors.
    pub(super) fn new(width: u32, height: u32, factors: &[(usize, usize)]) -> Self {
        let (width, height) = (width as usize, height as usize);
        let widest = factors.iter().map(|factor| factor.0).max().unwrap_or(1);
        let tallest = factors.iter().map(|factor| factor.1).max().unwrap_or(1);
        let mcu_columns = width.div_ceil(8 * widest);
        let mcu_rows = height.div_ceil(8 * tallest);
        let planes = factors.iter().map(|&(horizontal, vertical)| Plane {
            horizontal,
            vertical,
            columns: (width * horizontal).div_ceil(widest).div_ceil(8),
            rows: (height * vertical).div_ceil(tallest).div_ceil(8),
            padded_columns: mcu_columns * horizontal,
        });
        Self { planes: planes.collect(), mcu_columns, mcu_rows }
    }

    /// Lays out the source. A single component is not interleaved, so its factors mean nothing.
    pub(super) fn source(frame: &Frame) -> Self {
        let parts = frame.components.iter();
        let factors: Vec<_> = match frame.components.len() {
            1 => vec![(1, 1)],
            _ => parts.map(|part| (usize::from(part.horizontal), usize::from(part.vertical))).collect(),
        };
        Self::new(frame.width, frame.height, &factors)
    }

    /// Returns how many blocks one MCU has.
    pub(super) fn mcu_blocks(&self) -> usize {
        self.planes.iter().map(|plane| plane.horizontal * plane.vertical).sum()
    }

    /// Returns the blocks of all planes, with those that only fill up MCUs.
    pub(super) fn blocks(&self) -> usize {
        self.mcu_blocks() * self.mcu_columns * self.mcu_rows
    }
}

/// How chroma shrinks on the way from the source to the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shrink {
    /// Halve the width.
    pub(super) across: bool,
    /// Halve the height.
    pub(super) down: bool,
    /// MCU rows of the source that make one of the result.
    pub(super) merged: usize,
}

/// Decides whether chroma is to become 4:2:0, and lays out the result.
///
/// Only where it has more samples: 4:4:4, 4:2:2 and 4:4:0. 4:1:1 has as few as 4:2:0 and stays, as
/// does what no camera writes.
pub(super) fn result(frame: &Frame, source: &Layout, small: bool) -> (Layout, Option<Shrink>) {
    if let (true, [luma, blue, red]) = (small, source.planes.as_slice()) {
        let same = (blue.horizontal, blue.vertical) == (red.horizontal, red.vertical);
        let across = luma.horizontal == blue.horizontal;
        let down = luma.vertical == blue.vertical;
        let fits_across = across || luma.horizontal == 2 * blue.horizontal;
        let fits_down = down || luma.vertical == 2 * blue.vertical;
        let merged = if luma.vertical == 1 { 2 } else { 1 };
        if same && (across || down) && fits_across && fits_down && luma.vertical * merged == 2 {
            let layout = Layout::new(frame.width, frame.height, &[(2, 2), (1, 1), (1, 1)]);
            return (layout, Some(Shrink { across, down, merged }));
        }
    }
    (source.clone(), None)
}
