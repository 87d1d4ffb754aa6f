//! Batches that are deleted: in each phase, while storage or MongoDB are away, and with their namespace.

use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::stage::Stage;
use imagebatch::records::ledger::OutcomeRecord;
use imagebatch::records::result::IngestResult;
use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use super::{reach_compress, set_job, wait_condition, wait_event, wait_gone};
use crate::controller::{PRODUCTS, UPLOAD, set_report, uid};
use crate::harness::{Harness, condition};

const MISSING_MAP: &str = "source: {configMapKeyRef: {name: nowhere, key: products.csv}}";

/// Stores an object and a record for a batch, as its pods would.
async fn leave_traces(harness: &Harness, batch: &ImageBatch) {
    let keys = harness.storage.keys().batch(&harness.namespace, &uid(batch));
    harness.storage.put_new(&keys.shard(0), "{}".into()).await.expect("storage answers");
    let outcome = imagebatch::manifest::outcome::RowOutcome { row: 1, images: Vec::new() };
    let record = OutcomeRecord::new(&uid(batch), 0, &outcome);
    harness.records.insert_outcomes(&[record]).await.expect("MongoDB answers");
}

async fn has_objects(harness: &Harness, batch: &ImageBatch) -> bool {
    harness.objects().await.iter().any(|key| key.contains(&uid(batch)))
}

async fn has_records(harness: &Harness, batch: &ImageBatch) -> bool {
    !harness.records.outcomes(&uid(batch), 0).await.expect("MongoDB answers").is_empty()
}

/// Brings a new batch into a phase.
async fn reach(harness: &Harness, phase: &str, name: &str, policy: &str) -> ImageBatch {
    let source = match phase {
        "waiting" => MISSING_MAP,
        "pending" | "refused" => PRODUCTS,
        _ => UPLOAD,
    };
    let batch = harness.create(name, &format!("{source}\ndeletionPolicy: {policy}\n")).await;
    match phase {
        "waiting" => {
            wait_condition(harness, name, "Accepted", "False/SourceNotFound").await;
        }
        "pending" => {
            harness.wait_job(name, Stage::Run).await;
        }
        "ingesting" => {
            let job = harness.wait_job(name, Stage::Ingest).await;
            set_job(harness, &job, json!({ "active": 1, "ready": 1 })).await;
            wait_condition(harness, name, "Succeeded", "Unknown/Ingesting").await;
        }
        "refused" => {
            let job = harness.wait_job(name, Stage::Run).await;
            harness.records.insert_ingest(&uid(&batch), &IngestResult::default()).await.expect("MongoDB answers");
            harness.end_job(&job, "Complete", None).await;
            harness.wait_finished(name).await;
        }
        _ => {
            let compress = reach_compress(harness, &batch).await;
            set_job(harness, &compress, json!({ "active": 3, "ready": 3 })).await;
            wait_condition(harness, name, "Succeeded", "Unknown/Running").await;
            // Nobody ends its pods before the batch is deleted.
            let change = match phase {
                "suspended" => Some((json!({ "suspend": true }), ["Unknown/Suspended"].as_slice())),
                // Its Jobs may be gone at once.
                "stopping" => {
                    let words = ["Unknown/Stopping", "Unknown/Reporting"].as_slice();
                    Some((json!({ "cancel": { "reason": "a mistake" } }), words))
                }
                _ => None,
            };
            if let Some((change, words)) = change {
                let patch = Patch::Merge(json!({ "spec": change }));
                harness.batches().patch(name, &PatchParams::default(), &patch).await.expect("it may change");
                harness.wait(name, phase, |it| words.contains(&condition(it, "Succeeded").as_str())).await;
            }
            if matches!(phase, "reporting" | "finished") {
                set_job(harness, &compress, json!({ "active": 0, "ready": 0 })).await;
                harness.end_job(&compress, "Complete", None).await;
                let report = harness.wait_job(name, Stage::Report).await;
                wait_condition(harness, name, "Succeeded", "Unknown/Reporting").await;
                if phase == "finished" {
                    set_report(harness, &batch, 1_000, 0).await;
                    harness.end_job(&report, "Complete", None).await;
                    harness.wait_finished(name).await;
                }
            }
        }
    }
    leave_traces(harness, &batch).await;
    batch
}

#[tokio::test]
async fn a_batch_can_be_deleted_in_each_phase() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let _collector = harness.collect_jobs();
    let phases =
        ["waiting", "pending", "refused", "ingesting", "running", "suspended", "stopping", "reporting", "finished"];
    let cases: Vec<(&str, &str)> = phases.iter().flat_map(|it| [(*it, "Retain"), (*it, "Delete")]).collect();
    futures::future::join_all(cases.iter().map(async |&(phase, policy)| {
        let name = format!("{phase}-{}", policy.to_lowercase());
        let batch = Box::pin(reach(&harness, phase, &name, policy)).await;
        harness.batches().delete(&name, &DeleteParams::default()).await.expect("it can be deleted");
        wait_gone(&harness, &batch).await;
        let jobs = ListParams::default().labels(&format!("imagebatch.io/batch-uid={}", uid(&batch)));
        assert!(harness.jobs().list(&jobs).await.expect("Jobs").items.is_empty(), "{name}");
        let stays = policy == "Retain";
        assert_eq!(has_objects(&harness, &batch).await, stays, "{name}: objects");
        assert_eq!(has_records(&harness, &batch).await, stays, "{name}: records");
        let request = harness.records.request(&uid(&batch)).await.expect("MongoDB answers");
        assert_eq!(request.is_some(), stays, "{name}: request");
        if let Some(request) = request {
            let status = request.status.expect("a mirrored status").to_string();
            let is_cut_short = !matches!(phase, "finished" | "refused");
            assert_eq!(status.contains("\"Deleted\""), is_cut_short, "{name}: {status}");
        }
    }))
    .await;
}

