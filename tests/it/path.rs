//! One batch through every role: upload by HTTP, controller, stages as processes, report by HTTP.

use std::fmt::Write;

use imagebatch::api::stage::Stage;
use serde_json::Value;

use crate::harness::{Harness, condition};

async fn upload(url: &str, csv: &str) -> String {
    let request = reqwest::Client::new().post(format!("{url}/v1/batches")).header("content-type", "text/csv");
    let response = request.body(csv.to_owned()).send().await.expect("the gateway answers");
    assert_eq!(response.status(), 202);
    let body: Value = response.json().await.expect("JSON");
    body["id"].as_str().expect("an id").to_owned()
}

async fn read(url: &str) -> String {
    let response = reqwest::get(url).await.expect("the gateway answers");
    assert_eq!(response.status(), 200, "{url}");
    response.text().await.expect("text")
}

#[tokio::test]
async fn a_small_upload_goes_through_one_pod() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let csv = format!(
        "S. No.;Product Name;Shelf;Input Image Urls\r\nA-1;\"Clock; round\";7;{}\r\nA-2;Page;8;{}, {}\r\n",
        harness.origin.url("wall-clock.jpg"),
        harness.origin.url("page.jpg"),
        harness.origin.url("fig-bowl-cutout.png"),
    );
    let id = upload(&url, &csv).await;
    harness.run_job(&id, Stage::Run).await;
    let finished = harness.wait_finished(&id).await;
    assert_eq!(condition(&finished, "Succeeded"), "False/ImagesFailed");

    let output = read(&format!("{url}/v1/batches/{id}/output.csv")).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "S. No.,Product Name,Shelf,Input Image Urls,Output Image Urls,Image Errors");
    assert!(lines[1].starts_with("A-1,Clock; round,7,") && lines[1].ends_with("/wall-clock.jpg,"), "{output}");
    assert!(lines[2].contains("\",\",https://cdn.example/images/") && lines[2].ends_with(",1:NotAnImage"), "{output}");
    let failed = read(&format!("{url}/v1/batches/{id}/failed.csv")).await;
    assert_eq!(failed.lines().count(), 2, "{failed}");

    let key = lines[1].split("https://cdn.example").nth(1).expect("an output URL").trim_end_matches(',');
    let image = reqwest::get(format!("{url}{key}")).await.expect("the gateway answers");
    assert_eq!(
        (image.status().as_u16(), &image.headers()["content-type"]),
        (200, &"image/jpeg".parse().expect("a value"))
    );

    // With everything deleted, nothing of the batch is left in storage or in the records.
    let policy = serde_json::json!({ "spec": { "deletionPolicy": "Delete" } });
    let params = kube::api::PatchParams::default();
    let batch = harness.batches().patch(&id, &params, &kube::api::Patch::Merge(policy)).await.expect("it may change");
    // There is no Job controller here that would take the finalizer of a foreground deletion.
    let _collector = harness.collect_jobs();
    harness.delete(&batch).await;
    assert_eq!(harness.objects().await, [""; 0]);
    let uid = batch.metadata.uid.expect("a uid");
    assert!(harness.records.request(&uid).await.expect("MongoDB answers").is_none());
    assert!(harness.records.outcomes(&uid, 0).await.expect("MongoDB answers").is_empty());
}

#[tokio::test]
async fn a_large_upload_goes_through_three_jobs() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let mut csv = "S. No.,Product Name,Input Image Urls\n".to_owned();
    for row in 1..=80 {
        let urls: Vec<String> =
            (0..4).map(|slot| harness.origin.url(&format!("mountain-thumb.jpg?{}", row % 20 * 4 + slot))).collect();
        writeln!(csv, "{row},Postcard,\"{}\"", urls.join(",")).expect("a String grows");
    }
    let id = upload(&url, &csv).await;
    harness.run_job(&id, Stage::Ingest).await;
    harness.run_job(&id, Stage::Compress).await;
    harness.run_job(&id, Stage::Report).await;
    let finished = harness.wait_finished(&id).await;
    assert_eq!(condition(&finished, "Succeeded"), "True/Completed");
    let status = finished.status.expect("a status");
    assert_eq!((status.rows, status.images, status.succeeded, status.failed), (Some(80), Some(320), 320, 0));
    let output = read(&format!("{url}/v1/batches/{id}/output.csv")).await;
    assert_eq!(output.matches("https://cdn.example/images/").count(), 320);
    let answer: Value = serde_json::from_str(&read(&format!("{url}/v1/batches/{id}")).await).expect("JSON");
    assert_eq!((answer["status"].as_str(), answer["percent"].as_str()), (Some("Completed"), Some("100%")));
}
