//! How results are printed: tables as kubectl has them, JSON, YAML and names, safe for a terminal.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

use crate::manifest::place::without_controls;

/// The form of a result.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// A table with more columns.
    Wide,
    /// `imagebatch.imagebatch.io/NAME`.
    Name,
}

/// The form of a result that is no list of batches.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Format {
    /// Returns the form where it is one for programs.
    pub(super) fn data(self) -> Option<DataFormat> {
        match self {
            Self::Json => Some(DataFormat::Json),
            Self::Yaml => Some(DataFormat::Yaml),
            Self::Wide | Self::Name => None,
        }
    }
}

/// Returns a text for a terminal: on one line, and nothing in it that a terminal acts upon.
pub(super) fn clean(text: &str) -> String {
    without_controls(text).replace('\t', " ")
}

/// Writes to standard output.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("failed to write to standard output")
}

/// Writes a line to standard output.
pub(super) fn print_line(line: &str) -> anyhow::Result<()> {
    print(&format!("{line}\n"))
}

/// Writes a line for people to standard error, where results are not expected.
pub(super) fn note(line: &str) {
    // Nobody is left to read it.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes a value for programs.
pub(super) fn print_data(format: DataFormat, value: &impl Serialize) -> anyhow::Result<()> {
    match format {
        DataFormat::Json => print_line(&serde_json::to_string_pretty(value)?),
        DataFormat::Yaml => print(&serde_saphyr::to_string(value)?),
    }
}

/// Returns whether standard error may have colours and bars.
pub(super) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Returns whether what goes to standard error may have colours.
pub(super) fn has_colours() -> bool {
    is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
}

/// Rows of text in columns, as kubectl prints them.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

/// Returns a cell as it is shown. An empty one is a dash, so that the columns can be told apart by programs too.
pub(super) fn cell(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { clean(text) }
}

/// Spaces between columns.
const GAP: usize = 3;

impl Table {
    /// Returns a table with these headings.
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|it| (*it).to_owned()).collect()] }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|it| cell(&it)).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |it: &String| it.chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|column| self.rows.iter().filter_map(|row| row.get(column)).map(width).max().unwrap_or_default())
            .collect();
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            for (column, cell) in row.iter().enumerate() {
                let gap = if column == last { 0 } else { widths[column] + GAP - width(cell) };
                write!(formatter, "{cell}{:gap$}", "")?;
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

/// Returns the time since a moment as kubectl writes it: `12s`, `3m20s`, `5h`, `12d`.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    span(now.duration_since(since).as_secs().max(0))
}

/// Returns seconds as kubectl writes them.
pub(super) fn span(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        it if it < 120 => format!("{seconds}s"),
        it if it < 600 && seconds % 60 > 0 => format!("{minutes}m{}s", seconds % 60),
        it if it < 10_800 => format!("{minutes}m"),
        it if it < 28_800 && minutes % 60 > 0 => format!("{hours}h{}m", minutes % 60),
        it if it < 172_800 => format!("{hours}h"),
        it if it < 691_200 && hours % 24 > 0 => format!("{days}d{}h", hours % 24),
        _ => format!("{days}d"),
    }
}

/// Returns a number of bytes for people.
pub(super) fn bytes(count: i64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value.abs() < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_kubectls_form() {
        let mut table = Table::new(&["NAME", "STATE", "AGE"]);
        table.add(["a-long-name", "", "12s"].map(str::to_owned));
        table.add(["b", "\x1b[31mred\n", "3d"].map(str::to_owned));
        let expected = "NAME          STATE       AGE\na-long-name   -           12s\nb             \u{fffd}[31mred\u{fffd}   3d\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn times_and_sizes_are_short() {
        let cases = [
            (5, "5s"),
            (119, "119s"),
            (200, "3m20s"),
            (240, "4m"),
            (7_200, "120m"),
            (12_000, "3h20m"),
            (90_000, "25h"),
            (180_000, "2d2h"),
            (900_000, "10d"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(span(seconds), expected);
        }
        assert_eq!([bytes(999), bytes(1_500), bytes(-12_345_678)], ["999 B", "1.5 kB", "-12.3 MB"]);
    }
}
