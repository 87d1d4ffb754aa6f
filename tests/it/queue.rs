//! Waiting for a turn: in the installation's own line, and in Kueue's queues, with Kueue's part played by hand.
//! The end-to-end tests have a real Kueue.

use imagebatch::api::image_batch::{ImageBatch, ImageBatchSpec};
use imagebatch::api::stage::Stage;
use imagebatch::controller::kueue::Workload;
use imagebatch::controller::places::Places;
use imagebatch::records::result::{IngestResult, ReportResult};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::reflector::store::Writer;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use serde_json::{Value, json};

use crate::harness::{Harness, PATIENCE, condition};

const PRODUCTS: &str = r#"
source:
  products:
  - {serialNumber: "1", name: Bowl, imageUrls: ["https://shop.example/1.jpg"]}
"#;
/// Too many images for one pod.
const UPLOAD: &str = r"
source:
  upload: {key: k, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, rows: 500, images: 1000}
parallelism: 3
";

async fn end(harness: &Harness, batch: &ImageBatch) {
    let uid = batch.uid().expect("a uid");
    let job = harness.wait_job(&batch.name_any(), Stage::Run).await;
    let ingest = IngestResult { accepted: true, rows: 1, images: 1, shards: 1, ..IngestResult::default() };
    harness.records.insert_ingest(&uid, &ingest).await.expect("MongoDB answers");
    harness.records.insert_report(&uid, &ReportResult::default()).await.expect("MongoDB answers");
    harness.end_job(&job, "Complete", None).await;
    harness.wait_finished(&batch.name_any()).await;
}

async fn wait_position(harness: &Harness, name: &str, position: i32) -> ImageBatch {
    let is_there = |it: &ImageBatch| it.status.as_ref().is_some_and(|it| it.queue_position == Some(position));
    harness.wait(name, &format!("number {position} in the line"), is_there).await
}

async fn has_job(harness: &Harness, name: &str) -> bool {
    harness.jobs().get_opt(&Stage::Run.job_name(name)).await.expect("the API server answers").is_some()
}

#[tokio::test]
async fn batches_beyond_the_cap_wait_and_the_oldest_is_next() {
    let harness = Harness::start().await;
    let controller = harness.controller_with(&[("IMAGEBATCH_MAX_ACTIVE_BATCHES", "1")]).await;
    let first = harness.create("batch-1", PRODUCTS).await;
    harness.wait_job("batch-1", Stage::Run).await;
    // Of the same second are those in the order of their names.
    let second = harness.create("batch-2", PRODUCTS).await;
    let waiting = wait_position(&harness, "batch-2", 1).await;
    assert_eq!(condition(&waiting, "Succeeded"), "Unknown/Queued");
    assert_eq!(waiting.status.and_then(|it| it.start_time), None, "time in the line is no time of work");
    let third = harness.create("batch-3", PRODUCTS).await;
    wait_position(&harness, "batch-3", 2).await;
    assert!(!has_job(&harness, "batch-2").await && !has_job(&harness, "batch-3").await);
    // Another one learns from the statuses who holds a place.
    drop(controller);
    let _controller = harness.controller_with(&[("IMAGEBATCH_MAX_ACTIVE_BATCHES", "1")]).await;
    harness.create("batch-4", PRODUCTS).await;
    wait_position(&harness, "batch-4", 3).await;

    end(&harness, &first).await;
    harness.wait_job("batch-2", Stage::Run).await;
    wait_position(&harness, "batch-3", 1).await;
    assert!(!has_job(&harness, "batch-3").await);
    // Who is deleted gives its place up as well.
    let _collector = harness.collect_jobs();
    harness.delete(&second).await;
    end(&harness, &third).await;
}

fn object(name: &str, second: i64, reason: Option<&str>) -> ImageBatch {
    let spec: ImageBatchSpec = serde_saphyr::from_str(PRODUCTS).expect("a spec");
    let mut batch = ImageBatch::new(name, spec);
    let created = Time(Timestamp::from_second(second).expect("a time"));
    batch.metadata.namespace = Some("shop".to_owned());
    batch.metadata.uid = Some(format!("uid-{name}"));
    batch.metadata.creation_timestamp = Some(created.clone());
    let condition = |reason: &str| Condition {
        type_: "Succeeded".to_owned(),
        status: "Unknown".to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: created.clone(),
    };
    batch.status = reason.map(|reason| imagebatch::api::status::ImageBatchStatus {
        conditions: vec![condition(reason)],
        ..Default::default()
    });
    batch
}

