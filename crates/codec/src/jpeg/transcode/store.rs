//! The coefficients of a whole picture, for files that code them in more than one scan.

use pulp::{Simd, WithSimd};

use super::{block::Block, direct::Target, lane::Lanes, layout::Layout, step::LARGEST, zigzag::ZIGZAG};

/// The blocks of all components, in zigzag order and in old steps.
#[derive(Debug)]
pub(super) struct Store {
    planes: Vec<Vec<Block>>,
    /// Which AC coefficients are not zero; only progressive scans keep that.
    nonzero: Vec<Vec<u64>>,
    columns: Vec<usize>,
}

impl Store {
    /// Allocates the blocks; [`memory`](Self::memory) says how much that takes.
    pub(super) fn new(layout: &Layout, progressive: bool) -> Self {
        let length = |plane: &super::layout::Plane| plane.padded_columns * plane.vertical * layout.mcu_rows;
        Self {
            planes: layout.planes.iter().map(|plane| vec![[0; 64]; length(plane)]).collect(),
            nonzero: layout.planes.iter().map(|plane| vec![0; if progressive { length(plane) } else { 0 }]).collect(),
            columns: layout.planes.iter().map(|plane| plane.padded_columns).collect(),
        }
    }

    /// Returns the bytes that [`new`](Self::new) allocates.
    pub(super) fn memory(layout: &Layout) -> u64 {
        layout.blocks() as u64 * (size_of::<Block>() + size_of::<u64>()) as u64
    }

    #[inline(always)]
    pub(super) fn block(&mut self, component: usize, x: usize, y: usize) -> &mut Block {
        let columns = self.columns[component];
        &mut self.planes[component][y * columns + x]
    }

    /// The first `columns` blocks of row `y`, and the masks of their AC coefficients that are not
    /// zero; for progressive scans.
    #[inline(always)]
    pub(super) fn row_mut(&mut self, component: usize, y: usize, columns: usize) -> (&mut [Block], &mut [u64]) {
        let from = y * self.columns[component];
        let range = from..from + columns;
        (&mut self.planes[component][range.clone()], &mut self.nonzero[component][range])
    }

    /// Hands MCU row `row` to `target`, one MCU after the other.
    #[inline(always)]
    pub(super) fn row(&self, layout: &Layout, row: usize, target: &mut impl Target) {
        for column in 0..layout.mcu_columns {
            for (component, plane) in layout.planes.iter().enumerate() {
                for (y, x) in (0..plane.vertical).flat_map(|y| (0..plane.horizontal).map(move |x| (y, x))) {
                    let x = column * plane.horizontal + x;
                    let at = (row * plane.vertical + y) * plane.padded_columns + x;
                    put(target, component, x, y, &self.planes[component][at]);
                }
            }
            target.unit();
        }
    }
}

/// Hands over one block, in the order wanted.
#[inline(always)]
fn put(target: &mut impl Target, component: usize, x: usize, y: usize, block: &Block) {
    let dc = i32::from(block[0]);
    if target.wants_natural(component) {
        let mut natural = [0; 64];
        for (value, at) in block.iter().zip(ZIGZAG) {
            // Only broken files exceed this.
            natural[usize::from(at)] = (*value).clamp(-LARGEST, LARGEST);
        }
        target.put_natural(component, x, y, &natural, dc);
    } else {
        target.put(component, x, y, block, dc);
    }
}

/// [`Store::row`], compiled for several CPUs.
pub(super) struct StoreRow<'a> {
    pub(super) store: &'a Store,
    pub(super) layout: &'a Layout,
    pub(super) row: usize,
    pub(super) lanes: &'a mut Lanes,
}

impl WithSimd for StoreRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.store.row(self.layout, self.row, self.lanes);
    }
}
