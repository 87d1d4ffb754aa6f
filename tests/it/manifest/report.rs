//! `output.csv` and `failed.csv`, byte for byte.

use imagebatch::api::image_batch::Report;
use imagebatch::manifest::outcome::{FailureReason, ImageOutcome, Outcome, RowOutcome};
use imagebatch::manifest::report::{MAX_STATUS_FAILURES, ReportWriter, Totals};
use imagebatch::manifest::row::{Columns, Row};

use super::read;

const INPUT: &str = "\
Shop,Input Image Urls,S. No.,Product Name\n\
north,\"https://a/1.jpg,https://a/w_9,h_9/2.jpg\",1,Cup\n\
south,https://a/gone.jpg,2,\"Bowl \"\"Blue\"\", large\"\n\
,\" https://a/3.jpg ;https://a/page.jpg https://a/cut.jpg\",3,\"two\nlines\"\n";

#[test]
fn output_has_the_inputs_rows_and_two_columns_more() {
    let (columns, rows) = input();
    let (output, failed, totals) = write(columns, &rows, &outcomes(&rows));
    assert_eq!(
        output,
        "Shop,Input Image Urls,S. No.,Product Name,Output Image Urls,Image Errors\n\
         north,\"https://a/1.jpg,https://a/w_9,h_9/2.jpg\",1,Cup,\"https://cdn/1-1,https://cdn/1-2\",\n\
         south,https://a/gone.jpg,2,\"Bowl \"\"Blue\"\", large\",,1:ImageNotFound\n\
         , https://a/3.jpg ;https://a/page.jpg https://a/cut.jpg,3,\"two\nlines\",\"https://cdn/3-1,,\",\
         \"2:NotAnImage,3:ImageTruncated\"\n"
    );
    assert_eq!(
        failed,
        "Shop,Input Image Urls,S. No.,Product Name,Image Errors\n\
         south,https://a/gone.jpg,2,\"Bowl \"\"Blue\"\", large\",1:ImageNotFound\n\
         ,\"https://a/page.jpg,https://a/cut.jpg\",3,\"two\nlines\",\"2:NotAnImage,3:ImageTruncated\"\n"
    );
    let counts = totals.counts;
    assert_eq!((totals.rows, counts.succeeded, counts.failed, counts.kept_original), (3, 3, 3, 1));
    assert_eq!((counts.bytes_in, counts.bytes_out), (300, 160));
    let failures: Vec<String> = totals
        .failures
        .iter()
        .map(|it| format!("{}/{}: {} {}", it.row, it.image.unwrap_or_default(), it.reason, it.detail))
        .collect();
    assert_eq!(
        failures,
        [
            "2/1: ImageNotFound https://a/gone.jpg",
            "3/2: NotAnImage https://a/page.jpg",
            "3/3: ImageTruncated https://a/cut.jpg"
        ]
    );
}

#[test]
fn failed_images_can_be_uploaded_again() {
    let (columns, rows) = input();
    let (_, failed, _) = write(columns, &rows, &outcomes(&rows));
    let (summary, again) = read(&failed);
    assert!(summary.problems.is_empty(), "{:?}", summary.problems);
    assert_eq!(summary.columns.names, ["Shop", "Input Image Urls", "S. No.", "Product Name", "Image Errors"]);
    let urls: Vec<&Vec<String>> = again.iter().map(|row| &row.urls).collect();
    assert_eq!(urls, [&rows[1].urls, &rows[2].urls[1..].to_vec()]);
    assert_eq!(again[0].cells[..4], rows[1].cells[..]);
}

#[test]
fn output_can_be_read_as_an_input() {
    let (columns, rows) = input();
    let (output, _, _) = write(columns, &rows, &outcomes(&rows));
    let (summary, again) = read(output);
    assert!(summary.problems.is_empty(), "{:?}", summary.problems);
    for (before, after) in rows.iter().zip(&again) {
        assert_eq!((before.row, &before.urls, &before.cells[..]), (after.row, &after.urls, &after.cells[..4]));
    }
}

#[test]
fn batch_without_failures_has_a_report_of_them_with_the_header_alone() {
    let (columns, rows) = input();
    let whole =
        RowOutcome { row: 1, images: vec![stored("https://cdn/1-1", 40, 50), stored("https://cdn/1-2", 10, 50)] };
    let (_, failed, totals) = write(columns, &rows[..1], &[whole]);
    assert_eq!(failed, "Shop,Input Image Urls,S. No.,Product Name,Image Errors\n");
    assert!(totals.failures.is_empty());
}

