//! What people may ask of a batch while it runs: to hold it, to go on, to stop, to be wider, to go.
//!
//! As in `controller.rs` the stages' results and the Jobs' ends are written by hand here.

mod decisions;
mod expiry;
mod figures;
mod outage;
mod rules;

use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::progress::Counts;
use imagebatch::api::stage::{Stage, UnprocessedCause};
use imagebatch::records::result::{ReportResult, Unprocessed};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::controller::{PRODUCTS, UPLOAD, set_ingest, set_report, uid};
use crate::harness::{Harness, condition};

async fn change(harness: &Harness, name: &str, spec: Value) -> kube::Result<ImageBatch> {
    harness.batches().patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await
}

/// Waits until a condition is this one.
async fn wait_for(harness: &Harness, name: &str, type_: &str, expected: &str) -> ImageBatch {
    harness.wait(name, &format!("{type_}={expected}"), |it| condition(it, type_) == expected).await
}

/// Creates a large batch and brings it to its compress Job.
async fn compressing(harness: &Harness, name: &str, further: &str) -> (ImageBatch, Job) {
    // Boxed: together they make a future that is large for the stack.
    let batch = Box::pin(harness.create(name, &format!("{UPLOAD}{further}"))).await;
    let ingest = Box::pin(harness.wait_job(name, Stage::Ingest)).await;
    set_ingest(harness, &batch, 1_000, 40).await;
    harness.end_job(&ingest, "Complete", None).await;
    (batch, Box::pin(harness.wait_job(name, Stage::Compress)).await)
}

/// Records a report as the stage does that settles what a stop left.
async fn set_settled(harness: &Harness, batch: &ImageBatch, counts: Counts, unprocessed: Unprocessed) {
    let result = ReportResult { rows: 1_000, counts, failures: Vec::new(), unprocessed: Some(unprocessed) };
    harness.records.insert_report(&uid(batch), &result).await.expect("MongoDB answers");
}

fn counts(succeeded: i64, failed: i64) -> Counts {
    Counts { succeeded, failed, kept_original: 0, bytes_in: 1_000 * succeeded, bytes_out: 400 * succeeded }
}

/// Returns the reasons of all Events of the test's namespace.
async fn reasons(harness: &Harness) -> Vec<String> {
    let events: Api<Event> = Api::namespaced(harness.client.clone(), &harness.namespace);
    events.list(&ListParams::default()).await.expect("Events").into_iter().filter_map(|it| it.reason).collect()
}

async fn assert_reasons(harness: &Harness, expected: &[&str]) {
    let reasons = reasons(harness).await;
    for reason in expected {
        assert!(reasons.iter().any(|it| it == reason), "no Event {reason} in {reasons:?}");
    }
}

/// Returns a Job's suspend, parallelism and deadline.
fn adjustable(job: &Job) -> (bool, i32, Option<i64>) {
    let spec = job.spec.clone().unwrap_or_default();
    (spec.suspend.unwrap_or_default(), spec.parallelism.unwrap_or_default(), spec.active_deadline_seconds)
}

/// Returns why the report of a Job writes images down as not processed.
fn cause(job: &Job) -> String {
    let container = job.spec.as_ref().and_then(|it| it.template.spec.as_ref()).map(|it| it.containers[0].clone());
    let input = container.and_then(|it| it.env).and_then(|it| it[0].value.clone()).expect("a stage's input");
    let input: Value = serde_json::from_str(&input).expect("JSON");
    input["unprocessedBecause"].as_str().expect("a cause").to_owned()
}

#[tokio::test]
async fn a_suspended_batch_ends_its_pods_and_goes_on_when_it_is_resumed() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (batch, compress) = compressing(&harness, "held", "").await;
    let first = wait_for(&harness, "held", "Succeeded", "Unknown/Running").await;
    assert_eq!(condition(&first, "Suspended"), "False/NotSuspended");
    let (_, _, Some(seconds)) = adjustable(&compress) else { panic!("no deadline in {compress:?}") };

    change(&harness, "held", json!({ "suspend": true })).await.expect("it may be suspended");
    let name = compress.name_any();
    harness.wait_job_until(&name, "suspended", |job| adjustable(job).0).await;
    let held = wait_for(&harness, "held", "Suspended", "True/Suspended").await;
    for (type_, expected) in [("Succeeded", "Unknown/Suspended"), ("Finished", "False/Suspended")] {
        assert_eq!(condition(&held, type_), expected, "{type_}");
    }
    // Its width may change meanwhile.
    change(&harness, "held", json!({ "parallelism": 9 })).await.expect("it may be scaled");
    let job = harness.wait_job_until(&name, "scaled", |job| adjustable(job).1 == 9).await;
    assert_eq!(adjustable(&job), (true, 9, Some(seconds)));

    change(&harness, "held", json!({ "suspend": false })).await.expect("it may be resumed");
    let job = harness.wait_job_until(&name, "resumed", |job| !adjustable(job).0).await;
    assert!(adjustable(&job).2.is_some_and(|left| (1..=86_400).contains(&left)), "{job:?}");
    let resumed = wait_for(&harness, "held", "Succeeded", "Unknown/Running").await;
    assert_eq!(condition(&resumed, "Suspended"), "False/Resumed");
    assert_reasons(&harness, &["Suspended", "Resumed"]).await;

    harness.end_job(&job, "Complete", None).await;
    // Every stage can be held, also one without a deadline.
    let report = harness.wait_job("held", Stage::Report).await;
    for (suspend, expected) in [(true, (true, 1, None)), (false, (false, 1, None))] {
        change(&harness, "held", json!({ "suspend": suspend })).await.expect("it may be suspended");
        harness.wait_job_until(&report.name_any(), "adjusted", |job| adjustable(job) == expected).await;
    }
    set_report(&harness, &batch, 1_000, 0).await;
    harness.end_job(&report, "Complete", None).await;
    assert_eq!(condition(&harness.wait_finished("held").await, "Succeeded"), "True/Completed");
}

