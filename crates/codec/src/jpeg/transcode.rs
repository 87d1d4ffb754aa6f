//! JPEG to JPEG without leaving the DCT.
mod bands;
mod bits;
mod block;
mod choose;
mod code;
mod huffman;
mod lane;
mod layout;
mod output;
mod plain;
mod progressive;
mod scan;
mod sequential;
mod shrink;
mod step;
mod store;
mod tokens;
mod writer;
mod zigzag;

use bands::{Bands, BandsRow};
use choose::Chooser;
use lane::Lanes;
use layout::Layout;
use plain::{Plain, PlainRow};
use progressive::{Progressive, ProgressiveAll};
use pulp::Arch;
use scan::Walk;
use sequential::{Sequential, SequentialAll, SequentialRow};
use step::{HALF, Steps};
use store::{Store, StoreRow};
use writer::Writer;

use super::header::{Frame, Header};
use crate::{Error, Limits, quality};

/// Where the source's coefficients come from.
enum Coefficients<'a> {
    /// The only scan, decoded row by row.
    Stream(Sequential<'a>),
    /// All scans, decoded before.
    Store(Store),
}

pub fn tune(name: &str, default: f32) -> f32 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Transcodes.
pub(super) fn transcode(
    header: &Header,
    source: &[u8],
    quality: u8,
    small: bool,
    limits: &Limits,
) -> Result<Vec<u8>, Error> {
    let frame = &header.frame;
    let source_layout = Layout::source(frame);
    let (layout, shrink) = layout::result(frame, &source_layout, quality < 90)?;
    let arch = Arch::new();
    let mut walk = Walk::new(source, frame.components.len());
    let mut coefficients = read(&mut walk, frame, &source_layout, arch, limits)?;
    let scale = if small { tune("SCALE", 1.0) } else { 1.0 };
    let steps = walk.steps()?.into_iter().enumerate();
    let steps: Vec<_> = steps
        .map(|(index, old)| {
            let mut t = quality::table(quality, index > 0);
            if small {
                for (i, s) in t.iter_mut().enumerate() {
                    let f = if index > 0 { tune("CSCALE", 1.0) } else { scale };
                    let e = if index > 0 { tune("CEXP", 1.0) } else { tune("EXP", 1.0) };
                    let _ = i;
                    let b = 16.0f32;
                    *s = (b * (f32::from(*s) / b).powf(e) * f).round().clamp(1.0, 255.0) as u16;
                }
            }
            Steps::new(old, t)
        })
        .collect();
    let mut lanes = Lanes::new(&source_layout, &layout, shrink, &steps, [HALF as i16 + 1; 64]);
    let mut plain = Plain::new(layout.planes.len());
    let mut bands = Bands::new(layout.planes.len(), Chooser { lambda: tune("LAMBDA", 0.1) });
    let merged = lanes.merged();
    for row in 0..layout.mcu_rows {
        for source_row in (row * merged..source_layout.mcu_rows).take(merged) {
            lanes.begin(source_row);
            let columns = source_layout.mcu_columns;
            match &mut coefficients {
                Coefficients::Stream(scan) => arch.dispatch(SequentialRow { scan, lanes: &mut lanes, columns })?,
                Coefficients::Store(store) => {
                    arch.dispatch(StoreRow { store, layout: &source_layout, row: source_row, lanes: &mut lanes });
                }
            }
        }
        let lanes = &mut lanes;
        if small {
            arch.dispatch(BandsRow { bands: &mut bands, layout: &layout, lanes, row });
        } else {
            arch.dispatch(PlainRow { plain: &mut plain, layout: &layout, lanes, row });
        }
        limits.check_alloc(plain.tokens.memory() + bands.memory())?;
    }
    if let Coefficients::Stream(scan) = &mut coefficients {
        scan.finish()?;
    }
    let mut start = Vec::with_capacity(source.len() / 2);
    header.write_metadata(&mut start);
    let mut writer = Writer::new(start);
    if small {
        output::progressive(&mut writer, frame, &layout, &steps, &mut bands);
    } else {
        output::sequential(&mut writer, frame, &layout, &steps, &plain.tokens);
    }
    Ok(writer.bytes)
}

/// Decodes all scans, or prepares to decode the only one.
fn read<'a>(
    walk: &mut Walk<'a>,
    frame: &Frame,
    layout: &Layout,
    arch: Arch,
    limits: &Limits,
) -> Result<Coefficients<'a>, Error> {
    let missing = || Error::corrupt("there is no scan");
    let mut scan = walk.next_scan(frame)?.ok_or_else(missing)?;
    if !frame.progressive && scan.parts.len() == frame.components.len() {
        return Ok(Coefficients::Stream(Sequential::new(walk, &scan, layout)?));
    }
    limits.check_alloc(Store::memory(layout))?;
    let mut store = Store::new(layout, frame.progressive);
    loop {
        let length = if frame.progressive {
            let mut scan = Progressive::new(walk, scan)?;
            arch.dispatch(ProgressiveAll { scan: &mut scan, layout, store: &mut store })?;
            scan.finish()?
        } else {
            let mut scan = Sequential::new(walk, &scan, layout)?;
            arch.dispatch(SequentialAll { scan: &mut scan, layout, store: &mut store })?;
            scan.finish()?
        };
        walk.pass(length);
        match walk.next_scan(frame)? {
            Some(next) => scan = next,
            None => return Ok(Coefficients::Store(store)),
        }
    }
}
