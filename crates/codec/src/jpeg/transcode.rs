//! JPEG to JPEG without leaving the DCT.
//!
//! ```text
//! picture: scan -> sequential ----------------------> lane (block, shrink) -> plain          -> output
//!               -> progressive -> store (whole picture) -^                 -> bands (choose) -^
//! ```
//!
//! A JPEG's coefficients are decoded, divided by coarser steps and coded again. No pixel is
//! computed, so nothing is lost to rounding and clipping, and most of the work of decoding and
//! encoding is not done at all. Chroma becomes 4:2:0 on the way, by a linear map ([`shrink`]).
//!
//! A sequential file whose only scan holds all components is streamed: in memory are a row of MCUs
//! and, of the result, the symbols, as the best codes for them are known at the end only. Other
//! files need all their coefficients first.
//!
//! The orientation is kept as the only EXIF tag: turning blocks would be exact only for pictures
//! that are a whole number of MCUs wide and high.

// What runs once a coefficient or a block has to become part of the functions that `pulp` compiles
// for each CPU; a call would leave them.
#![expect(clippy::inline_always)]
// Fixed bounds over several arrays at once are what the compiler turns into vectors.
#![expect(clippy::needless_range_loop)]

mod bands;
mod bits;
mod block;
mod choose;
mod code;
mod coefficients;
mod direct;
mod huffman;
mod lane;
mod layout;
mod output;
mod picture;
mod plain;
mod progressive;
mod refinement;
mod scan;
mod sequential;
mod shrink;
mod step;
mod store;
mod tables;
mod tokens;
mod writer;
mod zigzag;

use bands::{Bands, BandsRow};
use lane::Lanes;
use layout::{Layout, Shrink};
use picture::Picture;
use plain::{Plain, PlainRow};
use pulp::Arch;
use step::{HALF, Scale, Steps};
use tables::{Content, Purpose};
use writer::Writer;

pub(crate) use tables::estimate;

use super::header::{Header, Transform};
use crate::{Effort, Error, Limits};

/// From this quality on chroma keeps its resolution.
const FULL_CHROMA: u8 = 90;

/// Least coefficient that is looked at whether it is worth its bits: below 0.56 hardly one is.
const WORTH_A_LOOK: i16 = HALF as i16 + 2;

/// A picture that was coded anew.
#[derive(Debug)]
pub(super) struct Transcoded {
    pub(super) bytes: Vec<u8>,
    /// Size of the source without its metadata.
    pub(super) essential: usize,
}

/// Whether a picture's colours and sampling are among those that stay in the DCT.
pub(super) fn handles(header: &Header) -> bool {
    let components = header.frame.components.as_slice();
    let ycc = match (components.len(), header.adobe) {
        (1, _) => true,
        // As libjpeg tells YCbCr from RGB.
        (3, _) if header.jfif.is_some() => true,
        (3, Some(transform)) => transform == Transform::Ycc,
        (3, None) => !components.iter().map(|component| component.id).eq(*b"RGB"),
        _ => false,
    };
    ycc && Layout::source(&header.frame).mcu_blocks() <= 10
}

/// Decodes the coefficients for no other purpose than to know that it can be done.
pub(super) fn check(header: &Header, source: &[u8], limits: &Limits) -> Result<(), Error> {
    let mut picture = Picture::read(header, source, Arch::new(), limits)?;
    let steps: Vec<_> = picture.steps()?.into_iter().map(|steps| Steps::new(steps, steps)).collect();
    let layout = picture.layout.clone();
    let mut lanes = Lanes::new(&layout, &layout, None, &steps, [i16::MAX; 64]);
    for row in 0..layout.mcu_rows {
        picture.row(row, &mut lanes)?;
    }
    picture.finish(&header.frame)?;
    Ok(())
}