#[tokio::test]
async fn places_are_given_by_age_and_those_who_vanish_hold_nothing_up() {
    let places = Places::new(2);
    let mut writer = Writer::<ImageBatch>::new(());
    let _called = places.open(writer.as_reader());
    writer.apply_watcher_event(&watcher::Event::Init);
    let running = object("running", 50, Some("Running"));
    let old = object("z-old", 10, Some("Queued"));
    let young = object("a-young", 20, None);
    for batch in [&running, &old, &young, &object("no-source", 1, Some("SourceNotFound"))] {
        writer.apply_watcher_event(&watcher::Event::InitApply(batch.clone()));
    }
    writer.apply_watcher_event(&watcher::Event::InitDone);
    assert_eq!(places.ask(&young).await, Some(1), "one place is left, and somebody older waits");
    assert_eq!(places.ask(&old).await, None);
    assert_eq!(places.ask(&old).await, None, "a place is kept");
    assert_eq!(places.ask(&running).await, None, "what runs holds its place since before");
    assert_eq!(places.ask(&young).await, Some(1));
    // Deleted without a finalizer, so that nobody said goodbye.
    writer.apply_watcher_event(&watcher::Event::Delete(running.clone()));
    assert_eq!(places.ask(&young).await, None);
    let last = object("last", 5, None);
    writer.apply_watcher_event(&watcher::Event::Apply(last.clone()));
    assert_eq!(places.ask(&last).await, Some(1), "age takes nobody's place away");
    places.leave("uid-z-old");
    assert_eq!(places.ask(&last).await, None);
}

#[tokio::test]
async fn without_kueue_a_batch_with_a_queue_says_so_and_starts_nothing() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    harness.create("queued", &format!("{PRODUCTS}queueName: shops\n")).await;
    let waiting = harness.wait("queued", "seen", |it| it.status.is_some()).await;
    assert_eq!(condition(&waiting, "Succeeded"), "Unknown/QueueNotAvailable");
    let status = waiting.status.expect("a status");
    let message = &status.condition("Succeeded").expect("a condition").message;
    assert!(message.contains("kueue.enabled"), "{message}");
    assert!(harness.jobs().list(&ListParams::default()).await.expect("Jobs").items.is_empty());
}

#[test]
fn what_a_workload_waits_for_is_told_in_its_own_words() {
    let condition = |type_: &str, status: &str, message: &str| json!({ "type": type_, "status": status, "reason": "R", "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let pending = condition("QuotaReserved", "False", "insufficient unused quota for cpu");
    let reserved = condition("QuotaReserved", "True", "quota reserved");
    let check = json!({ "name": "budget", "state": "Pending", "message": "waits for approval" });
    for (spec, status, expected) in [
        (json!({}), json!({}), "Kueue has not considered it yet"),
        (json!({}), json!({ "conditions": [pending] }), "insufficient unused quota for cpu"),
        (
            json!({ "active": true }),
            json!({ "conditions": [reserved], "admissionChecks": [check] }),
            "there is room; admission checks: budget Pending waits for approval",
        ),
        (
            json!({ "active": false }),
            json!({ "conditions": [pending, condition("Evicted", "True", "The workload is deactivated due to retries")] }),
            "its Workload is switched off: The workload is deactivated due to retries",
        ),
        (
            json!({}),
            json!({ "conditions": [condition("Finished", "True", "in-compatible selectors")] }),
            "Kueue has given the Job up: in-compatible selectors",
        ),
    ] {
        let object = json!({
            "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload", "metadata": { "name": "w" },
            "spec": spec, "status": status,
        });
        let workload = Workload::read(&serde_json::from_value(object).expect("a Workload"));
        assert_eq!(workload.message, expected);
        assert!(!workload.is_ours, "nothing was switched off here");
    }
}

/// Kueue's part, played by hand.
struct Kueue<'a> {
    harness: &'a Harness,
    workloads: Api<DynamicObject>,
}

impl<'a> Kueue<'a> {
    async fn install(harness: &'a Harness) -> Self {
        let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        let crd = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": "workloads.kueue.x-k8s.io" },
            "spec": {
                "group": "kueue.x-k8s.io", "scope": "Namespaced",
                "names": { "kind": "Workload", "listKind": "WorkloadList", "plural": "workloads", "singular": "workload" },
                "versions": [{
                    "name": "v1beta2", "served": true, "storage": true, "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": schema },
                }],
            },
        });
        let api = Api::<CustomResourceDefinition>::all(harness.client.clone());
        let name = "workloads.kueue.x-k8s.io";
        api.patch(name, &PatchParams::apply("it").force(), &Patch::Apply(crd)).await.expect("the CRD is accepted");
        let established = await_condition(api, name, conditions::is_crd_established());
        tokio::time::timeout(PATIENCE, established).await.expect("it is established").expect("the watch goes on");
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kueue.x-k8s.io", "v1beta2", "Workload"));
        Self { harness, workloads: Api::namespaced_with(harness.client.clone(), &harness.namespace, &resource) }
    }

    /// Makes the Job's Workload, which waits for this.
    async fn consider(&self, job: &Job, message: &str) -> String {
        let name = format!("job-{}", job.name_any());
        let owner = json!({
            "apiVersion": "batch/v1", "kind": "Job", "controller": true, "name": job.name_any(), "uid": job.uid(),
        });
        let workload = json!({
            "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload",
            "metadata": { "name": name, "labels": { "kueue.x-k8s.io/job-uid": job.uid() }, "ownerReferences": [owner] },
            "spec": { "active": true, "queueName": "shops" },
        });
        let workload: DynamicObject = serde_json::from_value(workload).expect("a Workload");
        self.workloads.create(&PostParams::default(), &workload).await.expect("a Workload");
        let waiting = json!({ "status": { "conditions": [{
            "type": "QuotaReserved", "status": "False", "reason": "Pending", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }] } });
        let status = Patch::Merge(waiting);
        self.workloads.patch_status(&name, &PatchParams::default(), &status).await.expect("a status");
        name
    }

    async fn wait_active(&self, workload: &str, active: bool) {
        let is_so = |it: Option<&DynamicObject>| it.is_some_and(|it| it.data["spec"]["active"] == active);
        let waited = await_condition(self.workloads.clone(), workload, is_so);
        tokio::time::timeout(PATIENCE, waited).await.expect("it is switched").expect("the watch goes on");
    }

    /// Changes the Job as Kueue does.
    async fn change(&self, job: &Job, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let params = PatchParams { field_manager: Some("kueue".to_owned()), ..PatchParams::default() };
        self.harness.jobs().patch(&job.name_any(), &params, &patch).await.expect("Kueue may do that");
    }
}