/// Creates a batch with traces that deletes what it stored, and leaves no controller behind.
async fn traces_to_delete(harness: &Harness, name: &str) -> ImageBatch {
    let _controller = harness.controller().await;
    let batch = harness.create(name, &format!("{MISSING_MAP}\ndeletionPolicy: Delete\n")).await;
    wait_condition(harness, name, "Accepted", "False/SourceNotFound").await;
    leave_traces(harness, &batch).await;
    batch
}

#[tokio::test]
async fn a_clean_up_waits_for_storage_that_is_away() {
    let harness = Harness::start().await;
    let batch = traces_to_delete(&harness, "waits").await;
    let without_storage = harness
        .controller_with(&[
            ("IMAGEBATCH_S3_ENDPOINT", "http://127.0.0.1:1"),
            ("IMAGEBATCH_CLEANUP_GIVE_UP_SECONDS", "0"),
        ])
        .await;
    harness.batches().delete("waits", &DeleteParams::default()).await.expect("it can be deleted");
    let message = wait_condition(&harness, "waits", "CleanedUp", "False/StorageUnavailable").await;
    assert!(message.contains(&uid(&batch)), "it names the prefix: {message}");
    wait_event(&harness, "waits", "Warning", "StorageUnavailable").await;
    assert!(has_records(&harness, &batch).await, "records go last");
    drop(without_storage);
    let _controller = harness.controller().await;
    wait_gone(&harness, &batch).await;
    assert!(!has_objects(&harness, &batch).await && !has_records(&harness, &batch).await);
}

#[tokio::test]
async fn a_clean_up_is_given_up_when_storage_stays_away() {
    let harness = Harness::start().await;
    let batch = traces_to_delete(&harness, "abandoned").await;
    let _without_storage = harness
        .controller_with(&[
            ("IMAGEBATCH_S3_ENDPOINT", "http://127.0.0.1:1"),
            ("IMAGEBATCH_CLEANUP_GIVE_UP_SECONDS", "1"),
        ])
        .await;
    harness.batches().delete("abandoned", &DeleteParams::default()).await.expect("it can be deleted");
    wait_gone(&harness, &batch).await;
    wait_event(&harness, "abandoned", "Warning", "StorageUnavailable").await;
    wait_event(&harness, "abandoned", "Warning", "CleanupAbandoned").await;
    assert!(has_objects(&harness, &batch).await);
    assert!(!has_records(&harness, &batch).await, "what can be removed is removed");
}

#[tokio::test]
async fn a_clean_up_is_given_up_when_mongodb_stays_away() {
    let harness = Harness::start().await;
    let batch = traces_to_delete(&harness, "unrecorded").await;
    let _without_records = harness
        .controller_with(&[
            ("IMAGEBATCH_MONGODB_URI", "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=500"),
            ("IMAGEBATCH_CLEANUP_GIVE_UP_SECONDS", "1"),
        ])
        .await;
    harness.batches().delete("unrecorded", &DeleteParams::default()).await.expect("it can be deleted");
    wait_condition(&harness, "unrecorded", "CleanedUp", "False/RecordsUnavailable").await;
    wait_gone(&harness, &batch).await;
    wait_event(&harness, "unrecorded", "Warning", "CleanupAbandoned").await;
    assert!(!has_objects(&harness, &batch).await);
    assert!(has_records(&harness, &batch).await);
}

#[tokio::test]
async fn a_namespace_goes_although_batches_run_in_it() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let mut batches = Vec::new();
    for (phase, policy) in [("waiting", "Delete"), ("pending", "Retain"), ("running", "Delete")] {
        batches.push(Box::pin(reach(&harness, phase, phase, policy)).await);
    }
    let namespaces = Api::<Namespace>::all(harness.client.clone());
    namespaces.delete(&harness.namespace, &DeleteParams::default()).await.expect("it can be deleted");
    // The namespace controller deletes what is in it in no certain order: Jobs first, here.
    let jobs = harness.jobs();
    jobs.delete_collection(&DeleteParams::background(), &ListParams::default()).await.expect("Jobs can be deleted");
    let message = wait_condition(&harness, "pending", "Reconciled", "False/NamespaceTerminating").await;
    assert!(message.contains("being terminated"), "{message}");
    assert!(jobs.list(&ListParams::default()).await.expect("Jobs").items.is_empty(), "none can be made");

    let _collector = harness.collect_jobs();
    let all = harness.batches().delete_collection(&DeleteParams::default(), &ListParams::default()).await;
    all.expect("ImageBatches can be deleted");
    for batch in &batches {
        wait_gone(&harness, batch).await;
        let stays = batch.name_any() == "pending";
        assert_eq!(has_objects(&harness, batch).await, stays, "{}", batch.name_any());
    }
    assert!(harness.batches().list(&ListParams::default()).await.expect("a list").items.is_empty());
    let waiting = harness.records.request(&uid(&batches[1])).await.expect("MongoDB answers").expect("its record");
    assert!(waiting.status.expect("a status").to_string().contains("\"Deleted\""));
}