#[tokio::test]
async fn a_batch_suspended_from_its_creation_starts_nothing() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    harness.create("later", &format!("{PRODUCTS}suspend: true\n")).await;
    wait_for(&harness, "later", "Suspended", "True/Suspended").await;
    assert!(harness.jobs().list(&ListParams::default()).await.expect("Jobs").items.is_empty());
    change(&harness, "later", json!({ "suspend": false })).await.expect("it may be resumed");
    harness.wait_job("later", Stage::Run).await;
    let resumed = wait_for(&harness, "later", "Suspended", "False/Resumed").await;
    assert_eq!(condition(&resumed, "Succeeded"), "Unknown/Pending");
}

#[tokio::test]
async fn a_cancelled_batch_keeps_what_is_done() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (batch, compress) = compressing(&harness, "enough", "").await;
    let cancel = json!({ "cancel": { "reason": "the sale is over" } });
    change(&harness, "enough", cancel).await.expect("it may be cancelled");
    let stopping = wait_for(&harness, "enough", "Succeeded", "Unknown/Stopping").await;
    assert_eq!(condition(&stopping, "Finished"), "False/Stopping");
    let deleted = |job: &Job| job.metadata.deletion_timestamp.is_some();
    let job = harness.wait_job_until(&compress.name_any(), "deleted", deleted).await;
    // Its pods are not gone yet: in the foreground the Job outlives them.
    assert!(job.finalizers().contains(&"foregroundDeletion".to_owned()), "{:?}", job.finalizers());
    assert!(harness.jobs().get_opt("enough-report").await.expect("the API server answers").is_none());

    let _collector = harness.collect_jobs();
    let report = harness.wait_job("enough", Stage::Report).await;
    assert_eq!(cause(&report), "Cancelled");
    let unprocessed = Unprocessed { images: 590, cause: UnprocessedCause::Cancelled };
    set_settled(&harness, &batch, counts(400, 600), unprocessed).await;
    harness.end_job(&report, "Complete", None).await;
    let finished = harness.wait_finished("enough").await;
    for (type_, expected) in [
        ("Accepted", "True/SourceValid"),
        ("Succeeded", "False/Cancelled"),
        ("ReportReady", "True/ReportWritten"),
        ("Finished", "True/Cancelled"),
    ] {
        assert_eq!(condition(&finished, type_), expected, "{type_}");
    }
    let status = finished.status.expect("a status");
    assert_eq!((status.succeeded, status.failed, status.images), (400, 600, Some(1_000)));
    let message = &status.condition("Succeeded").expect("the condition").message;
    assert!(message.contains("the sale is over") && message.contains("600 of 1000 images"), "{message}");
    assert_reasons(&harness, &["Stopping", "Cancelled"]).await;
}

#[tokio::test]
async fn a_batch_cancelled_before_its_source_is_read_ends_without_a_report() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let _collector = harness.collect_jobs();
    harness.create("early", UPLOAD).await;
    let ingest = harness.wait_job("early", Stage::Ingest).await;
    // A suspended one too: it could not end otherwise.
    change(&harness, "early", json!({ "suspend": true })).await.expect("it may be suspended");
    harness.wait_job_until(&ingest.name_any(), "suspended", |job| adjustable(job).0).await;
    // A change before the status is written would keep it from being written.
    harness.wait("early", "held", |it| condition(it, "Suspended").starts_with("True")).await;
    change(&harness, "early", json!({ "cancel": { "reason": "by mistake" } })).await.expect("it may be cancelled");
    let finished = harness.wait_finished("early").await;
    for (type_, expected) in [
        ("Accepted", "False/Cancelled"),
        ("Suspended", "False/Cancelled"),
        ("Succeeded", "False/Cancelled"),
        ("ReportReady", "False/NoReport"),
    ] {
        assert_eq!(condition(&finished, type_), expected, "{type_}");
    }
    assert!(harness.jobs().list(&ListParams::default()).await.expect("Jobs").items.is_empty());
}

#[tokio::test]
async fn a_batch_is_stopped_when_too_many_images_fail() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let _collector = harness.collect_jobs();
    let (batch, compress) = compressing(&harness, "hopeless", "maxFailedPercent: 10\n").await;
    harness.records.start_shard(&uid(&batch), 0).await.expect("MongoDB answers");
    harness.records.raise_shard(&uid(&batch), 0, &counts(9, 101)).await.expect("MongoDB answers");
    let report = harness.wait_job("hopeless", Stage::Report).await;
    assert_eq!(cause(&report), "TooManyFailures");
    assert!(harness.jobs().get_opt(&compress.name_any()).await.expect("the API server answers").is_none());
    let unprocessed = Unprocessed { images: 890, cause: UnprocessedCause::TooManyFailures };
    set_settled(&harness, &batch, counts(9, 991), unprocessed).await;
    harness.end_job(&report, "Complete", None).await;
    let finished = harness.wait_finished("hopeless").await;
    assert_eq!(condition(&finished, "Succeeded"), "False/TooManyFailures");
    assert_reasons(&harness, &["Stopping", "TooManyFailures"]).await;
}