/// Codes a picture anew at `quality`.
pub(super) fn transcode(
    header: &Header,
    source: &[u8],
    quality: u8,
    effort: Effort,
    limits: &Limits,
) -> Result<Transcoded, Error> {
    let frame = &header.frame;
    let mut picture = Picture::read(header, source, Arch::new(), limits)?;
    let (layout, shrink) = layout::result(frame, &picture.layout, quality < FULL_CHROMA);
    let mut purpose = Purpose::new(quality, effort, &picture.steps()?[0]);
    if effort == Effort::Small {
        purpose.guess(picture.bytes(), (frame.width * frame.height) as usize);
    }
    let mut pass = Pass::new(&picture, purpose, &layout, shrink)?;
    let found = pass.run(&mut picture, limits)?;
    if purpose.is_wrong(found) {
        purpose.content = found;
        picture.rewind()?;
        pass = Pass::new(&picture, purpose, &layout, shrink)?;
        pass.run(&mut picture, limits)?;
    }
    let essential = picture.finish(frame)?;
    let mut start = Vec::with_capacity(source.len() / 2);
    header.write_metadata(&mut start);
    let mut writer = Writer::new(start);
    match pass.coder {
        Coder::Plain(plain) => output::sequential(&mut writer, frame, &layout, &pass.steps, &plain.tokens),
        Coder::Bands(mut bands) => {
            bands.finish();
            output::progressive(&mut writer, frame, &layout, &pass.steps, &bands);
        }
    }
    Ok(Transcoded { bytes: writer.bytes, essential })
}

/// One way through the picture, with one set of tables.
struct Pass<'a> {
    purpose: Purpose,
    layout: &'a Layout,
    shrink: Option<Shrink>,
    steps: Vec<Steps>,
    coder: Coder,
}

impl<'a> Pass<'a> {
    fn new(picture: &Picture<'_>, purpose: Purpose, layout: &'a Layout, shrink: Option<Shrink>) -> Result<Self, Error> {
        let old = picture.steps()?.into_iter().enumerate();
        let steps = old.map(|(index, old)| tables::steps(purpose, index > 0, old)).collect();
        Ok(Self { purpose, layout, shrink, steps, coder: Coder::new(layout, purpose.effort) })
    }

    /// Codes all rows, and returns what the picture turned out to be.
    fn run(&mut self, picture: &mut Picture<'_>, limits: &Limits) -> Result<Content, Error> {
        let Self { purpose, layout, shrink, steps, coder } = self;
        let least = match purpose.effort {
            Effort::Fast => [HALF as i16; 64],
            Effort::Small => [WORTH_A_LOOK; 64],
        };
        if let (Coder::Plain(plain), None) = (&mut *coder, &shrink) {
            let scales: Vec<_> = steps.iter().map(|steps| Scale::new(steps, least)).collect();
            for row in 0..layout.mcu_rows {
                limits.check_alloc(picture.memory() + plain.memory(layout))?;
                picture.row_direct(row, &scales, plain)?;
            }
            return Ok(purpose.content);
        }
        let mut lanes = Lanes::new(&picture.layout, layout, *shrink, steps, least);
        if purpose.effort == Effort::Small {
            lanes.count(tables::detail(*purpose, &steps[0].old));
        }
        let merged = shrink.map_or(1, |shrink| shrink.merged);
        for row in 0..layout.mcu_rows {
            for source_row in (row * merged..picture.layout.mcu_rows).take(merged) {
                picture.row(source_row, &mut lanes)?;
            }
            limits.check_alloc(picture.memory() + coder.memory(layout))?;
            coder.row(layout, &mut lanes, row, purpose.content == Content::Calm, picture.arch);
        }
        Ok(if purpose.effort == Effort::Small { Content::of(lanes.details()) } else { purpose.content })
    }
}

/// What becomes of the rows.
#[derive(Debug)]
enum Coder {
    Plain(Plain),
    Bands(Bands),
}

impl Coder {
    fn new(layout: &Layout, effort: Effort) -> Self {
        match effort {
            Effort::Fast => Self::Plain(Plain::new(layout)),
            Effort::Small => Self::Bands(Bands::new(layout)),
        }
    }

    fn row(&mut self, layout: &Layout, lanes: &mut Lanes, row: usize, calm: bool, arch: Arch) {
        match self {
            Self::Plain(plain) => arch.dispatch(PlainRow { plain, layout, lanes, row }),
            Self::Bands(bands) => arch.dispatch(BandsRow { bands, lanes, row, calm }),
        }
    }

    /// Returns the bytes taken while the next row is added.
    fn memory(&self, layout: &Layout) -> u64 {
        match self {
            Self::Plain(plain) => plain.memory(layout),
            Self::Bands(bands) => bands.memory(layout),
        }
    }
}
