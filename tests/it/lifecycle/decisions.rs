//! What is decided without any cluster: whether a batch is stopped, and how long it may run.

use imagebatch::api::condition::{SUSPENDED, Statement, set_condition};
use imagebatch::api::image_batch::{ImageBatch, ImageBatchSpec};
use imagebatch::api::stage::{Stage, UnprocessedCause};
use imagebatch::api::status::ImageBatchStatus;
use imagebatch::controller::observe::{JobEnd, JobState, Observed};
use imagebatch::controller::plan::{End, Phase, Plan, Step, Subject, plan};
use imagebatch::controller::stop::{Stop, deadline};
use imagebatch::records::result::{IngestResult, ReportResult, Unprocessed};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::counts;
use crate::controller::UPLOAD;

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

#[test]
fn what_an_older_release_wrote_is_read() {
    let batch = serde_json::json!({
        "apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch", "metadata": { "name": "older" },
        "spec": { "source": { "upload": { "key": "k", "sha256": "a".repeat(64), "rows": 500, "images": 1_000 } } },
        "status": {
            "observedGeneration": 1, "startTime": "2026-01-01T00:00:00Z", "images": 1_000, "succeeded": 4, "failed": 1,
            "conditions": [{ "type": "Succeeded", "status": "Unknown", "reason": "Running", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z" }],
        },
    });
    let batch: ImageBatch = serde_json::from_value(batch).expect("an ImageBatch");
    assert_eq!((batch.spec.suspend, &batch.spec.cancel, batch.spec.max_failed_percent), (false, &None, None));
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    assert_eq!(deadline(&batch, Timestamp::now()), start + SignedDuration::from_secs(86_400));
    let running = plan_of(&batch.spec, &Observed { progress: counts(4, 1), ..observed(0) });
    assert_eq!(running.phase, Phase::Running);
    // Its report did not say why images have no result, so the Job does.
    let report = serde_json::json!({ "rows": 500, "counts": counts(900, 100), "failures": [] });
    let report: ReportResult = serde_json::from_value(report).expect("a report's result");
    let late = JobState { ended: Some(JobEnd::DeadlineExceeded), ..JobState::default() };
    let done = Observed { jobs: [(Stage::Compress, late)].into(), report: Some(report), ..observed(0) };
    let Phase::Ended(End::Reported { stop, .. }) = plan_of(&batch.spec, &done).phase else { panic!("not ended") };
    assert_eq!(stop, Some(Stop::DeadlineExceeded));
}
