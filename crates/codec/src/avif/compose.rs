//! Coded tiles to a file: what the encoder wrote, with alpha beside it and colours of our own.

use std::borrow::Cow;

use super::{
    container::{ALPHA, Container},
    file::{self, Item, Property},
};
use crate::{Error, Limits, resize::Size};

/// A picture, or an alpha channel, in tiles of one size, each a file of its own.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) columns: u8,
    pub(super) tiles: Vec<Vec<u8>>,
}

/// Writes a file that shows the tiles as one picture of this size.
pub(super) fn compose(
    size: Size,
    picture: &Layer,
    alpha: Option<&Layer>,
    colors: Vec<Property<'static>>,
) -> Result<Vec<u8>, Error> {
    let mut items = items(size, picture, 0)?;
    items[0].properties.extend(colors);
    if let Some(alpha) = alpha {
        let at = items.len();
        items.extend(self::items(size, alpha, at)?);
        let content = Cow::Owned([&[0; 4], ALPHA[0]].concat());
        items[at].properties.push(Property { name: *b"auxC", content, essential: false });
        items[at].references.push((*b"auxl", vec![0]));
    }
    Ok(file::write(&items))
}

/// Returns the items of a layer, whose first one will be at `start`: the only tile, or the grid.
fn items(size: Size, layer: &Layer, start: usize) -> Result<Vec<Item<'_>>, Error> {
    let mut tiles = layer.tiles.iter().map(|tile| picture(tile)).collect::<Result<Vec<_>, _>>()?;
    let count = tiles.len();
    if count > 1 {
        let sides = [size.width, size.height].map(u32::to_be_bytes).concat();
        // Version, the flag for sides of 32 bits, rows and columns less one.
        let rows = (count / usize::from(layer.columns)) as u8;
        let data = [[0, 1, rows - 1, layer.columns - 1].as_slice(), &sides].concat();
        let mut properties = tiles[0].properties.clone();
        properties.retain(|it| it.name == *b"pixi");
        let content = [&[0; 4], sides.as_slice()].concat().into();
        properties.push(Property { name: *b"ispe", content, essential: false });
        let references = vec![(*b"dimg", (start + 1..=start + count).collect())];
        tiles.insert(0, Item { kind: *b"grid", properties, references, data: data.into() });
    }
    Ok(tiles)
}

/// Returns the picture out of a file that the encoder wrote.
fn picture(bytes: &[u8]) -> Result<Item<'_>, Error> {
    let mut item = Container::read(bytes, &Limits::default())?.into_picture();
    item.properties.retain(|it| matches!(&it.name, b"ispe" | b"pixi" | b"av1C"));
    Ok(item)
}
