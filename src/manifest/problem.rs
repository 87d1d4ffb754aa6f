//! What is wrong with a source: every problem with its place, a stable code and a way to mend it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Problems that are listed; further ones are only counted.
pub const MAX_LISTED: usize = 1_000;

/// The stable code of a problem. The words are part of the API.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// The file has no bytes.
    EmptyFile,
    /// The file is not a CSV, for example an HTML page or a spreadsheet's own format.
    NotCsv,
    /// The file, or a cell, is not UTF-8.
    NotUtf8,
    /// A required column is missing in the header.
    MissingColumn,
    /// Two columns of the header mean the same.
    DuplicateColumn,
    /// There is a header and no row below it.
    NoRows,
    /// The row has more or fewer cells than the header.
    CellCount,
    /// The serial number is empty.
    MissingSerialNumber,
    /// The product's name is empty.
    MissingProductName,
    /// The row has no image URL.
    MissingImageUrl,
    /// A URL cannot be parsed or is not http(s).
    InvalidUrl,
    /// A URL is longer than the limit.
    UrlTooLong,
    /// A row has more URLs than the limit.
    TooManyUrls,
    /// The source has more rows than the limit.
    TooManyRows,
    /// One record is larger than the limit, mostly because a quote is never closed.
    RecordTooLarge,
    /// The source is not there, or is not this namespace's.
    SourceMissing,
    /// The stored CSV is not the one that was uploaded.
    SourceChanged,
}

impl std::fmt::Display for Code {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The variant's name is the code.
        write!(formatter, "{self:?}")
    }
}

/// One problem and where it is.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Line of the file, counted from 1; absent for inline products.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Row, counted from 1 without the header; absent when the problem is the header's or the file's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// The column's name as the header writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The stable code.
    pub code: Code,
    /// The offending value, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.row, self.line) {
            (Some(row), Some(line)) => write!(formatter, "row {row} (line {line}): {}", self.message),
            (Some(row), None) => write!(formatter, "row {row}: {}", self.message),
            _ => write!(formatter, "{}", self.message),
        }
    }
}

/// All problems of a source: the first [`MAX_LISTED`] in full, all of them by code.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Problems {
    /// The first problems, in the file's order.
    pub listed: Vec<Problem>,
    /// How many problems there are of each code.
    pub counts: BTreeMap<Code, u64>,
}

impl Problems {
    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        *self.counts.entry(problem.code).or_default() += 1;
        if self.listed.len() < MAX_LISTED {
            self.listed.push(problem);
        }
    }

    /// Returns how many problems there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }
}

/// Returns the value cut to at most `max` bytes at a character boundary.
#[must_use]
pub fn shorten(value: &str, max: usize) -> String {
    if value.len() <= max {
        return value.to_owned();
    }
    let mut end = max;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &value[..end])
}
