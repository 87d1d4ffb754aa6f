//! A source that is being decoded, row by row.

use pulp::Arch;

use super::{
    super::header::Header,
    lane::Lanes,
    layout::Layout,
    progressive::{Progressive, ProgressiveAll},
    scan::Walk,
    sequential::{Sequential, SequentialAll, SequentialRow},
    store::{Store, StoreRow},
};
use crate::{Error, Limits};

/// Where the coefficients come from.
#[derive(Debug)]
enum Coefficients<'a> {
    /// The only scan, decoded row by row.
    Stream(Sequential<'a>),
    /// All scans, decoded before.
    Store(Store),
}

/// The coefficients of a picture, and the tables they were coded with.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    pub(super) layout: Layout,
    walk: Walk<'a>,
    coefficients: Coefficients<'a>,
    arch: Arch,
}

impl<'a> Picture<'a> {
    /// Decodes all scans, or prepares to decode the only one.
    pub(super) fn read(header: &Header, source: &'a [u8], arch: Arch, limits: &Limits) -> Result<Self, Error> {
        let frame = &header.frame;
        let layout = Layout::source(frame);
        let mut walk = Walk::new(source, frame.components.len());
        let missing = || Error::corrupt("there is no scan");
        let mut scan = walk.next_scan(frame)?.ok_or_else(missing)?;
        if !frame.progressive && scan.parts.len() == frame.components.len() {
            let coefficients = Coefficients::Stream(Sequential::new(&walk, &scan, &layout)?);
            return Ok(Self { layout, walk, coefficients, arch });
        }
        limits.check_alloc(Store::memory(&layout))?;
        let mut store = Store::new(&layout, frame.progressive);
        loop {
            let length = if frame.progressive {
                let mut scan = Progressive::new(&walk, scan)?;
                arch.dispatch(ProgressiveAll { scan: &mut scan, layout: &layout, store: &mut store })?;
                scan.finish()?
            } else {
                let mut scan = Sequential::new(&walk, &scan, &layout)?;
                arch.dispatch(SequentialAll { scan: &mut scan, layout: &layout, store: &mut store })?;
                scan.finish()?
            };
            walk.pass(length);
            match walk.next_scan(frame)? {
                Some(next) => scan = next,
                None => break,
            }
        }
        walk.check_complete()?;
        Ok(Self { layout, walk, coefficients: Coefficients::Store(store), arch })
    }

    /// Returns the quantization steps of each component.
    pub(super) fn steps(&self) -> Result<Vec<[u16; 64]>, Error> {
        self.walk.steps()
    }

    /// Returns the source's size without the metadata seen so far.
    pub(super) fn bytes(&self) -> usize {
        self.walk.source.len() - self.walk.surplus
    }

    /// Hands MCU row `row` to `lanes`.
    pub(super) fn row(&mut self, row: usize, lanes: &mut Lanes) -> Result<(), Error> {
        lanes.begin(row);
        let columns = self.layout.mcu_columns;
        match &mut self.coefficients {
            Coefficients::Stream(scan) => self.arch.dispatch(SequentialRow { scan, lanes, columns }),
            Coefficients::Store(store) => {
                self.arch.dispatch(StoreRow { store, layout: &self.layout, row, lanes });
                Ok(())
            }
        }
    }

    /// Ends the picture, and returns the source's size without metadata.
    pub(super) fn finish(mut self) -> Result<usize, Error> {
        if let Coefficients::Stream(scan) = &mut self.coefficients {
            let length = scan.finish()?;
            self.walk.pass(length);
        }
        Ok(self.walk.essential())
    }
}