async fn suspend(harness: &Harness, name: &str, suspended: bool) {
    let patch = Patch::Merge(json!({ "spec": { "suspend": suspended } }));
    harness.batches().patch(name, &PatchParams::default(), &patch).await.expect("it may be suspended");
}

fn message(batch: &ImageBatch) -> String {
    let condition = batch.status.as_ref().and_then(|it| it.condition("Succeeded"));
    condition.map(|it| it.message.clone()).unwrap_or_default()
}

#[tokio::test]
async fn a_job_in_a_queue_is_kueues_from_its_creation_on() {
    let harness = Harness::start().await;
    let kueue = Kueue::install(&harness).await;
    let _controller =
        harness.controller_with(&[("IMAGEBATCH_KUEUE", "true"), ("IMAGEBATCH_MAX_ACTIVE_BATCHES", "1")]).await;
    let queue = "queueName: shops\nminParallelism: 1\nworkloadPriorityClassName: urgent\n";
    let batch = harness.create("queued", &format!("{UPLOAD}{queue}")).await;
    let ingest = harness.wait_job("queued", Stage::Ingest).await;
    assert_eq!(ingest.labels()["kueue.x-k8s.io/queue-name"], "shops");
    assert_eq!(ingest.labels()["kueue.x-k8s.io/priority-class"], "urgent");
    assert_eq!(ingest.annotations().get("kueue.x-k8s.io/job-min-parallelism"), None, "one pod cannot be fewer");
    assert_eq!(ingest.spec.as_ref().and_then(|it| it.suspend), Some(true));
    let pod_labels = ingest.spec.as_ref().and_then(|it| it.template.metadata.as_ref()?.labels.clone());
    assert!(!pod_labels.expect("labels").contains_key("kueue.x-k8s.io/queue-name"), "pods are not queued one by one");
    let waiting = harness.wait("queued", "seen", |it| message(it).contains("has not made a Workload")).await;
    assert_eq!(condition(&waiting, "Succeeded"), "Unknown/Queued");
    assert_eq!(waiting.status.and_then(|it| it.start_time), None, "time in the queue is no time of work");

    kueue.consider(&ingest, "insufficient unused quota for cpu").await;
    harness.wait("queued", "told why", |it| message(it).contains("insufficient unused quota for cpu")).await;
    // It does not count in the installation's own line.
    harness.create("unqueued", PRODUCTS).await;
    harness.wait_job("unqueued", Stage::Run).await;

    kueue.change(&ingest, json!({ "suspend": false })).await;
    harness.wait("queued", "started", |it| condition(it, "Succeeded") == "Unknown/Pending").await;
    let uid = batch.uid().expect("a uid");
    let result = IngestResult { accepted: true, rows: 500, images: 1_000, shards: 40, ..IngestResult::default() };
    harness.records.insert_ingest(&uid, &result).await.expect("MongoDB answers");
    harness.end_job(&ingest, "Complete", None).await;
    let compress = harness.wait_job("queued", Stage::Compress).await;
    assert_eq!(compress.annotations()["kueue.x-k8s.io/job-min-parallelism"], "1");
    harness.wait("queued", "waiting again", |it| condition(it, "Succeeded") == "Unknown/Queued").await;

    // Admitted with fewer pods than were asked for, which are left alone.
    kueue.change(&compress, json!({ "suspend": false, "parallelism": 2 })).await;
    harness.wait("queued", "running", |it| condition(it, "Succeeded") == "Unknown/Running").await;
    harness.records.start_shard(&uid, 0).await.expect("MongoDB answers");
    let counts = imagebatch::api::progress::Counts { succeeded: 20, ..Default::default() };
    harness.records.raise_shard(&uid, 0, &counts).await.expect("MongoDB answers");
    harness.wait("queued", "20 done", |it| it.status.as_ref().is_some_and(|it| it.succeeded == 20)).await;
    let job = harness.jobs().get(&compress.name_any()).await.expect("the Job");
    assert_eq!(job.spec.as_ref().and_then(|it| it.parallelism), Some(2));
    for (change, expected) in [
        (json!({ "parallelism": 7 }), "spec.parallelism cannot change while spec.queueName is set"),
        (json!({ "queueName": "other" }), "spec.queueName is immutable"),
        (json!({ "minParallelism": null }), "spec.minParallelism is immutable"),
        (json!({ "workloadPriorityClassName": "other" }), "spec.workloadPriorityClassName is immutable"),
    ] {
        let patch = Patch::Merge(json!({ "spec": change }));
        let refused = harness.batches().patch("queued", &PatchParams::default(), &patch).await.expect_err(expected);
        assert!(refused.to_string().contains(expected), "{refused}");
    }

    // Interrupted for somebody else.
    kueue.change(&compress, json!({ "suspend": true })).await;
    harness.wait("queued", "waiting once more", |it| condition(it, "Succeeded") == "Unknown/Queued").await;
}

