//! The rules that a row has to meet. A row with a problem is noted and skipped; the pass goes on.

use std::borrow::Cow;

use super::cells::{CellBuffer, Cells, TextBuffer};
use super::formula::unescape;
use super::problem::{Code, MAX_LISTED, MAX_LISTED_WARNINGS, Problem, Problems, shorten};
use super::record::Record;
use super::report::ERRORS_COLUMN;
use super::row::{Columns, RowView};
use super::serial::SeenSerials;
use super::source::{Rules, Summary};
use super::text::windows_1252;
use super::url_cell::{self, UrlError, UrlReader};
use crate::api::source::{OnDuplicate, OnInvalidRow, Product};

/// The state of one pass over a source.
pub(super) struct Pass<'a> {
    summary: Summary,
    rules: &'a Rules,
    delimiter: u8,
    seen: SeenSerials,
    text: TextBuffer,
    urls: TextBuffer,
    reader: UrlReader,
    /// Whether the current row's URLs are used as they stand.
    unchanged: bool,
    /// Whether the source is a report of ours, whose cells are escaped.
    escaped: bool,
    /// The problems of the current row.
    codes: Vec<Code>,
}

/// Bytes of a finding's value.
const MAX_VALUE: usize = 200;
/// URLs of a row that are compared with each other; beyond it costs would grow with their square.
const MAX_COMPARED: usize = 100;

impl<'a> Pass<'a> {
    pub(super) fn new(rules: &'a Rules) -> Self {
        Self {
            summary: Summary::empty(),
            rules,
            delimiter: b',',
            seen: SeenSerials::default(),
            text: TextBuffer::default(),
            urls: TextBuffer::default(),
            reader: UrlReader::default(),
            unchanged: false,
            escaped: false,
            codes: Vec::new(),
        }
    }

    pub(super) fn set_columns(&mut self, mut columns: Columns, delimiter: u8) {
        self.escaped = columns.names.iter().any(|name| name == ERRORS_COLUMN);
        if self.escaped {
            columns.names.iter_mut().for_each(|name| *name = unescape(name).to_owned());
        }
        self.summary.columns = columns;
        self.delimiter = delimiter;
    }

    pub(super) fn rows(&self) -> u64 {
        self.summary.rows
    }

    pub(super) fn refuse(mut self, problem: Problem) -> Summary {
        self.summary.refuse(problem);
        self.summary
    }

    pub(super) fn refuse_all(mut self, problems: Problems) -> Summary {
        self.summary.problems = problems;
        self.summary.broken = true;
        self.summary
    }

    pub(super) fn finish(self) -> Summary {
        if self.summary.rows > 0 {
            return self.summary;
        }
        self.refuse(Problem::of_file(Code::NoRows, "there is no row below the header", "add at least one product"))
    }

