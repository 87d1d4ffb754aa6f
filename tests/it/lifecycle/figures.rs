//! The status's figures: while a batch runs they only grow, at its end they are the same everywhere, and
//! what MongoDB lost of them comes back.

use std::sync::Arc;

use futures::StreamExt;
use imagebatch::api::stage::Stage;
use imagebatch::api::status::{Failure, ImageBatchStatus};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::Mutex;

use super::{compressing, counts};
use crate::controller::{PRODUCTS, set_ingest, set_report, uid};
use crate::harness::{Harness, Running, condition};

async fn mirrored(harness: &Harness, uid: &str) -> ImageBatchStatus {
    let record = harness.records.request(uid).await.expect("MongoDB answers").expect("a record");
    record.read_status().expect("a status")
}

/// Notes every status of the test's batches, until the guard is dropped.
fn note_statuses(harness: &Harness) -> (Arc<Mutex<Vec<ImageBatchStatus>>>, Running) {
    let noted = Arc::<Mutex<Vec<ImageBatchStatus>>>::default();
    let (kept, batches) = (Arc::clone(&noted), harness.batches());
    let watch = async move {
        let mut seen = watcher(batches, watcher::Config::default()).applied_objects().boxed();
        while let Some(batch) = seen.next().await {
            kept.lock().await.extend(batch.expect("the watch goes on").status);
        }
    };
    (noted, Running(tokio::spawn(watch)))
}

#[tokio::test]
async fn figures_only_grow_and_are_the_same_everywhere_in_the_end() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (noted, _watch) = note_statuses(&harness);
    let (batch, compress) = compressing(&harness, "figures", "").await;
    let uid = uid(&batch);
    // The second count is behind the first, as that of a shard is whose pod starts anew.
    for (shard, count) in [(0, counts(20, 5)), (1, counts(50, 0)), (1, counts(10, 0)), (2, counts(100, 1))] {
        harness.records.start_shard(&uid, shard).await.expect("MongoDB answers");
        harness.records.raise_shard(&uid, shard, &count).await.expect("MongoDB answers");
        let least = harness.records.progress(&uid).await.expect("MongoDB answers");
        let reached = |status: &ImageBatchStatus| status.succeeded + status.failed >= least.done();
        harness.wait("figures", "counted", |it| it.status.as_ref().is_some_and(reached)).await;
    }
    let failure = |row: i64| Failure {
        row,
        image: Some(1),
        reason: "ImageNotFound".to_owned(),
        detail: format!("https://shop.example/{row}.jpg"),
    };
    let (first, others) = ([failure(4)], (60..90).map(failure).collect::<Vec<_>>());
    harness.records.note_failures(&uid, 2, &others).await.expect("MongoDB answers");
    harness.records.note_failures(&uid, 0, &first).await.expect("MongoDB answers");
    harness.records.raise_shard(&uid, 2, &counts(100, 2)).await.expect("MongoDB answers");
    let running = harness
        .wait("figures", "measured", |it| {
            it.status.as_ref().is_some_and(|it| it.images_per_minute.is_some() && it.failed == 7)
        })
        .await;
    let status = running.status.expect("a status");
    assert!(status.images_per_minute.is_some_and(|it| it > 0), "{status:?}");
    assert!(status.estimated_completion_time.is_some(), "{status:?}");
    assert_eq!((status.succeeded, status.failed, status.percent.as_deref()), (170, 7, Some("17%")));
    let rows: Vec<i64> = status.failures.iter().map(|it| it.row).collect();
    assert_eq!(rows, [4].into_iter().chain(60..79).collect::<Vec<_>>());
    assert_eq!((status.bytes_saved, status.saved.as_deref()), (170 * 600, Some("60%")));

    harness.end_job(&compress, "Complete", None).await;
    let report = harness.wait_job("figures", Stage::Report).await;
    set_report(&harness, &batch, 990, 10).await;
    harness.end_job(&report, "Complete", None).await;
    let finished = harness.wait_finished("figures").await.status.expect("a status");
    assert!(finished.images_per_minute.is_some() && finished.estimated_completion_time.is_none(), "{finished:?}");
    assert_eq!(finished.progress_marks, []);
    let result = harness.records.results(&uid).await.expect("MongoDB answers").report.expect("a report");
    let mirrored = mirrored(&harness, &uid).await;
    for status in [&finished, &mirrored] {
        assert_eq!((status.succeeded, status.failed), (result.counts.succeeded, result.counts.failed));
        assert_eq!((status.bytes_in, status.bytes_out), (result.counts.bytes_in, result.counts.bytes_out));
        assert_eq!(status.succeeded + status.failed, status.images.expect("images"));
    }
    assert_eq!(finished, mirrored, "the record is the ImageBatch's");
    let noted = noted.lock().await;
    let running: Vec<_> = noted.iter().filter(|it| !it.is_finished()).collect();
    for pair in running.windows(2) {
        let figures = |it: &ImageBatchStatus| [it.succeeded, it.failed, it.bytes_in, it.bytes_out];
        let (before, after) = (figures(pair[0]), figures(pair[1]));
        assert!(before.iter().zip(after).all(|(before, after)| *before <= after), "{before:?} -> {after:?}");
    }
}

#[tokio::test]
async fn what_the_records_lost_of_a_finished_batch_is_written_before_it_goes() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let _collector = harness.collect_jobs();
    let batch = harness.create("lost", PRODUCTS).await;
    let job = harness.wait_job("lost", Stage::Run).await;
    set_ingest(&harness, &batch, 2, 1).await;
    set_report(&harness, &batch, 1, 1).await;
    harness.end_job(&job, "Complete", None).await;
    let finished = harness.wait_finished("lost").await;
    // As after a restore from a backup that is older than the batch.
    harness.records.delete_batch(&uid(&batch)).await.expect("MongoDB answers");
    assert!(harness.records.request(&uid(&batch)).await.expect("MongoDB answers").is_none());
    harness.delete(&finished).await;
    let status = mirrored(&harness, &uid(&batch)).await;
    assert_eq!((status.succeeded, status.failed, status.is_finished()), (1, 1, true));
    assert_eq!(condition(&finished, "Succeeded"), "False/ImagesFailed");
}
