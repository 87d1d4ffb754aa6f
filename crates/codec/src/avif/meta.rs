//! What an AVIF's `meta` box says of its items (ISO/IEC 23008-12): kinds, places, properties and
//! references.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    boxes::{Boxes, Name, Reader},
    file::Property,
};
use crate::{Error, Limits};

/// The items of a file.
#[derive(Debug, Default)]
pub(super) struct Meta<'a> {
    pub(super) primary: u32,
    kinds: BTreeMap<u32, Name>,
    places: BTreeMap<u32, Place>,
    properties: Vec<(Name, &'a [u8])>,
    associations: BTreeMap<u32, Vec<(usize, bool)>>,
    references: Vec<(Name, u32, Vec<u32>)>,
    inside: &'a [u8],
}

/// Where an item's data lies.
#[derive(Debug)]
struct Place {
    /// Whether in the `meta` box itself, and not in the file.
    inside: bool,
    /// Offset and length; a length of zero is all that follows.
    extents: Vec<(u64, u64)>,
}

impl<'a> Meta<'a> {
    /// Reads the content of the box.
    pub(super) fn read(content: &'a [u8]) -> Result<Self, Error> {
        Limits::check_header(content.len())?;
        let mut reader = Reader(content);
        reader.version()?;
        let mut meta = Self::default();
        for part in Boxes(reader.0) {
            let (name, content) = part?;
            let reader = Reader(content);
            match &name {
                b"pitm" => meta.read_primary(reader)?,
                b"iinf" => meta.read_kinds(reader)?,
                b"iloc" => meta.read_places(reader)?,
                b"iprp" => meta.read_properties(content)?,
                b"iref" => meta.read_references(reader)?,
                b"idat" => meta.inside = content,
                _ => {}
            }
        }
        Ok(meta)
    }

    pub(super) fn kind(&self, item: u32) -> Result<Name, Error> {
        self.kinds.get(&item).copied().ok_or_else(|| Error::corrupt("an item of the AVIF is missing"))
    }