    /// Checks a record; returns its row when it is to be handed on.
    pub(super) fn check_record(&mut self, record: &mut Record) -> Option<RowView<'_>> {
        self.begin_row();
        let line = Some(record.line);
        self.check_form(record);
        // The cells' memory is this pass's until the next record.
        let mut text = std::mem::take(&mut self.text);
        if let Err(index) = record.cells.move_to(&mut text) {
            self.note_encoding(record, index);
            record.cells.move_to_lossy(&mut text);
        }
        if self.codes.is_empty() {
            let cells = text.cells();
            let urls = cells.get(self.summary.columns.image_urls);
            self.check_cells(cells, line);
            self.check_urls(url_cell::split(urls), url_cell::is_plain(urls), line);
        }
        self.text = text;
        self.end_row()
    }

    /// Checks a product that is no record of a file; its URLs are given one by one.
    pub(super) fn check_product(&mut self, product: &Product) -> Option<RowView<'_>> {
        self.begin_row();
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        text.push(&product.serial_number);
        text.push(&product.name);
        text.push(&product.image_urls.join(","));
        self.check_cells(text.cells(), None);
        let is_plain = product.image_urls.iter().all(|url| url_cell::is_plain(url));
        self.check_urls(product.image_urls.iter().map(String::as_str), is_plain, None);
        self.text = text;
        self.end_row()
    }

    fn begin_row(&mut self) {
        self.summary.rows += 1;
        self.codes.clear();
        self.urls.clear();
    }

    /// Returns the row when it is good, or when rows that are not are handed on as skipped.
    fn end_row(&mut self) -> Option<RowView<'_>> {
        if self.codes.is_empty() {
            self.summary.images += self.urls.cells().len() as u64;
        } else {
            if self.rules.validation.on_invalid_row == OnInvalidRow::Reject {
                return None;
            }
            self.summary.skipped += 1;
            self.urls.clear();
            self.codes.dedup();
        }
        let (row, cells, urls) = (self.summary.rows, self.text.cells(), self.urls.cells());
        let image_urls = self.summary.columns.image_urls;
        Some(RowView { row, cells, image_urls, urls, unchanged: self.unchanged, skipped: &self.codes })
    }

    /// Checks quotes and the number of cells: whether the record can be understood at all.
    fn check_form(&mut self, record: &mut Record) {
        let (line, cells) = (Some(record.line), &mut record.cells);
        if let Some((_, cell)) = record.flaw {
            let hint = "write a quote inside of a quoted cell twice";
            self.note(line, Some(cell), Code::StrayQuote, || {
                (cells.get(cell).map(lossy), "the cell goes on behind its closing quote".to_owned(), hint)
            });
        } else {
            self.fit_to_header(cells, line);
        }
        cells.pad(self.summary.columns.names.len());
        if self.escaped {
            unescape_all(cells);
        }
    }

    fn note_encoding(&mut self, record: &Record, index: usize) {
        let value = record.cells.get(index).unwrap_or_default();
        self.note(Some(record.line), Some(index), Code::NotUtf8, || {
            let as_windows = shorten(&windows_1252(value), MAX_VALUE);
            let message = format!("the cell is not UTF-8; read as Windows-1252 it is {as_windows:?}");
            (Some(lossy(value)), message, "save the sheet as CSV UTF-8")
        });
    }

    /// Gives the row as many cells as the header has, where what is missing or too much is harmless.
    fn fit_to_header(&mut self, cells: &mut CellBuffer, line: Option<u64>) {
        let Columns { ref names, serial_number, name, image_urls } = self.summary.columns;
        let (expected, found) = (names.len(), cells.len());
        if found == expected {
            return;
        }
        let behind = |first| cells.iter().skip(first).map(<[u8]>::trim_ascii).filter(|cell| !cell.is_empty());
        if found > expected && behind(expected).next().is_none() {
            // Trailing delimiters.
            cells.truncate(expected);
        } else if found > expected && image_urls + 1 == expected && behind(image_urls).all(begins_with_http) {
            cells.join(image_urls, self.delimiter);
            self.warn(line, Some(image_urls), Code::UnquotedUrls, || {
                let message = "the URLs are not quoted; the row's last cells were taken for one".to_owned();
                (None, message, "quote cells that contain the delimiter")
            });
        } else if found < expected && found > serial_number.max(name).max(image_urls) {
            cells.pad(expected);
            self.warn(line, None, Code::MissingCells, || {
                let message = format!("the row has {found} cells and the header has {expected}; the last are empty");
                (None, message, "write a delimiter for every column")
            });
        } else {
            self.note(line, None, Code::CellCount, || {
                let message = format!("the row has {found} cells and the header has {expected}");
                (None, message, "quote cells that contain the delimiter or a line break")
            });
        }
    }

    fn check_cells(&mut self, cells: Cells<'_>, line: Option<u64>) {
        let Columns { serial_number, name, image_urls, .. } = self.summary.columns;
        let max = self.rules.limits.max_cell_bytes;
        let too_large = |(index, cell): &(usize, &str)| cell.len() > max && *index != image_urls;
        let may_be_too_large = if cells.bytes() > max { cells.len() } else { 0 };
        for (index, cell) in cells.iter().enumerate().take(may_be_too_large).filter(too_large) {
            self.note(line, Some(index), Code::CellTooLarge, || {
                let message = format!("the cell has {} bytes, more than the limit of {max}", cell.len());
                (Some(cell.to_owned()), message, "shorten the cell")
            });
        }
        if trim(cells.get(name)).is_empty() {
            self.note(line, Some(name), Code::MissingProductName, || {
                (None, "the product name is empty".to_owned(), "name every product")
            });
        }
        let serial = trim(cells.get(serial_number));
        if serial.is_empty() {
            self.note(line, Some(serial_number), Code::MissingSerialNumber, || {
                (None, "the serial number is empty".to_owned(), "number every product")
            });
            return;
        }
        // Rows are limited to far fewer; without a limit the row that is named may be wrong.
        let row = u32::try_from(self.summary.rows).unwrap_or(u32::MAX);
        let Some(first) = self.seen.insert(serial, row) else { return };
        let finding = || {
            let message = format!("row {first} has the same serial number");
            (Some(serial.to_owned()), message, "give every product a serial number of its own")
        };
        match self.rules.validation.on_duplicate_serial_number {
            OnDuplicate::Warn => self.warn(line, Some(serial_number), Code::DuplicateSerialNumber, finding),
            OnDuplicate::Reject => self.note(line, Some(serial_number), Code::DuplicateSerialNumber, finding),
        }
    }

    fn check_urls<'u>(&mut self, pieces: impl Iterator<Item = &'u str>, is_plain: bool, line: Option<u64>) {
        let column = Some(self.summary.columns.image_urls);
        let limits = self.rules.limits;
        let mut found = 0;
        self.unchanged = true;
        for piece in pieces {
            found += 1;
            if found > limits.max_urls {
                continue;
            }
            match self.reader.normalize(piece, is_plain, limits.max_url_length) {
                Ok(url) => {
                    let is_changed = matches!(url, Cow::Owned(_));
                    self.unchanged &= !is_changed;
                    self.warn_of_url(piece, &url, is_changed, line);
                    self.urls.push(&url);
                }
                Err(error) => self.note_url(piece, &error, line),
            }
        }
        if found > limits.max_urls {
            self.note(line, column, Code::TooManyUrls, || {
                let message = format!("the row has {found} URLs, more than the limit of {}", limits.max_urls);
                (None, message, "spread the images over several rows")
            });
        } else if found == 0 {
            self.note(line, column, Code::MissingImageUrl, || {
                (None, "the row has no image URL".to_owned(), "give at least one http(s) URL")
            });
        }
    }

    fn note_url(&mut self, piece: &str, error: &UrlError, line: Option<u64>) {
        let (code, hint) = match error {
            UrlError::Invalid(_) => (Code::InvalidUrl, "give a full URL such as https://shop.example/1.jpg"),
            UrlError::TooLong { .. } => (Code::UrlTooLong, "shorten the URL"),
        };
        let column = Some(self.summary.columns.image_urls);
        self.note(line, column, code, || (Some(piece.to_owned()), error.to_string(), hint));
    }

    /// Notes what is doubtful about a good URL that is about to be added to the row's.
    fn warn_of_url(&mut self, piece: &str, url: &str, is_changed: bool, line: Option<u64>) {
        let column = Some(self.summary.columns.image_urls);
        let mut warn = |code, message: &str, hint| {
            self.warn(line, column, code, || (Some(piece.to_owned()), message.to_owned(), hint));
        };
        if url.starts_with("http:") {
            warn(Code::InsecureUrl, "the URL is http: the image can be changed on the way", "use https");
        }
        // What is used as it stands has no spaces.
        if is_changed && piece.contains(' ') {
            let hint = "separate URLs by a comma, and begin each with http:// or https://";
            warn(Code::SpaceInUrl, "the URL contains spaces, which are sent as %20", hint);
        }
        if self.urls.cells().bytes_of_each().take(MAX_COMPARED).any(|earlier| earlier == url.as_bytes()) {
            self.warn(line, column, Code::DuplicateUrl, || {
                let message = "the row has the same URL twice".to_owned();
                (Some(piece.to_owned()), message, "name each image once")
            });
        }
    }

    /// Notes a problem of the current row. Its value, message and hint are made only if it is listed.
    fn note(&mut self, line: Option<u64>, column: Option<usize>, code: Code, finding: impl FnOnce() -> Finding) {
        self.codes.push(code);
        let Summary { rows, columns, problems, .. } = &mut self.summary;
        problems.note(code, MAX_LISTED, || problem(line, *rows, &columns.names, column, code, finding()));
    }

    fn warn(&mut self, line: Option<u64>, column: Option<usize>, code: Code, finding: impl FnOnce() -> Finding) {
        let Summary { rows, columns, warnings, .. } = &mut self.summary;
        warnings.note(code, MAX_LISTED_WARNINGS, || problem(line, *rows, &columns.names, column, code, finding()));
    }
}

