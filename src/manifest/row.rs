//! A row of the source in its normalized form, and the columns it came in.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::cells::Cells;
use super::outcome::ImageOutcome;
use super::problem::Code;

/// One product: written once into a shard, read by every later stage.
#[derive(Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(from = "StoredRow<'_>")]
pub struct Row {
    /// Position in the source, counted from 1 without the header.
    pub row: u64,
    /// The cells as they stand in the source, in its column order. A skipped row may have more cells
    /// than the source has columns.
    pub cells: Vec<String>,
    /// The image URLs as they are fetched; empty only when the row is skipped.
    pub urls: Vec<String>,
    /// What is wrong with a row that was skipped; empty for all others.
    pub skipped: Vec<Code>,
    /// In a retry's shard, for each URL the result that the earlier batch has of it; empty for all others.
    pub kept: Vec<Option<ImageOutcome>>,
}

/// A row as it stands in a shard.
#[derive(Serialize, Deserialize)]
struct StoredRow<'a> {
    row: u64,
    cells: Vec<Cow<'a, str>>,
    urls: Vec<Cow<'a, str>>,
    /// The cell that is left empty because it is the URLs, joined by commas, as it nearly always is.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<usize>,
    #[serde(default, skip_serializing_if = "<[Code]>::is_empty")]
    skipped: Cow<'a, [Code]>,
    #[serde(default, skip_serializing_if = "<[Option<ImageOutcome>]>::is_empty")]
    kept: Cow<'a, [Option<ImageOutcome>]>,
}

impl From<StoredRow<'_>> for Row {
    fn from(stored: StoredRow<'_>) -> Self {
        let StoredRow { row, cells, urls, joined, skipped, kept } = stored;
        let mut cells: Vec<String> = cells.into_iter().map(Cow::into_owned).collect();
        let urls: Vec<String> = urls.into_iter().map(Cow::into_owned).collect();
        if let Some(cell) = joined.and_then(|index| cells.get_mut(index)) {
            *cell = urls.join(",");
        }
        Self { row, cells, urls, skipped: skipped.into_owned(), kept: kept.into_owned() }
    }
}

impl Row {
    /// Writes the row as JSON, from which it is read.
    pub fn write_json(&self, json: &mut Vec<u8>) -> serde_json::Result<()> {
        let stored = StoredRow {
            row: self.row,
            cells: self.cells.iter().map(Cow::from).collect(),
            urls: self.urls.iter().map(Cow::from).collect(),
            joined: None,
            skipped: self.skipped.as_slice().into(),
            kept: self.kept.as_slice().into(),
        };
        serde_json::to_writer(json, &stored)
    }
}

/// A row as validation hands it on: the same fields, borrowed until the next row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowView<'a> {
    /// Position in the source, counted from 1 without the header.
    pub row: u64,
    /// The cells as they stand in the source.
    pub cells: Cells<'a>,
    /// Index of the cell with the image URLs.
    pub image_urls: usize,
    /// The image URLs as they are fetched.
    pub urls: Cells<'a>,
    /// Whether the URLs stand in their cell like this and in this order, with separators around them;
    /// false where nobody looked.
    pub unchanged: bool,
    /// What is wrong with a row that was skipped.
    pub skipped: &'a [Code],
}

impl RowView<'_> {
    /// Returns the row to keep.
    #[must_use]
    pub fn to_row(self) -> Row {
        Row {
            row: self.row,
            cells: self.cells.to_vec(),
            urls: self.urls.to_vec(),
            skipped: self.skipped.to_vec(),
            kept: Vec::new(),
        }
    }

    /// Writes the row as JSON, from which a [`Row`] is read.
    pub fn write_json(self, json: &mut Vec<u8>) -> std::io::Result<()> {
        let joined = self.are_urls_joined().then_some(self.image_urls);
        if joined.is_some() && self.skipped.is_empty() && !self.cells.any_byte(is_escaped) {
            return self.write_plain(json);
        }
        let cells = self.cells.iter().enumerate();
        let cells = cells.map(|(index, cell)| if joined == Some(index) { "" } else { cell }.into()).collect();
        let urls = self.urls.iter().map(Cow::from).collect();
        Ok(serde_json::to_writer(
            json,
            &StoredRow { row: self.row, cells, urls, joined, skipped: self.skipped.into(), kept: Cow::default() },
        )?)
    }

    /// Writes a row as nearly all are: nothing is to be escaped, the URLs are joined, nothing is wrong.
    /// It is what [`StoredRow`] would write, in a third of the instructions.
    fn write_plain(self, json: &mut Vec<u8>) -> std::io::Result<()> {
        json.extend_from_slice(b"{\"row\":");
        serde_json::to_writer(&mut *json, &self.row)?;
        json.extend_from_slice(b",\"cells\":[\"");
        for (index, cell) in self.cells.bytes_of_each().enumerate() {
            if index > 0 {
                json.extend_from_slice(b"\",\"");
            }
            if index != self.image_urls {
                json.extend_from_slice(cell);
            }
        }
        json.extend_from_slice(b"\"],\"urls\":[\"");
        for (index, url) in self.urls.bytes_of_each().enumerate() {
            if index > 0 {
                json.extend_from_slice(b"\",\"");
            }
            json.extend_from_slice(url);
        }
        json.extend_from_slice(b"\"],\"joined\":");
        serde_json::to_writer(&mut *json, &self.image_urls)?;
        json.push(b'}');
        Ok(())
    }

    /// Returns whether the cell with the URLs is nothing but these, joined by commas.
    fn are_urls_joined(&self) -> bool {
        let (cell, urls) = (self.cells.get(self.image_urls).as_bytes(), self.urls);
        // Between two URLs is at least one separator, so by this length there is one and none elsewhere.
        self.unchanged
            && cell.len() + 1 == urls.bytes() + urls.len()
            && urls.ends().zip(0..).take(urls.len() - 1).all(|(end, before)| cell.get(end + before) == Some(&b','))
    }
}

