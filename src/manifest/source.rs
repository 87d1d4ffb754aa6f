//! Reads and validates a source in one streaming pass: CSV bytes or inline products to rows.
//!
//! Memory is one record and the list of problems, whatever the source's size. All problems are
//! found, not only the first one.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::input::Input;
use super::problem::{Code, Problem, Problems, shorten};
use super::row::{Columns, REQUIRED, Row, normalize_name};
use super::url_cell::{self, UrlError};
use crate::api::image_batch::Product;

/// Bounds of a source; what exceeds one is refused by name.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most rows.
    pub max_rows: u64,
    /// Most URLs of one row.
    pub max_urls: usize,
    /// Most bytes of one URL.
    pub max_url_length: usize,
    /// Most bytes of one record.
    pub max_record_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_rows: 1_000_000, max_urls: 100, max_url_length: 2_048, max_record_bytes: 256 * 1024 }
    }
}

/// What a pass over a source found.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The columns; the standard ones when the header could not be read.
    pub columns: Columns,
    /// Rows, the bad ones included.
    pub rows: u64,
    /// Image URLs of the good rows.
    pub images: u64,
    /// Everything that is wrong.
    pub problems: Problems,
}

impl Summary {
    /// Returns the summary of a source that nothing was read of.
    #[must_use]
    pub fn empty() -> Self {
        Self { columns: Columns::standard(), rows: 0, images: 0, problems: Problems::default() }
    }
}

/// Why a pass could not be made at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadSourceError {
    /// The bytes could not be read.
    #[error("failed to read the source")]
    Read(#[source] std::io::Error),
    /// The consumer of rows failed.
    #[error("failed to hand on row {row}")]
    HandOn {
        /// The row.
        row: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Reads a CSV, calls `accept` for each good row in order, and returns what was found.
pub fn read_csv(
    mut bytes: impl Read,
    limits: &Limits,
    mut accept: impl FnMut(Row) -> std::io::Result<()>,
) -> Result<Summary, ReadSourceError> {
    // A stream may deliver its first bytes one by one.
    let mut first = Vec::new();
    bytes.by_ref().take(BUFFER as u64).read_to_end(&mut first).map_err(ReadSourceError::Read)?;
    let first = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&first);
    if let Some(problem) = refuse_other_formats(first) {
        return Ok(Pass::new(limits).refuse(problem));
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(detect_delimiter(first))
        .buffer_capacity(BUFFER)
        .from_reader(Input::new(first.chain(bytes)));

    let mut record = csv::ByteRecord::new();
    let mut pass = Pass::new(limits);
    let mut header = true;
    loop {
        // Delimiters and quotes count as well, and the reader reads ahead; the exact check follows.
        reader.get_mut().grant(2 * limits.max_record_bytes + BUFFER);
        let start = reader.position().byte();
        let read = reader.read_byte_record(&mut record);
        let line = reader.get_mut().line_at(start);
        match read {
            Ok(true) if record.as_slice().len() <= limits.max_record_bytes => {}
            Ok(false) => break,
            Err(error) if !reader.get_ref().is_spent() => return Err(ReadSourceError::Read(error.into())),
            Ok(true) | Err(_) => return Ok(pass.refuse(record_too_large(line, limits))),
        }
        if header {
            match read_header(&record, line) {
                Ok(columns) => pass.summary.columns = columns,
                Err(problems) => {
                    pass.summary.problems = problems;
                    return Ok(pass.summary);
                }
            }
            header = false;
            continue;
        }
        if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
            continue;
        }
        if pass.summary.rows >= limits.max_rows {
            return Ok(pass.refuse(too_many_rows(line, limits)));
        }
        if let Some(row) = pass.check_record(&record, line) {
            let number = row.row;
            accept(row).map_err(|source| ReadSourceError::HandOn { row: number, source })?;
        }
    }
    Ok(pass.finish())
}

/// Reads inline products by the same rules as a CSV.
pub fn read_products(
    products: &[Product],
    limits: &Limits,
    mut accept: impl FnMut(Row) -> std::io::Result<()>,
) -> Result<Summary, ReadSourceError> {
    let mut pass = Pass::new(limits);
    for product in products {
        pass.summary.rows += 1;
        let pieces: Vec<&str> = product.image_urls.iter().map(String::as_str).collect();
        let cells = vec![product.serial_number.clone(), product.name.clone(), product.image_urls.join(",")];
        if let Some(row) = pass.check_row(cells, &pieces, None) {
            let number = row.row;
            accept(row).map_err(|source| ReadSourceError::HandOn { row: number, source })?;
        }
    }
    Ok(pass.finish())
}

const BUFFER: usize = 64 * 1024;

/// The state of one pass.
struct Pass<'a> {
    summary: Summary,
    limits: &'a Limits,
}

