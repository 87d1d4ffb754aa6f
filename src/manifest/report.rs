//! Rows and their outcomes -> `output.csv` and `failed.csv`, in the input's order.
//!
//! Both have the input's columns. Cells that spreadsheets would run as formulas are escaped; a source
//! that has the reports' own column is one of them come back, and is unescaped when it is read. So
//! `failed.csv` can be uploaded as it is, as often as it takes.

use std::borrow::Cow;
use std::io::{Read, Write};

use super::formula::{escape, unescape};
use super::outcome::{FailureReason, ImageOutcome, Outcome, RowOutcome};
use super::record::{Found, Record, RecordReader};
use super::row::{Columns, Row};
use crate::api::image_batch::Report;
use crate::api::progress::Counts;
use crate::api::status::Failure;

/// The column with the new URLs: comma-joined, position i belongs to input i, empty where it failed.
pub const OUTPUT_COLUMN: &str = "Output Image Urls";
/// The column with the failures: `i:Code`, comma-joined, i counted from 1; a bare code is the row's.
pub const ERRORS_COLUMN: &str = "Image Errors";
/// The columns with each image's size before and after, in bytes, and the share that was saved, comma-joined
/// like the URLs; only where the batch asks for them.
pub const SIZE_COLUMNS: [&str; 3] = ["Input Image Bytes", "Output Image Bytes", "Image Savings"];
/// Failures that the status shows.
pub const MAX_STATUS_FAILURES: usize = 20;

/// Bound of a record of a report, which has the row and an output URL for each of its own.
const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;
/// Bytes that are collected for one write.
const BUFFER: usize = 64 * 1024;

/// Writes both reports row by row, in constant memory, and adds up the totals.
#[derive(Debug)]
pub struct ReportWriter<W: Write> {
    columns: Columns,
    sizes: bool,
    /// The input's columns that the reports have, which are all but their own.
    kept: Vec<usize>,
    output: csv::Writer<W>,
    failed: csv::Writer<W>,
    totals: Totals,
}

/// What a report adds up to; the batch's final figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Rows written.
    pub rows: i64,
    /// Counts of all images.
    pub counts: Counts,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// Of the failed images, those that were never processed.
    pub unprocessed: i64,
}

impl<W: Write> ReportWriter<W> {
    /// Starts both files with their header; `output.csv` gets the [`SIZE_COLUMNS`] where `report` says so.
    pub fn new(columns: Columns, report: Report, output: W, failed: W) -> csv::Result<Self> {
        let own =
            |name: &String| name == OUTPUT_COLUMN || name == ERRORS_COLUMN || SIZE_COLUMNS.contains(&name.as_str());
        let mut writer = Self {
            kept: (0..columns.names.len()).filter(|&index| !own(&columns.names[index])).collect(),
            output: writer(output),
            failed: writer(failed),
            totals: Totals::default(),
            sizes: report.sizes,
            columns,
        };
        let header = || writer.kept.iter().map(|&index| escape(&writer.columns.names[index]));
        let own = [OUTPUT_COLUMN, ERRORS_COLUMN].into_iter().chain(SIZE_COLUMNS).take(if writer.sizes { 5 } else { 2 });
        write(&mut writer.output, header().chain(own.map(Cow::from)))?;
        write(&mut writer.failed, header().chain([ERRORS_COLUMN.into()]))?;
        Ok(writer)
    }

    /// Writes one row. `outcome.images` must be as long as `row.urls`.
    pub fn write(&mut self, row: &Row, outcome: &RowOutcome) -> csv::Result<()> {
        self.totals.rows += 1;
        self.totals.counts += outcome.counts();
        if !row.skipped.is_empty() {
            return self.write_skipped(row);
        }
        let urls: Vec<&str> = outcome.images.iter().map(|it| it.output_url.as_deref().unwrap_or_default()).collect();
        let (urls, errors) = (urls.join(","), errors(outcome));
        let cells = self.kept.iter().map(|&index| cell(row, index));
        let sizes = if self.sizes { sizes(outcome).to_vec() } else { Vec::new() };
        let own = [urls.as_str().into(), errors.as_str().into()];
        write(&mut self.output, cells.chain(own).chain(sizes.iter().map(|cell| escape(cell))))?;

        let failed: Vec<usize> =
            (0..row.urls.len()).filter(|&index| outcome.images[index].outcome == Outcome::Failed).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let urls: Vec<&str> = failed.iter().map(|&index| row.urls[index].as_str()).collect();
        let urls = urls.join(",");
        let image_urls = self.columns.image_urls;
        let cells = self.kept.iter().map(|&index| if index == image_urls { escape(&urls) } else { cell(row, index) });
        write(&mut self.failed, cells.chain([errors.as_str().into()]))?;
        for index in failed {
            let reason = outcome.images[index].reason;
            self.totals.unprocessed += i64::from(reason == Some(FailureReason::NotProcessed));
        }
        outcome.failures().for_each(|failure| self.note(failure));
        Ok(())
    }

