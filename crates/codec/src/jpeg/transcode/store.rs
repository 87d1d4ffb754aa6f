//! The coefficients of a whole picture, for files that code them in more than one scan.

use super::{block::Block, layout::Layout};

/// The blocks of all components, in zigzag order and in old steps.
#[derive(Debug)]
pub(super) struct Store {
    planes: Vec<Vec<Block>>,
    columns: Vec<usize>,
}

impl Store {
    /// Allocates the blocks; [`memory`](Self::memory) says how much that takes.
    pub(super) fn new(layout: &Layout) -> Self {
        let length = |plane: &super::layout::Plane| plane.padded_columns * plane.vertical * layout.mcu_rows;
        Self {
            planes: layout.planes.iter().map(|plane| vec![[0; 64]; length(plane)]).collect(),
            columns: layout.planes.iter().map(|plane| plane.padded_columns).collect(),
        }
    }

    /// Returns the bytes that [`new`](Self::new) allocates.
    pub(super) fn memory(layout: &Layout) -> u64 {
        layout.blocks() as u64 * size_of::<Block>() as u64
    }

    #[inline(always)]
    pub(super) fn block(&mut self, component: usize, x: usize, y: usize) -> &mut Block {
        let columns = self.columns[component];
        &mut self.planes[component][y * columns + x]
    }
}
