//! What the gateway says of a batch: from the ImageBatch while it exists, from its record afterwards.

use imagebatch::api::progress::Counts;
use imagebatch::api::stage::Stage;
use imagebatch::records::result::{IngestResult, ReportResult};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::{Asker, CSV, json, problem};
use crate::harness::Harness;

const PRODUCTS: &str = r#"
source:
  products:
  - {serialNumber: "1", name: Bowl, imageUrls: ["https://shop.example/1.jpg", "https://shop.example/2.jpg"]}
"#;

#[tokio::test]
async fn a_batch_made_without_the_gateway_has_a_status() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let batch = harness.create("by-hand", PRODUCTS).await;
    let response = Asker::new(&url).get("/v1/batches/by-hand").await;
    assert_eq!(response.status(), 200);
    let expected = json!({
        "id": "by-hand",
        "namespace": harness.namespace,
        "status": "Pending",
        "finished": false,
        "createdTime": batch.metadata.creation_timestamp,
        "succeeded": 0,
        "failed": 0,
        "keptOriginal": 0,
        "active": 0,
        "bytesIn": 0,
        "bytesOut": 0,
        "bytesSaved": 0,
        "conditions": [],
        "failures": [],
    });
    assert_eq!(json(response).await, expected);
}

#[tokio::test]
async fn reports_come_at_the_end() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let id = gateway.submit(CSV).await;
    let paths = ["output.csv", "failed.csv"].map(|it| format!("/v1/batches/{id}/{it}"));
    for path in &paths {
        let early = problem(gateway.get(path).await, 409, "NotFinished").await;
        assert_eq!(early["batchStatus"], "Pending");
    }
    let condition = |type_: &str, status: &str, reason: &str| {
        let time = "2026-01-01T00:00:00Z";
        json!({ "type": type_, "status": status, "reason": reason, "message": "it was too late", "lastTransitionTime": time })
    };
    let conditions = [
        condition("Succeeded", "False", "DeadlineExceeded"),
        condition("ReportReady", "False", "NoReport"),
        condition("Finished", "True", "DeadlineExceeded"),
    ];
    let patch = Patch::Merge(json!({ "status": { "conditions": conditions } }));
    harness.batches().patch_status(&id, &PatchParams::default(), &patch).await.expect("a status");
    for path in &paths {
        let never = problem(gateway.get(path).await, 404, "NoReport").await;
        assert_eq!(never["batchStatus"], "DeadlineExceeded");
        assert!(never["detail"].as_str().is_some_and(|it| it.contains("it was too late")), "{never:#}");
    }
    // What is told from the watch may be a moment late.
    let ended = gateway.request(Method::GET, &format!("/v1/batches/{id}")).header("prefer", "wait=30");
    let status = json(ended.send().await.expect("the gateway answers")).await;
    assert_eq!((&status["status"], &status["finished"]), (&json!("DeadlineExceeded"), &json!(true)));
    assert_eq!(status["links"], Value::Null);
}

#[tokio::test]
async fn a_batch_is_remembered_when_its_image_batch_is_gone() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let batch = harness.create("past", PRODUCTS).await;
    let uid = batch.uid().expect("a uid");
    let job = harness.wait_job("past", Stage::Run).await;
    let ingest = IngestResult { accepted: true, rows: 1, images: 2, shards: 1, ..IngestResult::default() };
    harness.records.insert_ingest(&uid, &ingest).await.expect("MongoDB answers");
    let counts = Counts { succeeded: 1, failed: 1, kept_original: 0, bytes_in: 1_000, bytes_out: 400 };
    let failure = json!({ "row": 1, "image": 2, "reason": "ImageNotFound", "detail": "https://shop.example/2.jpg" });
    let failures = vec![serde_json::from_value(failure.clone()).expect("a failure")];
    let report = ReportResult { rows: 1, counts, failures, unprocessed: None };
    harness.records.insert_report(&uid, &report).await.expect("MongoDB answers");
    let keys = harness.storage.keys().batch(&harness.namespace, &uid);
    let output = "S. No.,Output Image Urls\n1,https://cdn.example/1.jpg\n";
    harness.storage.put_new(&keys.output_csv(), output.into()).await.expect("storage answers");
    harness.end_job(&job, "Complete", None).await;
    let finished = harness.wait_finished("past").await;

    let path = "/v1/batches/past";
    let before = json(gateway.get(path).await).await;
    assert_eq!((&before["status"], &before["finished"]), (&json!("ImagesFailed"), &json!(true)), "{before:#}");
    assert_eq!(
        (&before["rows"], &before["images"], &before["succeeded"], &before["failed"]),
        (&json!(1), &json!(2), &json!(1), &json!(1))
    );
    assert_eq!((&before["percent"], &before["saved"]), (&json!("100%"), &json!("60%")));
    assert_eq!((&before["bytesIn"], &before["bytesOut"]), (&json!(1_000), &json!(400)));
    assert_eq!(before["failures"], json!([failure]));
    let links = json!({ "outputCsv": "/v1/batches/past/output.csv", "failedCsv": "/v1/batches/past/failed.csv" });
    assert_eq!(before["links"], links);

    let _collector = harness.collect_jobs();
    harness.delete(&finished).await;
    let response = gateway.get(path).await;
    assert_eq!(response.status(), 200);
    assert_eq!(json(response).await, before);
    let response = gateway.get("/v1/batches/past/output.csv").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"past-output.csv\"");
    assert_eq!(response.headers()["cache-control"], "private, no-cache");
    let etag = response.headers()["etag"].clone();
    assert_eq!(response.text().await.expect("text"), output);
    let again = gateway.request(Method::GET, "/v1/batches/past/output.csv").header("if-none-match", etag);
    assert_eq!(again.send().await.expect("the gateway answers").status(), 304);
    let missing = problem(gateway.get("/v1/batches/past/failed.csv").await, 404, "NoReport").await;
    assert!(missing["detail"].as_str().is_some_and(|it| it.contains("storage")), "{missing:#}");

    // Another batch of the name is the one that is meant from now on.
    harness.create("past", PRODUCTS).await;
    let next = json(gateway.get(path).await).await;
    assert_eq!((&next["finished"], &next["succeeded"]), (&json!(false), &json!(0)), "{next:#}");
}
