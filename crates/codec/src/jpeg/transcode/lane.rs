//! The blocks of one row of result MCUs, component by component, as the coders read them.

use super::{
    block::{Block, count, rescale},
    direct::Target,
    layout::{Layout, Plane, Shrink},
    shrink::Shrinker,
    step::{Scale, Steps},
};

/// One component's part of a row of MCUs.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) plane: Plane,
    /// AC coefficients in new steps with a fraction; only those in the mask are meaningful.
    pub(super) blocks: Vec<Block>,
    pub(super) masks: Vec<u64>,
    /// Quantized DC coefficients.
    pub(super) dc: Vec<i16>,
}

impl Lane {
    fn new(plane: Plane) -> Self {
        let length = plane.padded_columns * plane.vertical;
        Self { plane, blocks: vec![[0; 64]; length], masks: vec![0; length], dc: vec![0; length] }
    }

    /// Fills up the row: blocks that show nothing repeat the DC coefficient before them.
    fn pad(&mut self, row: usize) {
        let Plane { vertical, columns, rows, padded_columns, .. } = self.plane;
        for y in 0..vertical {
            let from = if row * vertical + y < rows { columns } else { 0 };
            for x in from..padded_columns {
                let at = y * padded_columns + x;
                // A row below the picture continues the one above it.
                let before = if x > 0 { at - 1 } else { at.saturating_sub(padded_columns) };
                self.dc[at] = self.dc[before];
                self.masks[at] = 0;
            }
        }
    }
}

/// Chroma blocks that wait for being shrunk: whole coefficients in old steps, in natural order.
#[derive(Debug)]
struct Raw {
    plane: Plane,
    /// Rows of blocks that make one row of the result's.
    rows: usize,
    blocks: Vec<Block>,
}

/// Takes the source's blocks one MCU row after the other, and gives rows of the result.
#[derive(Debug)]
pub(super) struct Lanes {
    pub(super) parts: Vec<Lane>,
    scales: Vec<Scale>,
    raw: Vec<Option<Raw>>,
    shrinkers: Vec<Option<Shrinker>>,
    source: Layout,
    merged: usize,
    /// Where the source's present MCU row begins: rows of blocks in it, by component, within the
    /// row of the result and within the whole picture.
    origin: Vec<(usize, usize)>,
    /// The least coefficients of luma that count as detail, in old steps.
    detail: [i16; 64],
    /// How many there were, and in how many blocks: those of every other row tell enough.
    details: u64,
    looked_at: u64,
}

impl Lanes {
    pub(super) fn new(
        source: &Layout,
        result: &Layout,
        shrink: Option<Shrink>,
        steps: &[Steps],
        least: [i16; 64],
    ) -> Self {
        let raw = |(index, plane): (usize, &Plane)| {
            let shrink = shrink.filter(|_| index > 0)?;
            let rows = if shrink.down { 2 } else { 1 };
            Some(Raw { plane: *plane, rows, blocks: vec![[0; 64]; plane.padded_columns * rows] })
        };
        let shrinker = |(index, steps): (usize, &Steps)| {
            let shrink = shrink.filter(|_| index > 0)?;
            Some(Shrinker::new(steps, shrink, &least))
        };
        Self {
            parts: result.planes.iter().copied().map(Lane::new).collect(),
            scales: steps.iter().map(|steps| Scale::new(steps, least)).collect(),
            raw: source.planes.iter().enumerate().map(raw).collect(),
            shrinkers: steps.iter().enumerate().map(shrinker).collect(),
            source: source.clone(),
            merged: shrink.map_or(1, |shrink| shrink.merged),
            origin: vec![(0, 0); steps.len()],
            detail: [i16::MAX; 64],
            details: 0,
            looked_at: 0,
        }
    }

    /// Counts from now on the luma coefficients that reach `least`, in old steps.
    pub(super) fn count(&mut self, least: [i16; 64]) {
        self.detail = least;
    }

    /// Returns how many there are in a block of the rows so far, on average.
    pub(super) fn details(&self) -> f32 {
        self.details as f32 / self.looked_at.max(1) as f32
    }

    /// Begins MCU row `row` of the source.
    pub(super) fn begin(&mut self, row: usize) {
        for (origin, plane) in self.origin.iter_mut().zip(&self.source.planes) {
            *origin = (row % self.merged * plane.vertical, row * plane.vertical);
        }
    }

    /// Completes the result's MCU row `row`, once all of its blocks have been put.
    #[inline(always)]
    pub(super) fn complete<const FUSED: bool>(&mut self, row: usize) {
        for ((lane, raw), shrinker) in self.parts.iter_mut().zip(&self.raw).zip(&self.shrinkers) {
            if let (Some(raw), Some(shrinker)) = (raw, shrinker) {
                // Rows of the source that show something of the picture.
                let rows = (raw.plane.rows - row * raw.rows).min(raw.rows);
                for x in 0..lane.plane.columns {
                    lane.masks[x] = shrinker.shrink::<FUSED>(
                        &raw.blocks,
                        (raw.plane.padded_columns, raw.plane.columns, rows),
                        x,
                        &mut lane.blocks[x],
                        &mut lane.dc[x],
                    );
                }
            }
            lane.pad(row);
        }
    }
}

impl Target for Lanes {
    #[inline(always)]
    fn wants_natural(&self, component: usize) -> bool {
        self.raw[component].is_some()
    }

    #[inline(always)]
    fn put(&mut self, component: usize, x: usize, y: usize, block: &Block, dc: i32) {
        let plane = &self.source.planes[component];
        let (within, whole) = self.origin[component];
        if x >= plane.columns || whole + y >= plane.rows {
            return;
        }
        if component == 0 && (whole + y).is_multiple_of(2) {
            self.looked_at += 1;
            self.details += u64::from(count(block, &self.detail));
        }
        let lane = &mut self.parts[component];
        let at = (within + y) * lane.plane.padded_columns + x;
        let scale = &self.scales[component];
        lane.masks[at] = rescale(block, scale, &mut lane.blocks[at]);
        lane.dc[at] = scale.dc(dc);
    }
    #[inline(always)]
    fn put_natural(&mut self, component: usize, x: usize, y: usize, block: &Block, dc: i32) {
        let (within, _) = self.origin[component];
        let Some(raw) = &mut self.raw[component] else { return };
        let block_to = &mut raw.blocks[(within + y) * raw.plane.padded_columns + x];
        *block_to = *block;
        block_to[0] = dc.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
    }

    #[inline(always)]
    fn unit(&mut self) {}
}
