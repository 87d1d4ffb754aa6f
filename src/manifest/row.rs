//! A row of the source in its normalized form, and the columns it came in.

use serde::{Deserialize, Serialize};

/// One product: written once into a shard, read by every later stage.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Position in the source, counted from 1 without the header.
    pub row: u64,
    /// The cells as they stand in the source, in its column order.
    pub cells: Vec<String>,
    /// The image URLs as they are fetched; never empty.
    pub urls: Vec<String>,
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

/// The columns that a source must have, with the names they are known by.
/// A header's name is compared by its letters and digits alone, in lower case.
pub const REQUIRED: [(&str, &[&str]); 3] = [
    ("S. No.", &["sno", "slno", "srno", "serialno", "serialnumber", "serial"]),
    ("Product Name", &["productname", "product", "name"]),
    ("Input Image Urls", &["inputimageurls", "inputimageurl", "imageurls", "imageurl", "images", "urls"]),
];

impl Columns {
    /// Returns the columns of sources without a header of their own.
    #[must_use]
    pub fn standard() -> Self {
        Self {
            names: REQUIRED.iter().map(|(name, _)| (*name).to_owned()).collect(),
            serial_number: 0,
            name: 1,
            image_urls: 2,
        }
    }
}

/// Returns a header's name in the form that aliases are compared in.
#[must_use]
pub fn normalize_name(name: &str) -> String {
    name.chars().filter(|it| it.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
