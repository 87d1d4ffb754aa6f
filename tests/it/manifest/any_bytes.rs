//! Whatever is uploaded, the validator gives an answer, and always the same one.

use imagebatch::api::image_batch::Report;
use imagebatch::manifest::outcome::{FailureReason, ImageOutcome, RowOutcome};
use imagebatch::manifest::report::ReportWriter;
use imagebatch::manifest::source::Limits;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

use super::{HEADER, Trickle, read_within};

const SMALL: Limits = Limits {
    max_rows: 20,
    max_bytes: 1 << 20,
    max_urls: 3,
    max_url_length: 40,
    max_cell_bytes: 90,
    max_record_bytes: 100,
};

proptest! {
    #[test]
    fn any_bytes_are_rows_or_problems(bytes in bytes(), step in 1_usize..200) {
        let (summary, rows) = read_within(bytes.as_slice(), &SMALL);
        let problems = &summary.problems;
        if problems.is_empty() {
            prop_assert!(summary.rows > 0);
            prop_assert_eq!(rows.len() as u64, summary.rows);
        }
        prop_assert!(rows.len() as u64 <= summary.rows && summary.rows <= SMALL.max_rows);
        prop_assert_eq!(rows.iter().map(|row| row.urls.len() as u64).sum::<u64>(), summary.images);
        let numbers: Vec<u64> = rows.iter().map(|row| row.row).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b));
        let lines: Vec<u64> = problems.listed.iter().filter_map(|problem| problem.line).collect();
        prop_assert!(lines.is_sorted());
        let ends = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
        prop_assert!(lines.iter().all(|line| (1..=ends + 1).contains(line)));
        for row in &rows {
            prop_assert_eq!(row.cells.len(), summary.columns.names.len());
            prop_assert!((1..=SMALL.max_urls).contains(&row.urls.len()));
            prop_assert!(row.urls.iter().all(|url| url.len() <= SMALL.max_url_length && url.starts_with("http")));
        }
        // How the bytes arrive makes no difference.
        prop_assert_eq!(read_within(Trickle { bytes: &bytes, step }, &SMALL), (summary, rows));
    }

    #[test]
    fn cells_survive_being_written_and_read(cells in vec((cell(), cell()), 1..10)) {
        let header = || ["S. No.", "Note", "Product Name", "Input Image Urls"];
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(header()).expect("it is written to memory");
        for (note, name) in &cells {
            let record = ["1", note, &format!("x{name}"), "https://a/1.jpg"];
            writer.write_record(record).expect("it is written to memory");
        }
        let file = writer.into_inner().expect("it is written to memory");
        let (summary, rows) = read_within(file.as_slice(), &Limits::default());
        prop_assert!(summary.problems.is_empty(), "{:?}", summary.problems);
        prop_assert_eq!(rows.len(), cells.len());
        for (row, (note, name)) in rows.iter().zip(&cells) {
            prop_assert_eq!(&row.cells[1..3], &[note.clone(), format!("x{name}")]);
        }

        // And through the report.
        let mut report = ReportWriter::new(summary.columns, Report::default(), Vec::new(), Vec::new()).expect("it is written to memory");
        for row in &rows {
            let failed = ImageOutcome::failed(&row.urls[0], FailureReason::HostFailed, String::new());
            report.write(row, &RowOutcome { row: row.row, images: vec![failed] }).expect("it is written to memory");
        }
        let (output, failed, _) = report.finish().expect("it is written to memory");
        for file in [output, failed] {
            let (summary, again) = read_within(file.as_slice(), &Limits::default());
            prop_assert!(summary.problems.is_empty(), "{:?}", summary.problems);
            prop_assert_eq!(again.len(), rows.len());
            for (before, after) in rows.iter().zip(&again) {
                prop_assert_eq!(&before.cells[..], &after.cells[..4]);
                prop_assert_eq!(&before.urls, &after.urls);
            }
        }
    }
}

/// Bytes that are mostly close to a CSV.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        select(vec![
            HEADER,
            ",",
            ";",
            "\t",
            "\"",
            "\"\"",
            "\n",
            "\r\n",
            "\r",
            "\n\n",
            "1,Cup,https://a/1.jpg\n",
            "https://a/",
            "x",
            "1,Cup,\"https://a/1.jpg,https://a/2.jpg\"\r\n",
            "\u{feff}",
            "ü",
            " ",
            "http://",
            ",,\n",
            "ftp://a,",
            "\0",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        vec(any::<u8>(), 0..8),
    ];
    let pieces = vec(piece, 0..30).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces.clone(), pieces.prop_map(|pieces| [HEADER.as_bytes(), &pieces].concat())]
}

/// Text of all that makes CSV difficult.
fn cell() -> impl Strategy<Value = String> {
    let piece = select(vec!["a", " ", ",", ";", "\t", "\"", "'", "\n", "\r\n", "\r", "é", "鳥", "=", "\u{feff}", "\\"]);
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}
