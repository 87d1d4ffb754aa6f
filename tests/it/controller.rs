//! The controller on the real API server: each way of a batch from its creation to its end.
//!
//! The stages' results are written into the records by hand here, so that each case can be reached;
//! `path.rs` lets the real stages write them.

use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::progress::Counts;
use imagebatch::api::stage::Stage;
use imagebatch::api::status::Failure;
use imagebatch::controller::observe::{JobEnd, JobState, Observed};
use imagebatch::controller::plan::{End, Phase, Plan, Subject, plan};
use imagebatch::manifest::problem::{Code, Problem};
use imagebatch::records::result::{IngestResult, ReportResult};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::harness::{Harness, condition};

pub(crate) const PRODUCTS: &str = r#"
source:
  products:
  - {serialNumber: "1", name: Bowl, imageUrls: ["https://shop.example/1.jpg", "https://shop.example/2.jpg"]}
"#;
/// Too many images for one pod.
pub(crate) const UPLOAD: &str = r"
source:
  upload: {key: k, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, rows: 500, images: 1000}
parallelism: 3
";

pub(crate) fn uid(batch: &ImageBatch) -> String {
    batch.uid().expect("a uid")
}

pub(crate) async fn set_ingest(harness: &Harness, batch: &ImageBatch, images: i64, shards: i32) {
    let result = IngestResult { accepted: true, rows: images, images, shards, ..IngestResult::default() };
    harness.records.insert_ingest(&uid(batch), &result).await.expect("MongoDB answers");
}

pub(crate) async fn set_report(harness: &Harness, batch: &ImageBatch, succeeded: i64, failed: i64) {
    let counts = Counts { succeeded, failed, kept_original: 0, bytes_in: 1_000, bytes_out: 400 };
    let failure =
        Failure { row: 1, image: Some(2), reason: "ImageNotFound".to_owned(), detail: "https://a/2.jpg".to_owned() };
    let failures = if failed > 0 { vec![failure] } else { Vec::new() };
    let result = ReportResult { rows: 1, counts, failures, unprocessed: None };
    harness.records.insert_report(&uid(batch), &result).await.expect("MongoDB answers");
}

#[tokio::test]
async fn a_small_batch_runs_in_one_job_of_a_restricted_pod() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let batch = harness.create("small", PRODUCTS).await;
    let job = harness.wait_job("small", Stage::Run).await;
    let pod = job.spec.as_ref().and_then(|it| it.template.spec.as_ref()).expect("a pod");
    assert_eq!(job.owner_references()[0].uid, uid(&batch));
    assert_eq!(pod.automount_service_account_token, Some(false));
    assert_eq!(pod.service_account_name.as_deref(), Some("imagebatch-worker"));
    assert_eq!(pod.containers[0].command, Some(vec!["/usr/local/bin/compressor".to_owned(), "run".to_owned()]));
    // The API server's own admission is the judge.
    let namespace: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(harness.client.clone());
    let restricted = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
    namespace.patch(&harness.namespace, &PatchParams::default(), &Patch::Merge(restricted)).await.expect("a label");
    let mut spec = pod.clone();
    // There is no ServiceAccount controller beside this API server.
    spec.service_account_name = None;
    let pod = k8s_openapi::api::core::v1::Pod {
        metadata: kube::api::ObjectMeta { name: Some("probe".to_owned()), ..Default::default() },
        spec: Some(spec),
        status: None,
    };
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let error =
        pods.create(&PostParams { dry_run: true, ..Default::default() }, &pod).await.err().map(|it| it.to_string());
    assert!(!error.as_deref().unwrap_or_default().contains("PodSecurity"), "{error:?}");

    let running = harness.wait("small", "seen", |it| it.status.is_some()).await;
    assert_eq!(condition(&running, "Succeeded"), "Unknown/Pending");
    assert_eq!(condition(&running, "Finished"), "False/Pending");
    assert!(running.finalizers().contains(&"imagebatch.io/cleanup".to_owned()));

    set_ingest(&harness, &batch, 2, 1).await;
    set_report(&harness, &batch, 2, 0).await;
    harness.end_job(&job, "Complete", None).await;
    let finished = harness.wait_finished("small").await;
    let status = finished.status.clone().expect("a status");
    for (type_, expected) in [
        ("Accepted", "True/SourceValid"),
        ("Succeeded", "True/Completed"),
        ("ReportReady", "True/ReportWritten"),
        ("Finished", "True/Completed"),
    ] {
        assert_eq!(condition(&finished, type_), expected, "{type_}");
    }
    assert_eq!((status.images, status.succeeded, status.failed, status.active), (Some(2), 2, 0, 0));
    assert_eq!((status.percent.as_deref(), status.saved.as_deref()), (Some("100%"), Some("60%")));
    assert!(status.completion_time.is_some() && status.duration.is_some());
    let request = harness.records.request(&uid(&batch)).await.expect("MongoDB answers").expect("a record");
    let mirrored = request.status.expect("a mirrored status");
    assert_eq!(mirrored.get_i64("succeeded").ok().or(mirrored.get_i32("succeeded").ok().map(i64::from)), Some(2));
    assert_eq!(request.origin.map(|it| it.name), Some("small".to_owned()));

    let events: Api<Event> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let reasons: Vec<String> =
        events.list(&ListParams::default()).await.expect("Events").into_iter().filter_map(|it| it.reason).collect();
    for reason in ["JobCreated", "SourceValid", "Completed"] {
        assert!(reasons.iter().any(|it| it == reason), "no Event {reason} in {reasons:?}");
    }
}

