//! JPEG to JPEG without leaving the DCT.
mod bits;
mod block;
mod code;
mod huffman;
mod lane;
mod layout;
mod output;
mod plain;
mod scan;
mod sequential;
mod shrink;
mod step;
mod store;
mod tokens;
mod writer;
mod zigzag;

use lane::Lanes;
use layout::Layout;
use plain::{Plain, PlainRow};
use pulp::Arch;
use scan::Walk;
use sequential::{Sequential, SequentialRow};
use step::{HALF, Steps};
use writer::Writer;

use super::header::Header;
use crate::{Error, Limits, quality};

/// Transcodes.
pub(super) fn transcode(header: &Header, source: &[u8], quality: u8, limits: &Limits) -> Result<Vec<u8>, Error> {
    let frame = &header.frame;
    let source_layout = Layout::source(frame);
    let (layout, shrink) = layout::result(frame, &source_layout, quality < 90)?;
    let mut walk = Walk::new(source, frame.components.len());
    let scan = walk.next_scan(frame)?.ok_or_else(|| Error::truncated("no scan"))?;
    let arch = Arch::new();
    let old = walk.steps()?;
    let steps: Vec<_> =
        old.iter().enumerate().map(|(index, old)| Steps::new(*old, quality::table(quality, index > 0))).collect();
    let mut lanes = Lanes::new(&source_layout, &layout, shrink, &steps, [HALF as i16 + 1; 64]);
    let mut plain = Plain::new(layout.planes.len());
    let merged = lanes.merged();
    let mut sequential = Sequential::new(&walk, &scan, &source_layout)?;
    for row in 0..layout.mcu_rows {
        for source_row in (row * merged..source_layout.mcu_rows).take(merged) {
            lanes.begin(source_row);
            let columns = source_layout.mcu_columns;
            arch.dispatch(SequentialRow { scan: &mut sequential, lanes: &mut lanes, columns })?;
        }
        arch.dispatch(PlainRow { plain: &mut plain, layout: &layout, lanes: &mut lanes, row });
        limits.check_alloc(plain.tokens.memory())?;
    }
    sequential.finish()?;
    let mut start = Vec::with_capacity(source.len() / 2);
    header.write_metadata(&mut start);
    let mut writer = Writer::new(start);
    output::sequential(&mut writer, frame, &layout, &steps, &plain.tokens);
    Ok(writer.bytes)
}