#[test]
fn status_shows_the_first_failures_and_counts_all() {
    let urls: Vec<String> = (0..7).map(|it| format!("https://a/{it}/{}.jpg", "x".repeat(300))).collect();
    let rows: Vec<Row> = (1..=9)
        .map(|row| Row {
            row,
            cells: vec![row.to_string(), "Cup".into(), urls.join(",")],
            urls: urls.clone(),
            skipped: Vec::new(),
            kept: Vec::new(),
        })
        .collect();
    let failed = |row: &Row| RowOutcome {
        row: row.row,
        images: row.urls.iter().map(|url| failed(url, FailureReason::NotProcessed)).collect(),
    };
    let outcomes: Vec<RowOutcome> = rows.iter().map(failed).collect();
    let (_, _, totals) = write(Columns::standard(), &rows, &outcomes);
    assert_eq!((totals.counts.failed, totals.failures.len()), (63, MAX_STATUS_FAILURES));
    assert!(totals.failures.iter().all(|it| it.detail.len() <= 200 && it.reason == "NotProcessed"));
    assert_eq!(totals.failures.last().map(|it| (it.row, it.image)), Some((3, Some(6))));
}

#[test]
fn sizes_stand_in_the_images_places_where_they_are_asked_for() {
    let (columns, rows) = input();
    let (output, failed, _) = write_with(Report { sizes: true }, columns, &rows, &outcomes(&rows));
    let (summary, written) = read(&output);
    let start = summary.columns.names.iter().position(|name| name == "Input Image Bytes").expect("the column");
    assert_eq!(summary.columns.names[start + 1..], ["Output Image Bytes", "Image Savings"]);
    let sizes: Vec<&[String]> = written.iter().map(|row| &row.cells[start..]).collect();
    assert_eq!(sizes, [["100,100", "40,100", "60%,0%"], ["", "", ""], ["100,,", "20,,", "80%,,"]]);
    assert!(!failed.contains("Image Bytes"), "{failed}");
}

fn input() -> (Columns, Vec<Row>) {
    let (summary, rows) = read(INPUT);
    assert!(summary.problems.is_empty(), "{:?}", summary.problems);
    (summary.columns, rows)
}

fn outcomes(rows: &[Row]) -> Vec<RowOutcome> {
    let images = [
        vec![stored("https://cdn/1-1", 40, 100), stored("https://cdn/1-2", 100, 100)],
        vec![failed(&rows[1].urls[0], FailureReason::ImageNotFound)],
        vec![
            stored("https://cdn/3-1", 20, 100),
            failed(&rows[2].urls[1], FailureReason::NotAnImage),
            failed(&rows[2].urls[2], FailureReason::ImageTruncated),
        ],
    ];
    (1..).zip(images).map(|(row, images)| RowOutcome { row, images }).collect()
}

fn stored(url: &str, bytes_out: i64, bytes_in: i64) -> ImageOutcome {
    let outcome = if bytes_out == bytes_in { Outcome::KeptOriginal } else { Outcome::Compressed };
    let unfinished = failed("https://a/x.jpg", FailureReason::NotProcessed);
    ImageOutcome {
        outcome,
        output_url: Some(url.into()),
        reason: None,
        message: None,
        bytes_in,
        bytes_out,
        ..unfinished
    }
}

fn failed(url: &str, reason: FailureReason) -> ImageOutcome {
    ImageOutcome::failed(url, reason, "it failed".into())
}

fn write(columns: Columns, rows: &[Row], outcomes: &[RowOutcome]) -> (String, String, Totals) {
    write_with(Report::default(), columns, rows, outcomes)
}

fn write_with(report: Report, columns: Columns, rows: &[Row], outcomes: &[RowOutcome]) -> (String, String, Totals) {
    let mut writer = ReportWriter::new(columns, report, Vec::new(), Vec::new()).expect("it is written to memory");
    for (row, outcome) in rows.iter().zip(outcomes) {
        writer.write(row, outcome).expect("it is written to memory");
    }
    let (output, failed, totals) = writer.finish().expect("it is written to memory");
    let text = |bytes| String::from_utf8(bytes).expect("it is text");
    (text(output), text(failed), totals)
}