/// A finding's value, message and hint.
type Finding = (Option<String>, String, &'static str);

fn problem(
    line: Option<u64>,
    row: u64,
    names: &[String],
    column: Option<usize>,
    code: Code,
    (value, message, hint): Finding,
) -> Problem {
    Problem {
        line,
        row: Some(row),
        column: column.and_then(|index| names.get(index).cloned()),
        code,
        value: value.map(|it| shorten(&it, MAX_VALUE)),
        message,
        hint: hint.to_owned(),
    }
}

/// Trims white space, which few cells have.
fn trim(cell: &str) -> &str {
    match cell.as_bytes() {
        [b'!'..=b'~'] | [b'!'..=b'~', .., b'!'..=b'~'] => cell,
        _ => cell.trim(),
    }
}

fn unescape_all(cells: &mut CellBuffer) {
    let mut plain = CellBuffer::default();
    // What is not UTF-8 is named later, and is not ours.
    let unescaped = |cell| std::str::from_utf8(cell).map_or(cell, |text| unescape(text).as_bytes());
    cells.iter().for_each(|cell| plain.push(unescaped(cell)));
    *cells = plain;
}

fn begins_with_http(cell: &[u8]) -> bool {
    let begins = |scheme: &[u8]| cell.get(..scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme));
    begins(b"http://") || begins(b"https://")
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
