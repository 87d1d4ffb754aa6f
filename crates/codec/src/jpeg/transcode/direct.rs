//! Requantizes and codes at once, where the result has the source's layout and is sequential.
//!
//! Blocks need not wait for the rest of their row then. They wait for one MCU only, so that neither
//! the next one's decoding depends on a value just written, nor the blocks leave the fastest cache.

use super::{
    block::{Block, rescale},
    layout::Plane,
    plain::coefficients,
    step::Scale,
    tokens::Sink,
};

/// What takes the decoded blocks.
pub(super) trait Target {
    /// Whether the blocks of `component` are wanted in natural order.
    fn wants_natural(&self, component: usize) -> bool;

    /// Takes a block in zigzag order, at column `x` and row `y` of the present MCU row. Its first
    /// coefficient is given apart.
    fn put(&mut self, component: usize, x: usize, y: usize, block: &Block, dc: i32);

    /// Takes a block in natural order.
    fn put_natural(&mut self, component: usize, x: usize, y: usize, block: &Block, dc: i32);

    /// Ends an MCU.
    fn unit(&mut self);
}

/// A block that waits for being coded.
#[derive(Debug, Clone, Copy)]
struct Slot {
    component: usize,
    scaled: Block,
    mask: u64,
    /// The DC coefficient; none for a block that only fills up and repeats the one before.
    dc: Option<i16>,
}

const EMPTY: Slot = Slot { component: 0, scaled: [0; 64], mask: 0, dc: None };

/// Codes one row of MCUs.
pub(super) struct Direct<'a> {
    planes: &'a [Plane],
    scales: &'a [Scale],
    row: usize,
    sink: Sink<'a>,
    before: &'a mut [i32],
    /// The present MCU and the one before, and how many blocks each has.
    slots: [[Slot; 10]; 2],
    filled: [usize; 2],
    present: usize,
}

impl<'a> Direct<'a> {
    #[inline(always)]
    pub(super) fn new(
        planes: &'a [Plane],
        scales: &'a [Scale],
        row: usize,
        sink: Sink<'a>,
        before: &'a mut [i32],
    ) -> Self {
        Self { planes, scales, row, sink, before, slots: [[EMPTY; 10]; 2], filled: [0; 2], present: 0 }
    }

    #[inline(always)]
    fn code(&mut self, which: usize) {
        let filled = self.filled[which];
        for slot in self.slots[which].iter().take(filled) {
            let table = 2 * slot.component.min(1);
            let before = &mut self.before[slot.component];
            let dc = slot.dc.map_or(*before, i32::from);
            self.sink.push_difference(table, dc - *before);
            *before = dc;
            coefficients(&mut self.sink, table + 1, slot.mask, &slot.scaled);
        }
        self.filled[which] = 0;
    }

    /// Codes what still waits.
    #[inline(always)]
    pub(super) fn end(mut self) {
        self.code(1 - self.present);
        self.code(self.present);
        self.sink.end();
    }
}

impl Target for Direct<'_> {
    #[inline(always)]
    fn wants_natural(&self, _: usize) -> bool {
        false
    }

    #[inline(always)]
    fn put(&mut self, component: usize, x: usize, y: usize, block: &Block, dc: i32) {
        let filled = self.filled[self.present];
        let Some(slot) = self.slots[self.present].get_mut(filled) else { return };
        self.filled[self.present] = filled + 1;
        slot.component = component;
        let plane = &self.planes[component];
        if x < plane.columns && self.row * plane.vertical + y < plane.rows {
            let scale = &self.scales[component];
            slot.mask = rescale(block, scale, &mut slot.scaled);
            slot.dc = Some(scale.dc(dc));
        } else {
            (slot.mask, slot.dc) = (0, None);
        }
    }

    #[inline(always)]
    fn put_natural(&mut self, _: usize, _: usize, _: usize, _: &Block, _: i32) {}

    #[inline(always)]
    fn unit(&mut self) {
        self.present = 1 - self.present;
        self.code(self.present);
    }
}
