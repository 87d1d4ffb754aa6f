//! Rows and their outcomes -> `output.csv` and `failed.csv`, in the input's order.

use std::io::Write;

use super::outcome::{Outcome, RowOutcome};
use super::problem::shorten;
use super::row::{Columns, Row};
use crate::api::image_batch::Failure;
use crate::api::progress::Counts;

/// The column with the new URLs: comma-joined, position i belongs to input i, empty where it failed.
pub const OUTPUT_COLUMN: &str = "Output Image Urls";
/// The column with the failures: `i:Code`, comma-joined, i counted from 1.
pub const ERRORS_COLUMN: &str = "Image Errors";
/// Failures that the status shows.
pub const MAX_STATUS_FAILURES: usize = 20;

/// Writes both reports row by row, in constant memory, and adds up the totals.
#[derive(Debug)]
pub struct ReportWriter<W: Write> {
    columns: Columns,
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
}

impl<W: Write> ReportWriter<W> {
    /// Starts both files with their header.
    pub fn new(columns: Columns, output: W, failed: W) -> csv::Result<Self> {
        let mut writer = Self {
            output: csv::Writer::from_writer(output),
            failed: csv::Writer::from_writer(failed),
            totals: Totals::default(),
            columns,
        };
        let names = &writer.columns.names;
        let header = || names.iter().map(String::as_str);
        writer.output.write_record(header().chain([OUTPUT_COLUMN, ERRORS_COLUMN]))?;
        writer.failed.write_record(header().chain([ERRORS_COLUMN]))?;
        Ok(writer)
    }

    /// Writes one row. `outcome.images` must be as long as `row.urls`.
    pub fn write(&mut self, row: &Row, outcome: &RowOutcome) -> csv::Result<()> {
        let urls: Vec<&str> = outcome.images.iter().map(|it| it.output_url.as_deref().unwrap_or_default()).collect();
        let errors = errors(outcome).join(",");
        let cells = row.cells.iter().map(String::as_str);
        self.output.write_record(cells.chain([urls.join(",").as_str(), &errors]))?;

        let failed: Vec<usize> =
            (0..row.urls.len()).filter(|&index| outcome.images[index].outcome == Outcome::Failed).collect();
        if !failed.is_empty() {
            let mut cells = row.cells.clone();
            let urls: Vec<&str> = failed.iter().map(|&index| row.urls[index].as_str()).collect();
            cells[self.columns.image_urls] = urls.join(",");
            self.failed.write_record(cells.iter().map(String::as_str).chain([errors.as_str()]))?;
        }
        self.totals.rows += 1;
        self.totals.counts += outcome.counts();
        for index in failed {
            if self.totals.failures.len() < MAX_STATUS_FAILURES {
                self.totals.failures.push(Failure {
                    row: row.row as i64,
                    image: Some(index as i64 + 1),
                    reason: outcome.images[index].reason.map_or("NotProcessed", |it| it.as_str()).to_owned(),
                    detail: shorten(&row.urls[index], 190),
                });
            }
        }
        Ok(())
    }

    /// Ends both files and returns their writers and the totals.
    pub fn finish(self) -> std::io::Result<(W, W, Totals)> {
        let output = self.output.into_inner().map_err(csv::IntoInnerError::into_error)?;
        let failed = self.failed.into_inner().map_err(csv::IntoInnerError::into_error)?;
        Ok((output, failed, self.totals))
    }
}

fn errors(outcome: &RowOutcome) -> Vec<String> {
    outcome
        .images
        .iter()
        .enumerate()
        .filter_map(|(index, image)| Some(format!("{}:{}", index + 1, image.reason?.as_str())))
        .collect()
}