#[tokio::test]
async fn a_large_batch_goes_from_stage_to_stage() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let batch = harness.create("large", UPLOAD).await;
    let ingest = harness.wait_job("large", Stage::Ingest).await;
    let seen = harness.wait("large", "counted", |it| it.status.as_ref().is_some_and(|it| it.images.is_some())).await;
    assert_eq!(seen.status.and_then(|it| it.images), Some(1_000), "the gateway's count holds until ingest's");

    set_ingest(&harness, &batch, 1_000, 40).await;
    harness.end_job(&ingest, "Complete", None).await;
    let compress = harness.wait_job("large", Stage::Compress).await;
    let spec = compress.spec.clone().expect("a spec");
    assert_eq!((spec.completions, spec.parallelism), (Some(40), Some(3)));
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert!(spec.backoff_limit_per_index.is_some() && spec.pod_failure_policy.is_some());

    let scale = json!({ "spec": { "parallelism": 7 } });
    harness.batches().patch("large", &PatchParams::default(), &Patch::Merge(scale)).await.expect("it may be scaled");
    let parallelism = |job: &Job| job.spec.as_ref().and_then(|it| it.parallelism);
    harness.wait_job_until(&compress.name_any(), "scaled", |job| parallelism(job) == Some(7)).await;

    harness.records.start_shard(&uid(&batch), 0).await.expect("MongoDB answers");
    let counts = Counts { succeeded: 20, failed: 5, kept_original: 1, bytes_in: 100, bytes_out: 50 };
    harness.records.raise_shard(&uid(&batch), 0, &counts).await.expect("MongoDB answers");
    let progress = harness.wait("large", "25 done", |it| it.status.as_ref().is_some_and(|it| it.failed == 5)).await;
    assert_eq!(condition(&progress, "Succeeded"), "Unknown/Running");

    // With failed indexes the Job ends Failed, and the report says what became of each image.
    harness.end_job(&compress, "Failed", Some("FailedIndexes")).await;
    let report = harness.wait_job("large", Stage::Report).await;
    set_report(&harness, &batch, 990, 10).await;
    harness.end_job(&report, "Complete", None).await;
    let finished = harness.wait_finished("large").await;
    assert_eq!(condition(&finished, "Succeeded"), "False/ImagesFailed");
    let status = finished.status.expect("a status");
    assert_eq!((status.succeeded, status.failed, status.failures.len()), (990, 10, 1));
    let left = harness.records.progress(&uid(&batch)).await.expect("MongoDB answers");
    assert_eq!(left, Counts::default(), "progress counts go when the batch is finished");
}

#[tokio::test]
async fn a_job_deleted_by_hand_is_made_again() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    harness.create("again", PRODUCTS).await;
    let job = harness.wait_job("again", Stage::Run).await;
    harness.jobs().delete(&job.name_any(), &kube::api::DeleteParams::background()).await.expect("the Job goes");
    harness.wait_job_until(&job.name_any(), "a new one", |it| it.uid() != job.uid()).await;
}

#[tokio::test]
async fn a_refused_source_ends_with_its_first_problems() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let batch = harness.create("refused", UPLOAD).await;
    let job = harness.wait_job("refused", Stage::Ingest).await;
    let problem = Problem {
        line: Some(3),
        row: Some(2),
        column: None,
        code: Code::MissingImageUrl,
        value: None,
        message: "the row has no image URL".to_owned(),
        hint: String::new(),
    };
    let result = IngestResult {
        accepted: false,
        rows: 500,
        problems: vec![problem],
        problem_count: 1,
        ..IngestResult::default()
    };
    harness.records.insert_ingest(&uid(&batch), &result).await.expect("MongoDB answers");
    harness.end_job(&job, "Complete", None).await;
    let finished = harness.wait_finished("refused").await;
    assert_eq!(condition(&finished, "Accepted"), "False/InvalidSource");
    assert_eq!(condition(&finished, "ReportReady"), "False/NoReport");
    let status = finished.status.expect("a status");
    assert_eq!(status.failures[0].reason, "MissingImageUrl");
    assert_eq!(status.images, None, "no image of a refused source was accepted");
}

