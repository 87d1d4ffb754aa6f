//! The validator and the reports through their public door: bytes in, rows, problems and CSV out.

mod any_bytes;
mod problems;
mod report;
mod source;

use std::io::Read;

use imagebatch::manifest::problem::Code;
use imagebatch::manifest::row::Row;
use imagebatch::manifest::source::{Limits, Rules, Summary, read_csv};

const HEADER: &str = "S. No.,Product Name,Input Image Urls\n";

/// Reads a CSV; returns what was found and the good rows.
fn read(bytes: impl AsRef<[u8]>) -> (Summary, Vec<Row>) {
    read_within(bytes.as_ref(), &Limits::default())
}

fn read_within(bytes: impl Read, limits: &Limits) -> (Summary, Vec<Row>) {
    let mut rows = Vec::new();
    let rules = Rules { limits: *limits, ..Rules::default() };
    let summary = read_csv(bytes, &rules, |row| {
        rows.push(row.to_row());
        Ok(())
    });
    (summary.expect("bytes in memory can be read"), rows)
}

/// Returns code and line of each problem.
fn codes(summary: &Summary) -> Vec<(Code, Option<u64>)> {
    summary.problems.listed.iter().map(|problem| (problem.code, problem.line)).collect()
}

/// Delivers a few bytes at a time, as a slow connection does.
struct Trickle<'a> {
    bytes: &'a [u8],
    step: usize,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let end = buffer.len().min(self.step);
        self.bytes.read(&mut buffer[..end])
    }
}