#[tokio::test]
async fn suspending_a_queued_batch_switches_its_workload_off_and_not_its_job() {
    let harness = Harness::start().await;
    let kueue = Kueue::install(&harness).await;
    let _controller = harness.controller_with(&[("IMAGEBATCH_KUEUE", "true")]).await;
    harness.create("held", &format!("{PRODUCTS}queueName: shops\n")).await;
    let job = harness.wait_job("held", Stage::Run).await;
    let workload = kueue.consider(&job, "insufficient unused quota for cpu").await;
    kueue.change(&job, json!({ "suspend": false })).await;
    harness.wait("held", "started", |it| condition(it, "Succeeded") == "Unknown/Pending").await;

    suspend(&harness, "held", true).await;
    kueue.wait_active(&workload, false).await;
    harness.wait("held", "suspended", |it| condition(it, "Suspended") == "True/Suspended").await;
    let untouched = harness.jobs().get(&job.name_any()).await.expect("the Job");
    assert_eq!(untouched.spec.and_then(|it| it.suspend), Some(false), "it is Kueue that suspends the Job");
    kueue.change(&job, json!({ "suspend": true })).await;
    suspend(&harness, "held", false).await;
    kueue.wait_active(&workload, true).await;
    harness.wait("held", "waiting", |it| condition(it, "Succeeded") == "Unknown/Queued").await;

    // What somebody else switched off stays off.
    let off = Patch::Merge(json!({ "spec": { "active": false } }));
    kueue.workloads.patch(&workload, &PatchParams::default(), &off).await.expect("an administrator may");
    harness.wait("held", "told so", |it| message(it).contains("its Workload is switched off")).await;
    let found = kueue.workloads.get(&workload).await.expect("the Workload");
    assert_eq!(found.data["spec"]["active"], false);
}

#[tokio::test]
async fn a_suspended_batch_makes_room_and_gets_in_line_again() {
    let harness = Harness::start().await;
    let _controller = harness.controller_with(&[("IMAGEBATCH_MAX_ACTIVE_BATCHES", "1")]).await;
    harness.create("older", PRODUCTS).await;
    harness.wait_job("older", Stage::Run).await;
    let younger = harness.create("younger", PRODUCTS).await;
    wait_position(&harness, "younger", 1).await;
    suspend(&harness, "older", true).await;
    harness.wait("older", "suspended", |it| condition(it, "Suspended") == "True/Suspended").await;
    harness.wait_job("younger", Stage::Run).await;
    suspend(&harness, "older", false).await;
    let waiting = wait_position(&harness, "older", 1).await;
    assert_eq!(condition(&waiting, "Succeeded"), "Unknown/Queued");
    assert_eq!(condition(&waiting, "Suspended"), "False/Resumed");
    let job = harness.jobs().get("older-run").await.expect("the Job");
    assert_eq!(job.spec.and_then(|it| it.suspend), Some(true), "its Job waits as well");
    end(&harness, &younger).await;
    harness
        .wait_job_until("older-run", "resumed", |job| job.spec.as_ref().and_then(|it| it.suspend) != Some(true))
        .await;
}
