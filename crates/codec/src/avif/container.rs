//! What is in an AVIF file: its picture, its alpha channel, and how they are to be shown.
//!
//! Everything that a decoder would take memory for is read and checked here; the decoder then gets
//! a file that holds nothing else.

use std::borrow::Cow;

use super::{
    boxes::{Boxes, Name, cut},
    file::{self, Item, Property},
    meta::Meta,
    stream::{self, Stream},
};
use crate::{Error, Limits, orientation::Orientation, resize::Size};

/// Properties that change what is seen. Others go, and may go unless they are essential.
const KEPT: [&Name; 14] = [
    b"ispe", b"pixi", b"av1C", b"colr", b"pasp", b"irot", b"imir", b"auxC", b"clli", b"mdcv", b"cclv", b"a1op",
    b"lsel", b"a1lx",
];

/// Names of an alpha channel.
pub(super) const ALPHA: [&[u8]; 2] =
    [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];

/// What a file says of itself.
#[derive(Debug)]
pub(super) struct Container<'a> {
    /// Width and height as stored.
    pub(super) size: Size,
    pub(super) orientation: Orientation,
    /// Headers of the picture, or of a grid's first tile.
    pub(super) stream: Stream,
    pub(super) alpha: bool,
    /// Primaries, transfer and matrix by ITU-T H.273, and whether samples use the full range.
    pub(super) code_points: ([u8; 3], bool),
    /// The picture first, then what it is made of.
    items: Vec<Item<'a>>,
}

impl<'a> Container<'a> {
    /// Walks all boxes, and the headers of all streams that belong to the picture.
    pub(super) fn read(source: &'a [u8], limits: &Limits) -> Result<Self, Error> {
        let mut found = None;
        for part in Boxes(source) {
            match part? {
                (name, brands) if name == *b"ftyp" && brands.as_chunks().0.contains(b"avis") => {
                    return Err(Error::unsupported("AVIF, animated"));
                }
                (name, content) if name == *b"meta" && found.is_none() => found = Some(Meta::read(content)?),
                _ => {}
            }
        }
        let meta = found.ok_or_else(cut)?;
        let mut reading = Reading { meta: &meta, source, limits, items: Vec::new(), length: 0 };
        let (size, stream) = reading.add(meta.primary, None)?;
        let alpha = meta.sources(*b"auxl", meta.primary).find(|&item| is_alpha(&meta, item));
        if let Some(alpha) = alpha {
            let at = reading.items.len();
            if reading.add(alpha, Some(size))?.0 != size {
                return Err(Error::corrupt("the AVIF says two sizes"));
            }
            reading.items[at].references.push((*b"auxl", vec![0]));
            if meta.targets(*b"prem", meta.primary).contains(&alpha) {
                reading.items[0].references.push((*b"prem", vec![at]));
            }
        }
        let items = reading.items;
        let code_points = code_points(&items[0], &stream);
        let orientation = orientation(&items[0]);
        Ok(Self { size, orientation, stream, alpha: alpha.is_some(), code_points, items })
    }

    /// Returns the ICC profile.
    pub(super) fn profile(&self) -> Option<&[u8]> {
        let profiles = self.items[0].properties.iter().filter(|it| it.name == *b"colr");
        profiles.into_iter().find_map(|it| it.content.strip_prefix(b"prof").or(it.content.strip_prefix(b"rICC")))
    }

    /// Returns the file without its metadata.
    pub(super) fn stripped(&self) -> Vec<u8> {
        file::write(&self.items)
    }

    /// Returns a file with nothing but the coded pictures and what it takes to decode them.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut items = self.items.clone();
        let depth = self.stream.sequence.depth;
        let mut alpha = false;
        for item in &mut items {
            alpha |= item.references.iter().any(|(name, _)| name == b"auxl");
            item.properties.retain(|it| matches!(&it.name, b"ispe" | b"av1C" | b"auxC"));
            let channels = if alpha || self.stream.sequence.grey { 1 } else { 3 };
            let depths = [&[0, 0, 0, 0, channels], [depth; 3].split_at(channels.into()).0].concat();
            item.properties.push(Property { name: *b"pixi", content: depths.into(), essential: false });
        }
        items[0].properties.push(nclx(self.code_points.0, self.code_points.1));
        file::write(&items)
    }

    /// Returns the picture without what belongs to it.
    pub(super) fn into_picture(mut self) -> Item<'a> {
        self.items.swap_remove(0)
    }
}

/// What is gathered while items are read.
struct Reading<'a, 'b> {
    meta: &'b Meta<'a>,
    source: &'a [u8],
    limits: &'b Limits,
    items: Vec<Item<'a>>,
    /// Bytes of data so far.
    length: usize,
}

