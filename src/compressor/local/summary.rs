//! The table at the end of `compress-file`: files and bytes by outcome.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of the files so far.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Results come before failures.
    rows: BTreeMap<(bool, &'static str), Row>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Row {
    files: u64,
    before: u64,
    after: u64,
}

impl Summary {
    /// Counts a file; one with a result has its bytes before and after.
    pub(super) fn add(&mut self, outcome: &'static str, bytes: Option<(u64, u64)>) {
        let row = self.rows.entry((bytes.is_none(), outcome)).or_default();
        let (before, after) = bytes.unwrap_or_default();
        row.add(Row { files: 1, before, after });
    }

    /// Returns how many files have no result.
    pub(super) fn failed(&self) -> u64 {
        self.rows.iter().filter(|((failed, _), _)| *failed).map(|(_, row)| row.files).sum()
    }
}

impl Row {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.before += other.before;
        self.after += other.after;
    }

    fn write(self, formatter: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let Self { files, before, after } = self;
        if before == 0 {
            return writeln!(formatter, "{name:<20} {files:>8}");
        }
        let saved = 100 - (i128::from(after) * 100) / i128::from(before);
        writeln!(formatter, "{name:<20} {files:>8} {before:>14} {after:>14} {saved:>6} %")
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "{:<20} {:>8} {:>14} {:>14} {:>8}",
            "outcome", "files", "bytes before", "bytes after", "saved"
        )?;
        let mut all = Row::default();
        for ((_, name), row) in &self.rows {
            row.write(formatter, name)?;
            all.add(*row);
        }
        all.write(formatter, "all")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_sums_files_and_bytes() {
        let mut summary = Summary::default();
        summary.add("NotAnImage", None);
        summary.add("KeptOriginal", Some((100, 100)));
        summary.add("Compressed", Some((1_000, 250)));
        summary.add("Compressed", Some((1_000, 350)));
        let table = summary.to_string();
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        let expected: [&[&str]; 4] = [
            &["Compressed", "2", "2000", "600", "70", "%"],
            &["KeptOriginal", "1", "100", "100", "0", "%"],
            &["NotAnImage", "1"],
            &["all", "4", "2100", "700", "67", "%"],
        ];
        assert_eq!(rows, expected);
        assert_eq!(summary.failed(), 1);
    }
}
