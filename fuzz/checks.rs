//! What holds for every input: the bodies of the fuzz targets, which `tests/it/corpus.rs` also runs over
//! the corpus and the messy files, with a stable compiler.

#![allow(dead_code, reason = "each target uses one of the checks")]

use imagebatch::api::image_batch::Report;
use imagebatch::api::source::{OnInvalidRow, Validation};
use imagebatch::manifest::outcome::{FailureReason, ImageOutcome, RowOutcome};
use imagebatch::manifest::report::{ReportWriter, unescape_report};
use imagebatch::manifest::row::{Columns, Row};
use imagebatch::manifest::source::{Limits, Rules, read_csv};
use imagebatch::manifest::url_cell;

/// Every file is rows, or has a problem with a place inside of the file; a skipped row is handed on.
pub(crate) fn csv_parse(bytes: &[u8]) {
    let line_ends = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    for on_invalid_row in [OnInvalidRow::Reject, OnInvalidRow::Skip] {
        let validation = Validation { on_invalid_row, ..Validation::default() };
        let limits =
            Limits { max_rows: 1_000, max_urls: 5, max_cell_bytes: 200, max_record_bytes: 500, ..Limits::default() };
        let (mut rows, mut images, mut skipped) = (0, 0, 0);
        let summary = read_csv(bytes, &Rules { limits, validation }, |row| {
            rows += 1;
            images += row.urls.len() as u64;
            skipped += u64::from(!row.skipped.is_empty());
            assert_eq!(row.skipped.is_empty(), !row.urls.is_empty());
            let mut json = Vec::new();
            row.write_json(&mut json)?;
            let stored: Row = serde_json_row(&json);
            assert_eq!(stored, row.to_row());
            Ok(())
        });
        let summary = summary.expect("bytes in memory can be read");
        assert_eq!((summary.images, summary.skipped), (images, skipped));
        assert!(summary.is_accepted() || !summary.problems.is_empty());
        assert!(!summary.problems.is_empty() || rows == summary.rows && rows > 0);
        for problem in &summary.problems.listed {
            let line = problem.line.expect("a file has lines");
            assert!((1..=line_ends + 1).contains(&line), "line {line} of {}", line_ends + 1);
        }
    }
}

fn serde_json_row(json: &[u8]) -> Row {
    imagebatch::manifest::shard::read_lines(json).expect("it was written so").remove(0)
}

/// Nothing but separators is lost by splitting, and a normalized URL is normal.
pub(crate) fn url_cell(bytes: &[u8]) {
    let Ok(cell) = std::str::from_utf8(bytes) else { return };
    let kept = |text: &str| text.chars().filter(|it| !",;| \t\r\n".contains(*it)).collect::<String>();
    let pieces: Vec<&str> = url_cell::split(cell).collect();
    assert_eq!(pieces.iter().map(|piece| kept(piece)).collect::<String>(), kept(cell));
    for piece in pieces {
        assert_eq!(url_cell::split(piece).collect::<Vec<_>>(), [piece]);
        if let Ok(url) = url_cell::normalize(piece, 2_048) {
            assert!(url.len() <= 2_048 && (url.starts_with("http://") || url.starts_with("https://")));
            assert_eq!(url_cell::normalize(&url, 2_048).as_deref(), Ok(&*url));
        }
    }
}

/// What is exported is read as it was, and no cell of it is a formula.
pub(crate) fn csv_export(bytes: &[u8]) {
    // A NUL near the start of a file is what tells binary data.
    let text = String::from_utf8_lossy(bytes).replace('\0', "");
    let cells: Vec<&str> = text.split('\u{1}').collect();
    let names = ["S. No.", "Product Name", "Input Image Urls", "Note"].map(str::to_owned).to_vec();
    let columns = Columns { names, ..Columns::standard() };
    let rows: Vec<Row> = (1..)
        .zip(cells.chunks(2))
        .map(|(number, pair)| Row {
            row: number,
            cells: vec![number.to_string(), format!("x{}", pair[0]), url(number), pair[pair.len() - 1].to_owned()],
            urls: vec![url(number)],
            skipped: Vec::new(),
            kept: Vec::new(),
        })
        .collect();
    let mut report = ReportWriter::new(columns, Report::default(), Vec::new(), Vec::new()).expect("a Vec grows");
    for row in &rows {
        let failed = ImageOutcome::failed(&row.urls[0], FailureReason::HostFailed, String::new());
        report.write(row, &RowOutcome { row: row.row, images: vec![failed] }).expect("a Vec grows");
    }
    let (output, failed, _) = report.finish().expect("a Vec grows");
    for file in [output, failed] {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&file[..]);
        for record in reader.records() {
            let record = record.expect("text");
            assert!(record.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])));
        }
        let limits =
            Limits { max_rows: u64::MAX, max_cell_bytes: 8 << 20, max_record_bytes: 8 << 20, ..Limits::default() };
        let mut again = Vec::new();
        let read = read_csv(&file[..], &Rules { limits, ..Rules::default() }, |row| {
            again.push(row.to_row());
            Ok(())
        });
        assert!(read.expect("bytes in memory can be read").problems.is_empty());
        assert_eq!(again.len(), rows.len());
        for (before, after) in rows.iter().zip(&again) {
            assert_eq!((&before.cells[..], &before.urls), (&after.cells[..4], &after.urls));
        }
        let mut raw = Vec::new();
        unescape_report(&file[..], &mut raw).expect("a Vec grows");
        let mut reader = csv::Reader::from_reader(&raw[..]);
        for (row, record) in rows.iter().zip(reader.records()) {
            assert_eq!(&row.cells[..], &record.expect("text").iter().map(str::to_owned).collect::<Vec<_>>()[..4]);
        }
    }
}

fn url(number: u64) -> String {
    format!("https://shop.example/{number}.jpg")
}
