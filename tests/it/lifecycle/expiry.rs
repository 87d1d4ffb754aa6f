//! `ttlSecondsAfterFinished`: the ImageBatch goes by itself; what it stored, and what is to be told, stays.

use imagebatch::api::image_batch::{DeletionPolicy, ImageBatch};
use imagebatch::api::stage::Stage;
use imagebatch::controller::expire::expiry;
use imagebatch::records::delivery::DeliveryState;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::wait::{await_condition, conditions};
use serde_json::json;

use super::{assert_reasons, change};
use crate::controller::{PRODUCTS, set_ingest, set_report, uid};
use crate::harness::{Harness, PATIENCE, condition};
use crate::webhook::{OLD, create_secret, receiver};

/// Runs a small batch to its end.
async fn run(harness: &Harness, name: &str, further: &str) -> ImageBatch {
    let batch = harness.create(name, &format!("{PRODUCTS}{further}")).await;
    let job = harness.wait_job(name, Stage::Run).await;
    set_ingest(harness, &batch, 2, 1).await;
    set_report(harness, &batch, 2, 0).await;
    harness.end_job(&job, "Complete", None).await;
    batch
}

async fn wait_gone(harness: &Harness, batch: &ImageBatch) {
    let (name, uid) = (batch.metadata.name.as_deref().expect("a name"), uid(batch));
    let gone = await_condition(harness.batches(), name, conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.expect("the batch goes").expect("the watch goes on");
}

#[tokio::test]
async fn a_finished_batch_goes_at_its_time_and_leaves_what_it_stored() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let _collector = harness.collect_jobs();
    let batch = run(&harness, "expires", "").await;
    let keys = harness.storage.keys().batch(&harness.namespace, &uid(&batch));
    harness.storage.put_new(&keys.output_csv(), "S. No.\n".into()).await.expect("storage answers");
    harness.wait_finished("expires").await;
    // Set afterwards, as for any batch that nobody thought of.
    change(&harness, "expires", json!({ "ttlSecondsAfterFinished": 0 })).await.expect("it may be set");
    wait_gone(&harness, &batch).await;
    assert_reasons(&harness, &["Expired"]).await;
    let record = harness.records.request(&uid(&batch)).await.expect("MongoDB answers").expect("a record");
    assert!(record.read_status().expect("a status").is_finished(), "{record:?}");
    assert!(harness.storage.read(&keys.output_csv()).await.expect("storage answers").is_some());
}

#[tokio::test]
async fn a_webhook_is_told_also_when_the_batch_is_gone() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let _collector = harness.collect_jobs();
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (url, received, _receiver) = receiver(&[500, 204]).await;
    let further = format!("ttlSecondsAfterFinished: 0\nwebhook: {{url: \"{url}\"}}\n");
    let batch = run(&harness, "untold", &further).await;
    wait_gone(&harness, &batch).await;
    let told = async {
        loop {
            let deliveries = harness.records.deliveries(&uid(&batch)).await.expect("MongoDB answers");
            if deliveries.iter().all(|it| it.state == DeliveryState::Delivered && !it.untold) {
                return deliveries;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let deliveries = tokio::time::timeout(PATIENCE, told).await.expect("the event is told");
    assert_eq!((deliveries.len(), received.lock().expect("not poisoned").len()), (1, 2), "{deliveries:?}");
    // All that is left of the batch says so.
    let record = harness.records.request(&uid(&batch)).await.expect("MongoDB answers").expect("a record");
    let mut gone = batch.clone();
    gone.status = Some(record.read_status().expect("a status"));
    assert_eq!(condition(&gone, "WebhookDelivered"), "True/WebhookDelivered");
    assert_eq!(condition(&gone, "Finished"), "True/Completed");
}

#[test]
fn only_what_is_finished_and_retained_expires() {
    let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).expect("a time");
    let spec = format!("{PRODUCTS}ttlSecondsAfterFinished: 60\n");
    let mut batch = ImageBatch::new("a", serde_saphyr::from_str(&spec).expect("a spec"));
    assert_eq!(expiry(&batch), None, "it is not seen yet");
    let finished = json!({
        "type": "Finished", "status": "True", "reason": "Completed", "message": "",
        "lastTransitionTime": "2027-01-15T08:00:00Z",
    });
    let status = json!({ "completionTime": Time(at(0)), "conditions": [finished] });
    batch.status = Some(serde_json::from_value(status).expect("a status"));
    assert_eq!(expiry(&batch), Some(at(60)));
    batch.spec.deletion_policy = DeletionPolicy::Delete;
    assert_eq!(expiry(&batch), None, "its images would go with it");
    batch.spec.deletion_policy = DeletionPolicy::Retain;
    batch.spec.ttl_seconds_after_finished = None;
    assert_eq!(expiry(&batch), None);
}