impl Reading<'_, '_> {
    /// Adds an item with its tiles; returns its size and the headers of its (first) stream. Without
    /// a size of its own it is as large as `default`.
    fn add(&mut self, id: u32, default: Option<Size>) -> Result<(Size, Stream), Error> {
        let kind = self.meta.kind(id)?;
        let mut properties = self.meta.properties(id)?;
        properties.retain(|it| it.essential || KEPT.contains(&&it.name));
        if let Some(unknown) = properties.iter().find(|it| !KEPT.contains(&&it.name)) {
            return Err(Error::unsupported(format!("AVIF with {}", unknown.name.escape_ascii())));
        }
        let data = self.meta.data(id, self.source)?;
        self.length += data.len();
        // Items may share data, but only in a file that is made to do harm.
        if self.length > self.source.len() {
            return Err(Error::corrupt("the data of the AVIF is longer than the file"));
        }
        let at = self.items.len();
        self.items.push(Item { kind, properties, references: Vec::new(), data });
        let item = &self.items[at];
        let size = item.property(*b"ispe").map_or(Ok(default), |content| size_of(content).map(Some))?;
        let size = size.ok_or_else(|| Error::corrupt("the AVIF says no size"))?;
        self.limits.check_dimensions(size.width, size.height)?;
        Limits::check_profile(item.properties.iter().map(|it| it.content.len()).max().unwrap_or_default())?;
        match &kind {
            b"av01" => {
                let stream = stream::read(&item.data)?;
                if stream.sequence.size != size {
                    return Err(Error::corrupt("the AVIF says two sizes"));
                }
                let pixels = u64::from(size.width) * u64::from(size.height);
                self.limits.check_pixels(pixels.saturating_mul(stream.frames))?;
                if item.property(*b"ispe").is_none() {
                    let content = [0, size.width, size.height].map(u32::to_be_bytes).concat().into();
                    self.items[at].properties.push(Property { name: *b"ispe", content, essential: false });
                }
                Ok((size, stream))
            }
            b"grid" => Ok((size, self.add_tiles(id, at, size)?)),
            other => Err(Error::unsupported(format!("AVIF of the kind {}", other.escape_ascii()))),
        }
    }

    /// Adds the tiles that make up the item at `at`.
    fn add_tiles(&mut self, id: u32, at: usize, size: Size) -> Result<Stream, Error> {
        let broken = || Error::corrupt("the grid of the AVIF is broken");
        let &[_, _, rows, columns] = self.items[at].data.first_chunk().ok_or_else(broken)?;
        let (rows, columns) = (u32::from(rows) + 1, u32::from(columns) + 1);
        Limits::check_frames(u64::from(rows * columns))?;
        let ids = self.meta.targets(*b"dimg", id);
        if ids.len() as u64 != u64::from(rows * columns) {
            return Err(broken());
        }
        let mut first: Option<(Size, Stream)> = None;
        let mut tiles = Vec::new();
        for tile in ids {
            // No grid of grids, which could go round in circles.
            if self.meta.kind(tile)? != *b"av01" {
                return Err(broken());
            }
            tiles.push(self.items.len());
            let (tile, stream) = self.add(tile, None)?;
            let fits = |side: u32, tile: u32, count: u32| tile * (count - 1) < side && side <= tile * count;
            let expected = first.get_or_insert((tile, stream));
            let fitting = fits(size.width, tile.width, columns) && fits(size.height, tile.height, rows);
            if !fitting || tile != expected.0 || stream.sequence != expected.1.sequence {
                return Err(broken());
            }
        }
        self.items[at].references.push((*b"dimg", tiles));
        first.map(|(_, stream)| stream).ok_or_else(broken)
    }
}

fn is_alpha(meta: &Meta<'_>, item: u32) -> bool {
    let properties = meta.properties(item).unwrap_or_default();
    let kind = properties.iter().find(|it| it.name == *b"auxC").and_then(|it| it.content.get(4..));
    kind.is_some_and(|kind| ALPHA.iter().any(|name| kind.starts_with(name)))
}

fn size_of(content: &[u8]) -> Result<Size, Error> {
    match content.get(4..).map(|sides| sides.as_chunks::<4>().0) {
        Some(&[width, height]) => Ok(Size { width: u32::from_be_bytes(width), height: u32::from_be_bytes(height) }),
        _ => Err(Error::corrupt("the size of the AVIF is broken")),
    }
}

/// Returns how the picture is turned: first to last, as its properties come.
fn orientation(item: &Item<'_>) -> Orientation {
    let turns = item.properties.iter().filter_map(|it| match (&it.name, it.content.first()?) {
        // In quarters, against the clock.
        (b"irot", angle) => Some(Orientation::from_tag([1, 8, 3, 6][usize::from(angle & 3)])),
        (b"imir", axis) => Some(Orientation::from_tag(if axis & 1 == 0 { 4 } else { 2 })),
        _ => None,
    });
    turns.fold(Orientation::NORMAL, Orientation::then)
}

/// Returns the code points of the file, which rank before those of the stream.
fn code_points(item: &Item<'_>, stream: &Stream) -> ([u8; 3], bool) {
    let boxes = item.properties.iter().filter(|it| it.name == *b"colr");
    let found = boxes.into_iter().find_map(|it| it.content.strip_prefix(b"nclx")?.first_chunk::<7>());
    match found {
        Some(&[_, primaries, _, transfer, _, matrix, range]) => ([primaries, transfer, matrix], range & 0x80 != 0),
        None => (stream.sequence.code_points, stream.sequence.full_range),
    }
}

/// Returns the property that holds code points.
pub(super) fn nclx([primaries, transfer, matrix]: [u8; 3], full_range: bool) -> Property<'static> {
    let points = [0, primaries, 0, transfer, 0, matrix, u8::from(full_range) << 7];
    Property { name: *b"colr", content: Cow::Owned([b"nclx", points.as_slice()].concat()), essential: false }
}

/// Returns the property that holds an ICC profile.
pub(super) fn profile(profile: &[u8]) -> Property<'static> {
    Property { name: *b"colr", content: Cow::Owned([b"prof", profile].concat()), essential: false }
}
