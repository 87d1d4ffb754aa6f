//! Reads and validates a source in one streaming pass: CSV bytes or inline products to rows.
//!
//! ```text
//! bytes -> text (kind of file, encoding) -> record (cells) -> header -> check (each row) -> accept
//! ```
//!
//! Memory is one record, the list of problems and the serial numbers seen, whatever the source's size.
//! All problems are found, not only the first one.

use std::io::Read;

use super::check::Pass;
use super::header::{Preamble, read_header, read_preamble};
use super::problem::{Code, Problem, Problems};
use super::record::{Flaw, Found, Record, RecordReader};
use super::row::{Columns, RowView};
use super::text;
use crate::api::source::{Product, Validation};

pub use super::limits::Limits;

/// What is valid and what happens to what is not.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rules {
    /// Bounds of the source.
    pub limits: Limits,
    /// What a valid row is, and what happens to the others.
    pub validation: Validation,
}

/// What a pass over a source found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The columns; the standard ones when the header could not be read.
    pub columns: Columns,
    /// Rows, the bad ones included.
    pub rows: u64,
    /// Of these, the rows that have a problem and are skipped.
    pub skipped: u64,
    /// Image URLs of the good rows.
    pub images: u64,
    /// Everything that is wrong.
    pub problems: Problems,
    /// Everything that is doubtful.
    pub warnings: Problems,
    /// Whether the pass ended before the source did, or found nothing to work on.
    pub broken: bool,
}

impl Summary {
    /// Returns the summary of a source that nothing was read of.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            columns: Columns::standard(),
            rows: 0,
            skipped: 0,
            images: 0,
            problems: Problems::default(),
            warnings: Problems::default(),
            broken: false,
        }
    }

    /// Returns whether the source can be worked on.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.problems.is_empty() || (!self.broken && self.skipped > 0 && self.images > 0)
    }

    /// Notes a problem of the source as a whole.
    pub fn refuse(&mut self, problem: Problem) {
        self.broken = true;
        self.problems.push(problem);
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

/// Reads a CSV, calls `accept` in order for each good row, and for each skipped one where the rules
/// skip them, and returns what was found.
pub fn read_csv(
    bytes: impl Read,
    rules: &Rules,
    mut accept: impl FnMut(RowView<'_>) -> std::io::Result<()>,
) -> Result<Summary, ReadSourceError> {
    let limits = &rules.limits;
    let mut pass = Pass::new(rules);
    // One byte more than allowed is enough to know.
    let mut bounded = bytes.take(limits.max_bytes.saturating_add(1));
    let text = match text::open(&mut bounded).map_err(ReadSourceError::Read)? {
        Ok(text) => text,
        Err(problem) => return Ok(pass.refuse(problem)),
    };
    let mut reader = RecordReader::new(text, limits.max_record_bytes);
    let mut record = Record::default();
    let Preamble { delimiter, has_own_line } = read_preamble(reader.peek().map_err(ReadSourceError::Read)?);
    reader.set_delimiter(delimiter);
    if has_own_line {
        reader.read(&mut record).map_err(ReadSourceError::Read)?;
    }
    let mut header = true;
    loop {
        match reader.read(&mut record).map_err(ReadSourceError::Read)? {
            Found::Record => {}
            Found::End => break,
            Found::TooLarge => return Ok(pass.refuse(record_too_large(reader.line(), rules))),
        }
        if let Some((Flaw::UnclosedQuote, _)) = record.flaw {
            return Ok(pass.refuse(unclosed_quote(record.line)));
        }
        if record.cells.is_blank() {
            continue;
        }
        if std::mem::take(&mut header) {
            match read_header(&mut record) {
                Ok(columns) => pass.set_columns(columns, delimiter),
                Err(problems) => return Ok(pass.refuse_all(problems)),
            }
            continue;
        }
        if pass.rows() >= limits.max_rows {
            return Ok(pass.refuse(too_many_rows(record.line, rules)));
        }
        if let Some(row) = pass.check_record(&mut record) {
            accept(row).map_err(|source| ReadSourceError::HandOn { row: row.row, source })?;
        }
    }
    let line = reader.line();
    drop(reader);
    if bounded.limit() == 0 {
        return Ok(pass.refuse(source_too_large(line, rules)));
    }
    Ok(pass.finish())
}

/// Reads inline products by the same rules as a CSV.
pub fn read_products(
    products: &[Product],
    rules: &Rules,
    mut accept: impl FnMut(RowView<'_>) -> std::io::Result<()>,
) -> Result<Summary, ReadSourceError> {
    let mut pass = Pass::new(rules);
    for product in products {
        if let Some(row) = pass.check_product(product) {
            accept(row).map_err(|source| ReadSourceError::HandOn { row: row.row, source })?;
        }
    }
    Ok(pass.finish())
}

fn record_too_large(line: u64, rules: &Rules) -> Problem {
    let message = format!("the record is larger than the limit of {} bytes", rules.limits.max_record_bytes);
    let hint = "look for a quote that is never closed";
    Problem { line: Some(line), ..Problem::of_file(Code::RecordTooLarge, &message, hint) }
}

fn unclosed_quote(line: u64) -> Problem {
    let message = "a quote that is opened in this record is never closed, so the rest of the file cannot be read";
    let hint = "close the quote; a quote inside of a quoted cell is written twice";
    Problem { line: Some(line), ..Problem::of_file(Code::UnclosedQuote, message, hint) }
}

fn too_many_rows(line: u64, rules: &Rules) -> Problem {
    let message = format!("the source has more rows than the limit of {}", rules.limits.max_rows);
    Problem { line: Some(line), ..Problem::of_file(Code::TooManyRows, &message, "split the file") }
}

fn source_too_large(line: u64, rules: &Rules) -> Problem {
    let message = format!("the source is larger than the limit of {} bytes", rules.limits.max_bytes);
    Problem { line: Some(line), ..Problem::of_file(Code::SourceTooLarge, &message, "split the file") }
}
