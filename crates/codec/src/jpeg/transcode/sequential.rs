//! Decodes sequential scans: the one scan of most files row by row, others into a store.

use pulp::{Simd, WithSimd};

use super::{
    bits::Window,
    coefficients::{Room, decode, head},
    direct::Target,
    huffman::{AcTable, DcTable},
    lane::Lanes,
    layout::Layout,
    scan::{Scan, Walk},
    store::Store,
};
use crate::Error;

/// The place of one block in an MCU, and how it is coded.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index of the part in the scan.
    part: usize,
    component: usize,
    /// Blocks of the component in a row of the MCU, and this one's place.
    horizontal: usize,
    x: usize,
    y: usize,
}

/// A sequential scan that is being decoded.
#[derive(Debug)]
pub(super) struct Sequential<'a> {
    window: Window<'a>,
    places: Vec<Place>,
    tables: Vec<(DcTable, AcTable)>,
    /// DC coefficients of the blocks before, by part.
    before: Vec<i32>,
    restart: usize,
    /// MCUs up to the next restart marker, and how many there have been.
    left: usize,
    restarts: usize,
    room: Box<Room>,
}

impl<'a> Sequential<'a> {
    pub(super) fn new(walk: &Walk<'a>, scan: &Scan, layout: &Layout) -> Result<Self, Error> {
        let mut places = Vec::new();
        let mut tables = Vec::new();
        for (index, part) in scan.parts.iter().enumerate() {
            tables.push((walk.dc_table(part)?, walk.ac_table(part)?));
            let plane = layout.planes[part.component];
            let single = scan.parts.len() == 1;
            let (horizontal, vertical) = if single { (1, 1) } else { (plane.horizontal, plane.vertical) };
            for y in 0..vertical {
                for x in 0..horizontal {
                    places.push(Place { part: index, component: part.component, horizontal, x, y });
                }
            }
        }
        if places.len() > 10 {
            return Err(Error::corrupt("more than ten blocks in a unit"));
        }
        Ok(Self {
            window: Window::new(walk.entropy()),
            places,
            tables,
            before: vec![0; scan.parts.len()],
            restart: walk.restart,
            left: walk.restart,
            restarts: 0,
            room: Box::new([0; 128]),
        })
    }

    /// Decodes one MCU row of a scan with all components into `target`.
    #[inline(always)]
    pub(super) fn row(&mut self, columns: usize, target: &mut impl Target) -> Result<(), Error> {
        for column in 0..columns {
            self.begin_unit()?;
            for place in &self.places {
                let (dc_table, ac_table) = &self.tables[place.part];
                let before = &mut self.before[place.part];
                let x = column * place.horizontal + place.x;
                let mut bits = self.window.bits;
                let room = &mut *self.room;
                if target.wants_natural(place.component) {
                    let dc = decode::<true>(&mut bits, self.window.bytes(), dc_table, ac_table, *before, room);
                    self.window.bits = bits;
                    *before = dc?;
                    target.put_natural(place.component, x, place.y, head(room), *before);
                } else {
                    let dc = decode::<false>(&mut bits, self.window.bytes(), dc_table, ac_table, *before, room);
                    self.window.bits = bits;
                    *before = dc?;
                    target.put(place.component, x, place.y, head(room), *before);
                }
            }
            target.unit();
        }
        Ok(())
    }

    /// Decodes the whole scan into `store`.
    #[inline(always)]
    fn all(&mut self, layout: &Layout, store: &mut Store) -> Result<(), Error> {
        let (columns, rows) = match self.places.as_slice() {
            [only] if self.tables.len() == 1 => {
                let plane = layout.planes[only.component];
                (plane.columns, plane.rows)
            }
            _ => (layout.mcu_columns, layout.mcu_rows),
        };
        for row in 0..rows {
            for column in 0..columns {
                self.begin_unit()?;
                for place in &self.places {
                    let (dc_table, ac_table) = &self.tables[place.part];
                    let before = &mut self.before[place.part];
                    let vertical = if self.tables.len() == 1 { 1 } else { layout.planes[place.component].vertical };
                    let (x, y) = (column * place.horizontal + place.x, row * vertical + place.y);
                    let mut bits = self.window.bits;
                    let room = &mut *self.room;
                    let dc = decode::<false>(&mut bits, self.window.bytes(), dc_table, ac_table, *before, room);
                    self.window.bits = bits;
                    *before = dc?;
                    let block = store.block(place.component, x, y);
                    *block = *head(room);
                    block[0] = *before as i16;
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn begin_unit(&mut self) -> Result<(), Error> {
        if self.restart != 0 {
            if self.left == 0 {
                self.window.restart((self.restarts % 8) as u8)?;
                self.restarts += 1;
                self.left = self.restart;
                self.before.fill(0);
            }
            self.left -= 1;
        }
        self.window.check()
    }

    /// Returns the reason for an error while decoding, as far as the place in the data tells it.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.window.explain(error)
    }

    /// Ends the scan and returns how long its data are.
    pub(super) fn finish(&mut self) -> Result<usize, Error> {
        self.window.finish()
    }
}

/// [`Sequential::row`], compiled for several CPUs.
pub(super) struct SequentialRow<'a, 'b> {
    pub(super) scan: &'a mut Sequential<'b>,
    pub(super) lanes: &'a mut Lanes,
    pub(super) columns: usize,
}

impl WithSimd for SequentialRow<'_, '_> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        self.scan.row(self.columns, self.lanes)
    }
}

/// [`Sequential::all`], compiled for several CPUs.
pub(super) struct SequentialAll<'a, 'b> {
    pub(super) scan: &'a mut Sequential<'b>,
    pub(super) layout: &'a Layout,
    pub(super) store: &'a mut Store,
}

impl WithSimd for SequentialAll<'_, '_> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        self.scan.all(self.layout, self.store)
    }
}
