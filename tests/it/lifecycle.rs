//! What people may ask of a batch while it runs: to hold it, to go on, to stop, to be wider, to go.
//!
//! As in `controller.rs` the stages' results and the Jobs' ends are written by hand here.

use imagebatch::api::condition::{SUSPENDED, Statement, set_condition};
use imagebatch::api::image_batch::{ImageBatch, ImageBatchSpec};
use imagebatch::api::progress::Counts;
use imagebatch::api::stage::{Stage, UnprocessedCause};
use imagebatch::api::status::ImageBatchStatus;
use imagebatch::controller::observe::{JobEnd, JobState, Observed};
use imagebatch::controller::plan::{End, Phase, Plan, Step, Subject, plan};
use imagebatch::controller::stop::{Stop, deadline};
use imagebatch::records::result::{IngestResult, ReportResult, Unprocessed};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
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
    let batch = harness.create(name, &format!("{UPLOAD}{further}")).await;
    let ingest = harness.wait_job(name, Stage::Ingest).await;
    set_ingest(harness, &batch, 1_000, 40).await;
    harness.end_job(&ingest, "Complete", None).await;
    (batch, harness.wait_job(name, Stage::Compress).await)
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
    let report = harness.wait_job("held", Stage::Report).await;
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

fn spec(yaml: &str) -> ImageBatchSpec {
    serde_saphyr::from_str(yaml).expect("a spec")
}

fn plan_of(spec: &ImageBatchSpec, observed: &Observed) -> Plan {
    let now = Timestamp::now();
    plan(Subject { spec, retry: None, enabled: true, deadline: now + SignedDuration::from_secs(60) }, observed, now)
}

/// A batch of 1,000 images whose compress Job works.
fn observed(failed: i64) -> Observed {
    let job = JobState {
        active: 3,
        ready: 3,
        parallelism: 3,
        completions: 40,
        deadline_seconds: Some(86_400),
        ..JobState::default()
    };
    let ingest = IngestResult { accepted: true, rows: 500, images: 1_000, shards: 40, ..IngestResult::default() };
    let progress = counts(0, failed);
    Observed { jobs: [(Stage::Compress, job)].into(), ingest: Some(ingest), progress, ..Observed::default() }
}

#[test]
fn the_share_of_failures_is_that_of_all_images() {
    for (percent, failed, stops) in
        [(10, 100, false), (10, 101, true), (0, 0, false), (0, 1, true), (100, 1_000, false), (99, 991, true)]
    {
        let spec = spec(&format!("{UPLOAD}maxFailedPercent: {percent}\n"));
        let phase = plan_of(&spec, &observed(failed)).phase;
        let stopping = phase == Phase::Stopping(Stop::TooManyFailures(percent));
        assert_eq!(stopping, stops, "{failed} of 1000, {percent} %: {phase:?}");
        // As fast as it may be: the end is the same where nothing was left to stop.
        let unprocessed = Some(Unprocessed { images: 0, cause: UnprocessedCause::ShardFailed });
        let report =
            ReportResult { rows: 500, counts: counts(1_000 - failed, failed), failures: Vec::new(), unprocessed };
        let done = Observed { jobs: [].into(), report: Some(report), ..observed(0) };
        let Phase::Ended(End::Reported { stop, .. }) = plan_of(&spec, &done).phase else { panic!("not ended") };
        assert_eq!(stop, stops.then_some(Stop::TooManyFailures(percent)), "{failed} of 1000, {percent} %");
    }
}

#[test]
fn a_cancel_that_comes_too_late_changes_nothing() {
    let cancelled = spec(&format!("{UPLOAD}cancel: {{reason: too late}}\n"));
    let ended = |end| JobState { ended: Some(end), completions: 40, ..JobState::default() };
    // What the Job left behind was not left because of the cancel.
    let failed = Observed { jobs: [(Stage::Compress, ended(JobEnd::Failed))].into(), ..observed(0) };
    let Some(Step::Start { stage, cause, .. }) = plan_of(&cancelled, &failed).step else { panic!("nothing starts") };
    assert_eq!((stage, cause), (Stage::Report, UnprocessedCause::ShardFailed));
    let reporting = JobState { parallelism: 1, completions: 1, ..JobState::default() };
    let reporting = Observed { jobs: [(Stage::Report, reporting)].into(), ..observed(0) };
    assert_eq!(plan_of(&cancelled, &reporting), Plan { phase: Phase::Reporting, step: None });
    let unprocessed = Some(Unprocessed { images: 0, cause: UnprocessedCause::Cancelled });
    let report = ReportResult { rows: 500, counts: counts(1_000, 0), failures: Vec::new(), unprocessed };
    let done = Observed { jobs: [].into(), report: Some(report.clone()), ..observed(0) };
    assert_eq!(plan_of(&cancelled, &done).phase, Phase::Ended(End::Reported { result: report, stop: None }));
}

#[test]
fn a_resumed_job_gets_the_time_that_was_left() {
    let held = spec(&format!("{UPLOAD}suspend: true\n"));
    let step = |suspend, deadline_seconds| {
        Some(Step::Adjust { stage: Stage::Compress, suspend, parallelism: 3, deadline_seconds: Some(deadline_seconds) })
    };
    let running = observed(0);
    assert_eq!(plan_of(&held, &running), Plan { phase: Phase::Suspended, step: step(true, 86_400) });
    let mut suspended = running;
    suspended.jobs.get_mut(&Stage::Compress).expect("the Job").suspended = true;
    assert_eq!(plan_of(&held, &suspended), Plan { phase: Phase::Suspended, step: None });
    let resumed = spec(UPLOAD);
    assert_eq!(plan_of(&resumed, &suspended).step, step(false, 60));
}

#[test]
fn time_suspended_does_not_count_towards_the_deadline() {
    let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).expect("a time");
    let mut batch = ImageBatch::new("held", spec(&format!("{UPLOAD}activeDeadlineSeconds: 600\n")));
    assert_eq!(deadline(&batch, at(0)), at(600), "before the first visit");
    let mut status = ImageBatchStatus { start_time: Some(Time(at(0))), ..ImageBatchStatus::default() };
    status.suspended_seconds = Some(100);
    batch.status = Some(status.clone());
    assert_eq!(deadline(&batch, at(300)), at(700));
    let suspended = Statement { type_: SUSPENDED, status: Some(true), reason: "Suspended", message: String::new() };
    set_condition(&mut status.conditions, suspended, None, &Time(at(300)));
    batch.status = Some(status);
    for now in [300, 350, 5_000] {
        let left = deadline(&batch, at(now)).as_second() - at(now).as_second();
        assert_eq!(left, 400, "at {now}: what is left stays");
    }
}