    /// Writes a row that was never worked on. Cells that the source has no column for come last, so
    /// that nothing of the row is lost.
    fn write_skipped(&mut self, row: &Row) -> csv::Result<()> {
        let codes: Vec<String> = row.skipped.iter().map(ToString::to_string).collect();
        let codes = codes.join(",");
        let cells = || self.kept.iter().map(|&index| cell(row, index));
        let surplus = || row.cells.iter().skip(self.columns.names.len()).map(|cell| escape(cell));
        let no_sizes = std::iter::repeat_n(Cow::from(""), if self.sizes { SIZE_COLUMNS.len() } else { 0 });
        write(&mut self.output, cells().chain(["".into(), codes.as_str().into()]).chain(no_sizes).chain(surplus()))?;
        write(&mut self.failed, cells().chain([codes.as_str().into()]).chain(surplus()))?;
        let detail = "the row was skipped".to_owned();
        self.note(Failure { row: row.row as i64, image: None, reason: codes, detail });
        Ok(())
    }

    fn note(&mut self, failure: Failure) {
        if self.totals.failures.len() < MAX_STATUS_FAILURES {
            self.totals.failures.push(failure);
        }
    }

    /// Ends both files and returns their writers and the totals.
    pub fn finish(self) -> std::io::Result<(W, W, Totals)> {
        let output = self.output.into_inner().map_err(csv::IntoInnerError::into_error)?;
        let failed = self.failed.into_inner().map_err(csv::IntoInnerError::into_error)?;
        Ok((output, failed, self.totals))
    }
}

/// Copies a report without its escaping.
pub fn unescape_report(report: impl Read, output: impl Write) -> std::io::Result<()> {
    let mut reader = RecordReader::new(report, MAX_RECORD_BYTES);
    let mut writer = writer(output);
    let mut record = Record::default();
    while reader.read(&mut record)? == Found::Record {
        let cells = record.cells.iter().map(String::from_utf8_lossy);
        write(&mut writer, cells.map(|cell| unescape(&cell).to_owned().into())).map_err(std::io::Error::from)?;
    }
    writer.flush()
}

fn writer<W: Write>(output: W) -> csv::Writer<W> {
    csv::WriterBuilder::new().flexible(true).buffer_capacity(BUFFER).from_writer(output)
}

fn write<'a, W: Write>(writer: &mut csv::Writer<W>, cells: impl Iterator<Item = Cow<'a, str>>) -> csv::Result<()> {
    for cell in cells {
        writer.write_field(cell.as_bytes())?;
    }
    writer.write_record(None::<&[u8]>)
}

fn cell(row: &Row, index: usize) -> Cow<'_, str> {
    escape(row.cells.get(index).map(String::as_str).unwrap_or_default())
}

/// Returns the cells of the [`SIZE_COLUMNS`]; the place of a failed image is left empty.
fn sizes(outcome: &RowOutcome) -> [String; 3] {
    let join = |value: fn(&ImageOutcome) -> String| {
        let values = outcome.images.iter();
        let values = values.map(|it| if it.outcome == Outcome::Failed { String::new() } else { value(it) });
        values.collect::<Vec<_>>().join(",")
    };
    [
        join(|image| image.bytes_in.to_string()),
        join(|image| image.bytes_out.to_string()),
        join(|image| format!("{}%", (image.bytes_in - image.bytes_out) * 100 / image.bytes_in.max(1))),
    ]
}

fn errors(outcome: &RowOutcome) -> String {
    let failures = outcome.images.iter().enumerate();
    let failures = failures.filter_map(|(index, image)| Some(format!("{}:{}", index + 1, image.reason?.as_str())));
    failures.collect::<Vec<_>>().join(",")
}