impl<'a> Pass<'a> {
    fn new(limits: &'a Limits) -> Self {
        Self { summary: Summary::empty(), limits }
    }

    fn refuse(mut self, problem: Problem) -> Summary {
        self.summary.problems.push(problem);
        self.summary
    }

    fn finish(self) -> Summary {
        if self.summary.rows > 0 {
            return self.summary;
        }
        self.refuse(file_problem(Code::NoRows, "there is no row below the header", "add at least one product"))
    }

    /// Returns the row of a record, or notes what is wrong with it.
    fn check_record(&mut self, record: &csv::ByteRecord, line: u64) -> Option<Row> {
        self.summary.rows += 1;
        let expected = self.summary.columns.names.len();
        if record.len() != expected {
            let message = format!("the row has {} cells and the header has {expected}", record.len());
            self.note(Some(line), None, Code::CellCount, None, message, "quote cells that contain the delimiter");
            return None;
        }
        let mut cells = Vec::with_capacity(expected);
        for (index, cell) in record.iter().enumerate() {
            if let Ok(text) = std::str::from_utf8(cell) {
                cells.push(text.to_owned());
            } else {
                let value = String::from_utf8_lossy(cell);
                let message = "the cell is not UTF-8".to_owned();
                self.note(Some(line), Some(index), Code::NotUtf8, Some(&value), message, "save the file as CSV UTF-8");
                return None;
            }
        }
        let urls = cells[self.summary.columns.image_urls].clone();
        self.check_row(cells, &url_cell::split(&urls), Some(line))
    }

    fn check_row(&mut self, cells: Vec<String>, pieces: &[&str], line: Option<u64>) -> Option<Row> {
        let before = self.summary.problems.total();
        let Columns { serial_number, name, image_urls, .. } = self.summary.columns;
        if cells[serial_number].trim().is_empty() {
            let message = "the serial number is empty".to_owned();
            self.note(line, Some(serial_number), Code::MissingSerialNumber, None, message, "number every product");
        }
        if cells[name].trim().is_empty() {
            let message = "the product name is empty".to_owned();
            self.note(line, Some(name), Code::MissingProductName, None, message, "name every product");
        }
        if pieces.is_empty() {
            let message = "the row has no image URL".to_owned();
            self.note(line, Some(image_urls), Code::MissingImageUrl, None, message, "give at least one http(s) URL");
        }
        if pieces.len() > self.limits.max_urls {
            let message = format!("the row has {} URLs, more than the limit of {}", pieces.len(), self.limits.max_urls);
            self.note(line, Some(image_urls), Code::TooManyUrls, None, message, "spread the images over several rows");
            return None;
        }
        let mut urls = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match url_cell::normalize(piece, self.limits.max_url_length) {
                Ok(url) => urls.push(url),
                Err(error) => {
                    let (code, hint) = match error {
                        UrlError::Invalid(_) => {
                            (Code::InvalidUrl, "give a full URL such as https://shop.example/1.jpg")
                        }
                        UrlError::TooLong { .. } => (Code::UrlTooLong, "shorten the URL"),
                    };
                    self.note(line, Some(image_urls), code, Some(piece), error.to_string(), hint);
                }
            }
        }
        if self.summary.problems.total() > before {
            return None;
        }
        self.summary.images += urls.len() as u64;
        Some(Row { row: self.summary.rows, cells, urls })
    }

    fn note(
        &mut self,
        line: Option<u64>,
        column: Option<usize>,
        code: Code,
        value: Option<&str>,
        message: String,
        hint: &str,
    ) {
        self.summary.problems.push(Problem {
            line,
            row: Some(self.summary.rows),
            column: column.map(|index| self.summary.columns.names[index].clone()),
            code,
            value: value.map(|it| shorten(it, 200)),
            message,
            hint: hint.to_owned(),
        });
    }
}

