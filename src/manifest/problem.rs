//! What is wrong with a source, or doubtful: each finding with its place, a stable code and a way to
//! mend it. `docs/error-codes.md` explains every code.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Problems that are listed; further ones are only counted.
pub const MAX_LISTED: usize = 1_000;
/// Warnings that are listed; further ones are only counted.
pub const MAX_LISTED_WARNINGS: usize = 100;

/// The stable code of a problem or warning. The words are part of the API.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[schemars(rename = "SourceProblemCode")]
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
    /// Text follows a cell's closing quote.
    StrayQuote,
    /// A quote is never closed.
    UnclosedQuote,
    /// The serial number is empty.
    MissingSerialNumber,
    /// An earlier row has the same serial number; a warning unless the batch asks for a problem.
    DuplicateSerialNumber,
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
    /// A cell is larger than the limit.
    CellTooLarge,
    /// One record is larger than the limit, mostly because a quote is never closed.
    RecordTooLarge,
    /// The source has more rows than the limit.
    TooManyRows,
    /// The source has more bytes than the limit.
    SourceTooLarge,
    /// The source is not there, or is not this namespace's.
    SourceMissing,
    /// The source's URL cannot be fetched.
    SourceUnavailable,
    /// The stored CSV is not the one that was uploaded.
    SourceChanged,
    /// Warning: a URL is http, so anybody on the way can change the image.
    InsecureUrl,
    /// Warning: a row has the same URL twice.
    DuplicateUrl,
    /// Warning: a URL contains spaces, which were encoded; it may be two URLs.
    SpaceInUrl,
    /// Warning: a row's URLs are separated by the delimiter without quotes, and were joined.
    UnquotedUrls,
    /// Warning: a row ends before the header's last columns, which are taken as empty.
    MissingCells,
    /// Warning: the quality is lower than what shows no damage.
    LowQuality,
}

impl Code {
    /// Every code, in the order of their declaration.
    pub const ALL: [Self; 29] = [
        Self::EmptyFile,
        Self::NotCsv,
        Self::NotUtf8,
        Self::MissingColumn,
        Self::DuplicateColumn,
        Self::NoRows,
        Self::CellCount,
        Self::StrayQuote,
        Self::UnclosedQuote,
        Self::MissingSerialNumber,
        Self::DuplicateSerialNumber,
        Self::MissingProductName,
        Self::MissingImageUrl,
        Self::InvalidUrl,
        Self::UrlTooLong,
        Self::TooManyUrls,
        Self::CellTooLarge,
        Self::RecordTooLarge,
        Self::TooManyRows,
        Self::SourceTooLarge,
        Self::SourceMissing,
        Self::SourceUnavailable,
        Self::SourceChanged,
        Self::InsecureUrl,
        Self::DuplicateUrl,
        Self::SpaceInUrl,
        Self::UnquotedUrls,
        Self::MissingCells,
        Self::LowQuality,
    ];
}

impl std::fmt::Display for Code {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The variant's name is the code.
        write!(formatter, "{self:?}")
    }
}

/// One problem and where it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[schemars(rename = "SourceProblem")]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Line of the file that the row begins in, counted from 1; absent where there is no file.
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

impl Problem {
    /// Returns a problem of the file as a whole.
    #[must_use]
    pub fn of_file(code: Code, message: &str, hint: &str) -> Self {
        Self { line: Some(1), ..Self::of_source(code, message, hint) }
    }

    /// Returns a problem of a source that is no file, or could not be read at all.
    #[must_use]
    pub fn of_source(code: Code, message: &str, hint: &str) -> Self {
        let (message, hint) = (message.to_owned(), hint.to_owned());
        Self { line: None, row: None, column: None, code, value: None, message, hint }
    }
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

/// All findings of one kind: the first in full, all of them counted by code.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Problems {
    /// The first findings, in the file's order.
    pub listed: Vec<Problem>,
    /// How many findings there are of each code.
    pub counts: BTreeMap<Code, u64>,
}

impl Problems {
    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.note(problem.code, MAX_LISTED, || problem);
    }

    /// Counts a finding, and lists it while fewer than `max_listed` are.
    pub fn note(&mut self, code: Code, max_listed: usize, finding: impl FnOnce() -> Problem) {
        *self.counts.entry(code).or_default() += 1;
        if self.listed.len() < max_listed {
            self.listed.push(finding());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_codes_is_complete() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index, "{code}");
        }
        assert_eq!(Code::LowQuality as usize + 1, Code::ALL.len(), "the last code of the enum");
    }

    #[test]
    fn values_are_cut_between_characters() {
        assert_eq!(shorten("aäb", 2), "a…");
        assert_eq!(shorten("aäb", 4), "aäb");
    }
}