#[test]
fn a_refused_source_starts_no_job_while_the_pod_that_read_it_ends() {
    let spec = serde_saphyr::from_str(UPLOAD).expect("a spec");
    let now = Timestamp::now();
    let subject = Subject { spec: &spec, retry: None, enabled: true, deadline: now + SignedDuration::from_secs(60) };
    let works = JobState { parallelism: 1, completions: 1, ..JobState::default() };
    let refused = Some(IngestResult { accepted: false, ..IngestResult::default() });
    let reading = Observed { jobs: [(Stage::Ingest, works)].into(), ingest: refused, ..Observed::default() };
    assert_eq!(plan(subject, &reading, now), Plan { phase: Phase::Ingesting, step: None });
    let ended = JobState { ended: Some(JobEnd::Complete), ..JobState::default() };
    let read = Observed { jobs: [(Stage::Ingest, ended)].into(), ..reading };
    assert_eq!(plan(subject, &read, now), Plan { phase: Phase::Ended(End::Refused(None)), step: None });
}

#[tokio::test]
async fn ends_without_a_result_are_told_apart() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    for (name, reason, expected) in [
        ("broken", Some("BackoffLimitExceeded"), "False/IngestFailed"),
        ("late", Some("DeadlineExceeded"), "False/DeadlineExceeded"),
    ] {
        harness.create(name, UPLOAD).await;
        let job = harness.wait_job(name, Stage::Ingest).await;
        harness.end_job(&job, "Failed", reason).await;
        let finished = harness.wait_finished(name).await;
        assert_eq!(condition(&finished, "Succeeded"), expected, "{name}");
        assert_eq!(condition(&finished, "Accepted"), expected, "{name}");
    }
}

#[tokio::test]
async fn a_batch_stopped_at_its_deadline_is_settled_by_the_report() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let batch = harness.create("stopped", PRODUCTS).await;
    let job = harness.wait_job("stopped", Stage::Run).await;
    set_ingest(&harness, &batch, 2, 1).await;
    harness.end_job(&job, "Failed", Some("DeadlineExceeded")).await;
    let report = harness.wait_job("stopped", Stage::Report).await;
    let input =
        report.spec.as_ref().and_then(|it| it.template.spec.as_ref()).and_then(|it| it.containers[0].env.clone());
    assert!(input.expect("an environment")[0].value.as_deref().unwrap_or_default().contains("\"DeadlineExceeded\""));
    set_report(&harness, &batch, 1, 1).await;
    harness.end_job(&report, "Complete", None).await;
    assert_eq!(condition(&harness.wait_finished("stopped").await, "Succeeded"), "False/DeadlineExceeded");
}

#[tokio::test]
async fn a_batch_waits_for_its_config_map() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    harness.create("waits", "source: {configMapKeyRef: {name: catalogue, key: products.csv}}").await;
    let waiting = harness.wait("waits", "seen", |it| it.status.is_some()).await;
    assert_eq!(condition(&waiting, "Accepted"), "False/SourceNotFound");
    assert_eq!(condition(&waiting, "Finished"), "False/SourceNotFound");
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some("catalogue".to_owned()), ..Default::default() },
        data: Some([("products.csv".to_owned(), "S. No.,Product Name,Input Image Urls\n".to_owned())].into()),
        ..ConfigMap::default()
    };
    Api::namespaced(harness.client.clone(), &harness.namespace)
        .create(&PostParams::default(), &map)
        .await
        .expect("a ConfigMap");
    let job = harness.wait_job("waits", Stage::Run).await;
    let pod = job.spec.and_then(|it| it.template.spec).expect("a pod");
    let maps = pod.volumes.into_iter().flatten().filter_map(|it| it.config_map).map(|it| it.name);
    assert_eq!(maps.collect::<Vec<_>>(), ["imagebatch-ca", "catalogue"]);
}

#[tokio::test]
async fn a_batch_outside_the_enabled_namespaces_is_told_so() {
    let harness = Harness::start().await;
    let elsewhere = Harness::start().await;
    let _controller = harness.controller_of(elsewhere.batches()).await;
    elsewhere.create("stray", PRODUCTS).await;
    let finished = elsewhere.wait_finished("stray").await;
    assert_eq!(condition(&finished, "Accepted"), "False/NamespaceNotEnabled");
    elsewhere.delete(&finished).await;
}

#[tokio::test]
async fn oversized_products_are_refused_before_a_job_is_made() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let product =
        format!("  - {{serialNumber: '1', name: {}, imageUrls: ['https://shop.example/1.jpg']}}\n", "n".repeat(500));
    let batch = harness.create("oversized", &format!("source:\n  products:\n{}", product.repeat(20))).await;
    let finished = harness.wait_finished("oversized").await;
    assert_eq!(condition(&finished, "Accepted"), "False/InvalidSource");
    assert!(harness.jobs().list(&ListParams::default()).await.expect("Jobs").items.is_empty());
    harness.delete(&batch).await;
}