/// Returns whether JSON escapes the byte.
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep the loop from becoming vector instructions")]
fn is_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// The source's header and which of its columns mean what.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Columns {
    /// All names, as the header writes them.
    pub names: Vec<String>,
    /// Index of the serial number.
    pub serial_number: usize,
    /// Index of the product's name.
    pub name: usize,
    /// Index of the image URLs.
    pub image_urls: usize,
}

/// A column that a source must have, and the names it is known by. A header's name is compared by its
/// letters and digits alone, in lower case.
#[derive(Debug)]
pub struct Required {
    /// The name that messages use.
    pub standard: &'static str,
    /// Names that mean this column; two columns with such names contradict each other.
    pub names: &'static [&'static str],
    /// Names of shop exports that stand in for it where no column has one of the names above, the
    /// best first.
    pub stand_ins: &'static [&'static str],
}

/// The columns that a source must have: serial number, product name, image URLs.
pub const REQUIRED: [Required; 3] = [
    Required {
        standard: "S. No.",
        names: &["sno", "slno", "srno", "serialno", "serialnumber", "serial"],
        stand_ins: &[
            "no",
            "nr",
            "number",
            "sku",
            "variantsku",
            "articlenumber",
            "itemnumber",
            "productid",
            "id",
            "handle",
        ],
    },
    Required {
        standard: "Product Name",
        names: &["productname", "product", "name"],
        stand_ins: &["producttitle", "title", "itemname"],
    },
    Required {
        standard: "Input Image Urls",
        names: &["inputimageurls", "inputimageurl", "imageurls", "imageurl", "images", "urls"],
        stand_ins: &[
            "imagelinks",
            "imagelink",
            "imagesrc",
            "pictures",
            "pictureurl",
            "picture",
            "photos",
            "image",
            "url",
        ],
    },
];

impl Columns {
    /// Returns the columns of sources without a header of their own.
    #[must_use]
    pub fn standard() -> Self {
        let names = REQUIRED.iter().map(|it| it.standard.to_owned()).collect();
        Self { names, serial_number: 0, name: 1, image_urls: 2 }
    }
}

/// Returns a header's name in the form that names are compared in.
#[must_use]
pub fn normalize_name(name: &str) -> String {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cells::TextBuffer;
    use super::*;

    fn buffer(strings: &[String]) -> TextBuffer {
        let mut buffer = TextBuffer::default();
        for string in strings {
            buffer.push(string);
        }
        buffer
    }

    proptest! {
        #[test]
        fn a_row_is_read_as_it_was_written(
            row in 1..u64::MAX,
            mut cells in prop::collection::vec("[a-z \"\\\\\n\u{0}-\u{1f}ü👟]{0,40}", 0..4),
            urls in prop::collection::vec("[a-z:/]{0,40}", 0..3),
            joined in any::<bool>(),
            plain in any::<bool>(),
            separator in "[,;]|, ",
            skipped in prop::sample::subsequence(vec![Code::InvalidUrl, Code::CellCount], 0..=2),
        ) {
            if plain {
                for cell in &mut cells {
                    cell.retain(char::is_alphanumeric);
                }
            }
            if joined {
                cells.insert(0, urls.join(&separator));
            }
            let (cell_buffer, url_buffer) = (buffer(&cells), buffer(&urls));
            let (cells, urls) = (cell_buffer.cells(), url_buffer.cells());
            let view = RowView { row, cells, image_urls: 0, urls, unchanged: joined, skipped: &skipped };
            let mut json = Vec::new();
            view.write_json(&mut json).expect("a Vec grows");
            let row: Row = serde_json::from_slice(&json).expect("JSON");
            prop_assert_eq!(row, view.to_row());
        }
    }
}