    /// Returns the properties of an item in their order.
    pub(super) fn properties(&self, item: u32) -> Result<Vec<Property<'a>>, Error> {
        let associations = self.associations.get(&item).map(Vec::as_slice).unwrap_or_default();
        let found = associations.iter().filter(|(index, _)| *index > 0).map(|&(index, essential)| {
            let property = self.properties.get(index - 1);
            let &(name, content) = property.ok_or_else(|| Error::corrupt("a property of the AVIF is missing"))?;
            Ok(Property { name, content: Cow::Borrowed(content), essential })
        });
        found.collect()
    }

    /// Returns the items that `item` refers to in this way.
    pub(super) fn targets(&self, kind: Name, item: u32) -> Vec<u32> {
        let found = self.references.iter().filter(|(name, from, _)| *name == kind && *from == item);
        found.flat_map(|(_, _, targets)| targets.iter().copied()).collect()
    }

    /// Returns the items that refer to `item` in this way.
    pub(super) fn sources(&self, kind: Name, item: u32) -> impl Iterator<Item = u32> {
        let found = self.references.iter().filter(move |(name, _, to)| *name == kind && to.contains(&item));
        found.map(|(_, from, _)| *from)
    }

    /// Returns an item's data; one that lies beyond the end means that the file was cut off.
    pub(super) fn data(&self, item: u32, source: &'a [u8]) -> Result<Cow<'a, [u8]>, Error> {
        let place = self.places.get(&item).ok_or_else(|| Error::corrupt("an item of the AVIF is nowhere"))?;
        let whole = if place.inside { self.inside } else { source };
        let piece = |&(offset, length): &(u64, u64)| {
            let rest = usize::try_from(offset).ok().and_then(|offset| whole.get(offset..));
            let length = if length == 0 { rest.map(<[u8]>::len) } else { usize::try_from(length).ok() };
            let found = rest.zip(length).and_then(|(rest, length)| rest.get(..length));
            found.ok_or_else(|| Error::truncated("the data of the AVIF ends early"))
        };
        if let [extent] = place.extents.as_slice() {
            return piece(extent).map(Cow::Borrowed);
        }
        let pieces = place.extents.iter().map(piece).collect::<Result<Vec<_>, _>>()?;
        // Extents may lie over each other, but only in a file that is made to do harm.
        if pieces.iter().map(|piece| piece.len()).sum::<usize>() > source.len() {
            return Err(Error::corrupt("the data of the AVIF is longer than the file"));
        }
        Ok(Cow::Owned(pieces.concat()))
    }

    fn read_primary(&mut self, mut reader: Reader<'a>) -> Result<(), Error> {
        let (version, _) = reader.version()?;
        self.primary = reader.number(if version == 0 { 2 } else { 4 })?;
        Ok(())
    }

    fn read_kinds(&mut self, mut reader: Reader<'a>) -> Result<(), Error> {
        let (version, _) = reader.version()?;
        reader.number(if version == 0 { 2 } else { 4 })?;
        for part in Boxes(reader.0) {
            let mut entry = Reader(part?.1);
            let (version, _) = entry.version()?;
            // Older versions have no kinds, and no AVIF.
            if version >= 2 {
                let item = entry.number(if version == 2 { 2 } else { 4 })?;
                entry.number(2)?;
                self.kinds.insert(item, *entry.array()?);
            }
        }
        Ok(())
    }

    fn read_places(&mut self, mut reader: Reader<'a>) -> Result<(), Error> {
        let (version, _) = reader.version()?;
        let wide = if version < 2 { 2 } else { 4 };
        let [first, second] = *reader.array()?;
        let (offset_size, length_size, base_size) = (first >> 4, first & 15, second >> 4);
        let index_size = if version == 0 { 0 } else { second & 15 };
        for _ in 0..reader.number(wide)? {
            let item = reader.number(wide)?;
            let method = if version == 0 { 0 } else { reader.number(2)? & 15 };
            reader.number(2)?;
            let base = reader.sized(base_size)?;
            let count = reader.number(2)?;
            // Such extents take no space in the box, so there could be any number of them.
            if method > 1 || count > 1 && offset_size + length_size == 0 {
                return Err(Error::corrupt("the places of the AVIF's data are strange"));
            }
            let extents = (0..count).map(|_| {
                reader.sized(index_size)?;
                Ok((base.saturating_add(reader.sized(offset_size)?), reader.sized(length_size)?))
            });
            let extents = extents.collect::<Result<_, Error>>()?;
            self.places.insert(item, Place { inside: method == 1, extents });
        }
        Ok(())
    }

    fn read_properties(&mut self, content: &'a [u8]) -> Result<(), Error> {
        for part in Boxes(content) {
            let (name, content) = part?;
            match &name {
                b"ipco" => self.properties = Boxes(content).collect::<Result<_, _>>()?,
                b"ipma" => self.read_associations(Reader(content))?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_associations(&mut self, mut reader: Reader<'a>) -> Result<(), Error> {
        let (version, flags) = reader.version()?;
        let size = if flags & 1 == 0 { 1 } else { 2 };
        for _ in 0..reader.number(4)? {
            let item = reader.number(if version == 0 { 2 } else { 4 })?;
            let count = reader.number(1)?;
            let entries = (0..count).map(|_| {
                let entry = reader.number(size)?;
                let essential = 1 << (8 * size - 1);
                Ok(((entry & (essential - 1)) as usize, entry & essential != 0))
            });
            let entries = entries.collect::<Result<_, Error>>()?;
            self.associations.insert(item, entries);
        }
        Ok(())
    }

    fn read_references(&mut self, mut reader: Reader<'a>) -> Result<(), Error> {
        let (version, _) = reader.version()?;
        let wide = if version == 0 { 2 } else { 4 };
        for part in Boxes(reader.0) {
            let (name, content) = part?;
            let mut entry = Reader(content);
            let from = entry.number(wide)?;
            let count = entry.number(2)?;
            let targets = (0..count).map(|_| entry.number(wide)).collect::<Result<_, Error>>()?;
            self.references.push((name, from, targets));
        }
        Ok(())
    }
}
