//! Two pods on one shard: one was deleted by force, and its process runs on, on a node that is not heard of.

use imagebatch::manifest::outcome::{FailureReason, ImageOutcome, RowOutcome};
use imagebatch::records::ledger::OutcomeRecord;

use crate::compressor::Batch;
use crate::harness::Harness;

fn failed(harness: &Harness, batch: &Batch<'_>, row: u64, path: &str) -> OutcomeRecord {
    let image =
        ImageOutcome::failed(&harness.origin.url(path), FailureReason::FetchTimeout, "from the other pod".to_owned());
    OutcomeRecord::new(&batch.input.uid, 0, &RowOutcome { row, images: vec![image] })
}

#[tokio::test]
async fn two_pods_of_one_shard_agree_on_each_row() {
    let harness = Harness::start().await;
    let batch = Batch::of_products(&harness, &[&["wall-clock.jpg"], &["mountain-thumb.jpg"]]);
    batch.succeed(&["ingest"]).await;
    // The other pod has recorded a row, and this one does not know: it is the first by all that it sees.
    let record = failed(&harness, &batch, 1, "wall-clock.jpg");
    harness.records.insert_outcomes(&[record]).await.expect("MongoDB answers");
    batch.succeed(&["compress", "--index", "0"]).await;
    let part = batch.object("batch/parts/000000.jsonl").await;
    assert!(part.contains("from the other pod"), "the first record of a row holds: {part}");
    batch.succeed(&["report"]).await;

    let outcomes = batch.outcomes(0).await;
    let has_url = |row: u64| outcomes[&row].images[0].output_url.is_some();
    assert_eq!((has_url(1), has_url(2)), (false, true));
    let report = batch.results().await.1.expect("the report's result");
    assert_eq!((report.counts.succeeded, report.counts.failed), (1, 1), "records, part and report are equal");
    assert!(batch.object("batch/failed.csv").await.contains("wall-clock.jpg"));
}

#[tokio::test]
async fn a_pod_that_records_while_the_report_settles_is_heard() {
    let harness = Harness::start().await;
    let batch = Batch::of_products(&harness, &[&["wall-clock.jpg"], &["mountain-thumb.jpg"]]);
    batch.succeed(&["ingest"]).await;
    // No pod has noted that it works on the shard, so the report does not look for records.
    let record = failed(&harness, &batch, 2, "mountain-thumb.jpg");
    harness.records.insert_outcomes(&[record]).await.expect("MongoDB answers");
    batch.succeed(&["report"]).await;
    let part = batch.object("batch/parts/000000.jsonl").await;
    assert!(part.contains("NotProcessed") && part.contains("from the other pod"), "{part}");
    assert!(batch.object("batch/output.csv").await.contains("1:FetchTimeout"));
}