fn read_header(record: &csv::ByteRecord, line: u64) -> Result<Columns, Problems> {
    let mut problems = Problems::default();
    if record.iter().any(|cell| std::str::from_utf8(cell).is_err()) {
        let problem = file_problem(Code::NotUtf8, "the header is not UTF-8", "save the file as CSV UTF-8");
        problems.push(Problem { line: Some(line), ..problem });
        return Err(problems);
    }
    let names: Vec<String> = record.iter().map(|cell| String::from_utf8_lossy(cell).trim().to_owned()).collect();
    let mut found = [0; REQUIRED.len()];
    for (place, (standard, aliases)) in found.iter_mut().zip(REQUIRED) {
        let matching: Vec<usize> =
            (0..names.len()).filter(|&index| aliases.contains(&normalize_name(&names[index]).as_str())).collect();
        let (code, message, hint) = match matching[..] {
            [index] => {
                *place = index;
                continue;
            }
            [] => (
                Code::MissingColumn,
                format!("the header has no column {standard:?}; it has {}", shorten(&names.join(", "), 200)),
                "the first line must name the columns: S. No., Product Name, Input Image Urls",
            ),
            _ => {
                (Code::DuplicateColumn, format!("the header has several columns for {standard:?}"), "keep one of them")
            }
        };
        problems.push(Problem {
            line: Some(line),
            column: Some(standard.to_owned()),
            ..file_problem(code, &message, hint)
        });
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let [serial_number, name, image_urls] = found;
    Ok(Columns { names, serial_number, name, image_urls })
}

/// Names files that are no CSV at all, so that nobody gets a thousand errors for one mistake.
fn refuse_other_formats(first: &[u8]) -> Option<Problem> {
    let start = first.trim_ascii_start();
    let lower: Vec<u8> = start.iter().take(16).map(u8::to_ascii_lowercase).collect();
    let hint = "save the sheet as CSV UTF-8";
    if start.is_empty() {
        return Some(file_problem(Code::EmptyFile, "the file is empty", "the first line must name the columns"));
    }
    if first.starts_with(&[0xff, 0xfe]) || first.starts_with(&[0xfe, 0xff]) {
        return Some(file_problem(Code::NotUtf8, "the file is UTF-16", hint));
    }
    let what = if lower.starts_with(b"pk\x03\x04") {
        "a spreadsheet's own format (.xlsx or .ods)"
    } else if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") {
        "an HTML page"
    } else if lower.starts_with(b"%pdf") {
        "a PDF"
    } else if first.contains(&0) {
        "binary data"
    } else {
        return None;
    };
    Some(file_problem(Code::NotCsv, &format!("the file is {what}, not a CSV"), hint))
}

/// Returns the delimiter that the header line has most of.
fn detect_delimiter(first: &[u8]) -> u8 {
    let lines = first.split(|&byte| byte == b'\n' || byte == b'\r');
    let line = lines.map(<[u8]>::trim_ascii).find(|line| !line.is_empty()).unwrap_or_default();
    let count = |delimiter: u8| line.split(|&byte| byte == delimiter).count();
    [b'\t', b';', b','].into_iter().max_by_key(|&delimiter| count(delimiter)).unwrap_or(b',')
}

fn file_problem(code: Code, message: &str, hint: &str) -> Problem {
    Problem {
        line: None,
        row: None,
        column: None,
        code,
        value: None,
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}

fn record_too_large(line: u64, limits: &Limits) -> Problem {
    let message = format!("the record is larger than the limit of {} bytes", limits.max_record_bytes);
    let problem = file_problem(Code::RecordTooLarge, &message, "look for a quote that is never closed");
    Problem { line: Some(line), ..problem }
}

fn too_many_rows(line: u64, limits: &Limits) -> Problem {
    let message = format!("the source has more rows than the limit of {}", limits.max_rows);
    Problem { line: Some(line), ..file_problem(Code::TooManyRows, &message, "split the file") }
}
