//! Items to an AVIF file that holds them and nothing else.

use std::borrow::Cow;

use super::boxes::{Name, boxed};

/// A property of an item, such as its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property<'a> {
    pub(super) name: Name,
    pub(super) content: Cow<'a, [u8]>,
    /// Whether a reader that does not know it must not show the item.
    pub(super) essential: bool,
}

/// A coded picture, or how others make one up.
#[derive(Debug, Clone)]
pub(super) struct Item<'a> {
    pub(super) kind: Name,
    pub(super) properties: Vec<Property<'a>>,
    /// Items that this one refers to, by their index, and how.
    pub(super) references: Vec<(Name, Vec<usize>)>,
    pub(super) data: Cow<'a, [u8]>,
}

impl Item<'_> {
    /// Returns the content of a property.
    pub(super) fn property(&self, name: Name) -> Option<&[u8]> {
        self.properties.iter().find(|it| it.name == name).map(|it| &*it.content)
    }
}

/// Writes a file, whose primary item is the first. The items are fewer than 1,100, and their
/// properties together fewer than 32,768.
pub(super) fn write(items: &[Item<'_>]) -> Vec<u8> {
    let mut bytes = boxed(*b"ftyp", b"avif\0\0\0\0avifmif1miaf");
    // The places depend on the length of the box that they stand in, and that does not depend on them.
    let length = meta(items, 0).len();
    bytes.extend(meta(items, bytes.len() + length + 8));
    let data: usize = items.iter().map(|item| item.data.len()).sum();
    bytes.extend((data as u32 + 8).to_be_bytes());
    bytes.extend(b"mdat");
    for item in items {
        bytes.extend(&*item.data);
    }
    bytes
}

/// Returns the `meta` box of a file where the data begins at `start`.
fn meta(items: &[Item<'_>], mut start: usize) -> Vec<u8> {
    let short = |number: usize| (number as u16).to_be_bytes();
    let long = |number: usize| (number as u32).to_be_bytes();
    let mut places = [&[0; 4], [0x44, 0].as_slice(), &short(items.len())].concat();
    let mut kinds = [&[0; 4], short(items.len()).as_slice()].concat();
    let mut references = vec![0; 4];
    let mut properties: Vec<&Property<'_>> = Vec::new();
    // Of two bytes each, as a grid may have many.
    let mut associations = [&[0, 0, 0, 1], long(items.len()).as_slice()].concat();
    for (index, item) in items.iter().enumerate() {
        let number = short(index + 1);
        places.extend([number, [0; 2], [0, 1]].concat());
        places.extend([long(start), long(item.data.len())].concat());
        start += item.data.len();
        kinds.extend(boxed(*b"infe", &[&[2, 0, 0, 0], number.as_slice(), &[0; 2], &item.kind, &[0]].concat()));
        for (name, targets) in &item.references {
            let targets: Vec<u8> = targets.iter().flat_map(|target| short(target + 1)).collect();
            references.extend(boxed(*name, &[&number, &short(targets.len() / 2), targets.as_slice()].concat()));
        }
        associations.extend(number);
        associations.push(item.properties.len() as u8);
        for property in &item.properties {
            let known = properties.iter().position(|it| it.name == property.name && it.content == property.content);
            let at = known.unwrap_or_else(|| {
                properties.push(property);
                properties.len() - 1
            });
            associations.extend(short((at + 1) | if property.essential { 0x8000 } else { 0 }));
        }
    }
    let properties: Vec<u8> = properties.iter().flat_map(|it| boxed(it.name, &it.content)).collect();
    let properties = [boxed(*b"ipco", &properties), boxed(*b"ipma", &associations)].concat();
    let mut content = vec![0; 4];
    content.extend(boxed(*b"hdlr", &[&[0; 8], b"pict".as_slice(), &[0; 13]].concat()));
    content.extend(boxed(*b"pitm", &[0, 0, 0, 0, 0, 1]));
    content.extend(boxed(*b"iloc", &places));
    content.extend(boxed(*b"iinf", &kinds));
    if references.len() > 4 {
        content.extend(boxed(*b"iref", &references));
    }
    content.extend(boxed(*b"iprp", &properties));
    boxed(*b"meta", &content)
}
