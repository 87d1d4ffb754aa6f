//! The way of a shop: a CSV by HTTP, the status, the CSV with the new URLs, the images.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::{get, kubectl, names, records, sample_csv, upload, upload_accepted, url, wait_finished};

#[tokio::test]
async fn the_sample_csv_runs_to_its_end() {
    let csv = sample_csv();
    let id = upload_accepted(csv.clone(), "").await;
    let batch = wait_finished(&id);
    let status = &batch["status"];
    let condition = |type_: &str| {
        let conditions = status["conditions"].as_array().expect("conditions");
        let found = conditions.iter().find(|it| it["type"] == type_).expect("the condition");
        format!("{}/{}", found["status"].as_str().expect("text"), found["reason"].as_str().expect("text"))
    };
    assert_eq!(condition("Accepted"), "True/SourceValid");
    assert_eq!(condition("Succeeded"), "False/ImagesFailed");
    assert_eq!(condition("ReportReady"), "True/ReportWritten");

    // Each failure is named by its row, its slot and its code.
    let failures: Vec<(i64, i64, &str)> = status["failures"]
        .as_array()
        .expect("failures")
        .iter()
        .map(|it| {
            (
                it["row"].as_i64().expect("row"),
                it["image"].as_i64().expect("image"),
                it["reason"].as_str().expect("reason"),
            )
        })
        .collect();
    assert_eq!(failures, [(6, 3, "ImageNotFound"), (8, 3, "NotAnImage"), (9, 1, "ImageTruncated")]);

    // The output has the input's rows in their order; position i belongs to input i.
    let output = reqwest::get(url(&format!("/v1/batches/{id}/output.csv"))).await.expect("an answer");
    assert_eq!(output.status(), 200);
    let output = output.text().await.expect("text");
    let read = |text: &str| -> Vec<Vec<String>> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
        reader.records().map(|it| it.expect("a record").iter().map(str::to_owned).collect()).collect()
    };
    let (input, output) = (read(&csv), read(&output));
    assert_eq!(input.len(), output.len());
    assert_eq!(output[0][3..], ["Output Image Urls", "Image Errors"]);
    let mut slots = Vec::new();
    for (row, (before, after)) in input.iter().zip(&output).enumerate().skip(1) {
        assert_eq!(before[..], after[..3], "row {row}");
        let inputs = before[2].split(',').count();
        let outputs: Vec<&str> = after[3].split(',').collect();
        assert_eq!(outputs.len(), inputs, "row {row}");
        slots.extend(outputs.iter().map(|it| (*it).to_owned()));
        let empty: Vec<usize> = (0..inputs).filter(|&slot| outputs[slot].is_empty()).map(|slot| slot + 1).collect();
        let named: Vec<usize> = after[4].split(',').filter_map(|it| it.split(':').next()?.parse().ok()).collect();
        assert_eq!(empty, named, "row {row}: each empty slot has its error");
    }
    assert_eq!(slots.len(), 34);

    // Status, CSV and records say the same.
    let filled = slots.iter().filter(|it| !it.is_empty()).count() as i64;
    assert_eq!(
        (status["images"].as_i64(), status["succeeded"].as_i64(), status["failed"].as_i64()),
        (Some(34), Some(filled), Some(3))
    );
    let uid = batch["metadata"]["uid"].as_str().expect("a uid");
    let mut recorded: BTreeMap<String, i64> = BTreeMap::new();
    for outcome in records("outcomes", uid).await {
        for image in outcome.get_array("images").expect("images") {
            let image = image.as_document().expect("a document");
            *recorded.entry(image.get_str("outcome").expect("an outcome").to_owned()).or_default() += 1;
        }
    }
    assert_eq!(recorded["Failed"], 3);
    assert_eq!(recorded.values().sum::<i64>() - recorded["Failed"], filled);
    assert_eq!(records("products", uid).await.len(), input.len() - 1);

    // The URLs are those of images that are smaller than what they were made from.
    for slot in slots.iter().filter(|it| !it.is_empty()) {
        let image = reqwest::get(slot).await.expect("an answer");
        assert_eq!(image.status(), 200, "{slot}");
        assert!(image.headers()["cache-control"].to_str().expect("text").contains("immutable"), "{slot}");
        let bytes = image.bytes().await.expect("a body");
        codec::compress(&bytes, &codec::Options::default(), &codec::Limits::default()).expect("an image");
    }
    assert!(status["bytesOut"].as_i64() < status["bytesIn"].as_i64());

    let answer: Value =
        reqwest::get(url(&format!("/v1/batches/{id}"))).await.expect("an answer").json().await.expect("JSON");
    assert_eq!((answer["status"].as_str(), answer["failed"].as_i64()), (Some("ImagesFailed"), Some(3)));

    // Deleting the ImageBatch takes Jobs and pods; the images stay.
    let delete = reqwest::Client::new().delete(url(&format!("/v1/batches/{id}"))).send().await.expect("an answer");
    assert_eq!(delete.status(), 202);
    kubectl(&["wait", "--for=delete", &format!("imagebatch/{id}"), "--timeout=120s"]);
    assert_eq!(names("jobs,pods", &format!("imagebatch.io/batch-uid={uid}")), [""; 0]);
    let image = slots.iter().find(|it| !it.is_empty()).expect("an image");
    assert_eq!(reqwest::get(image).await.expect("an answer").status(), 200);
    let answer = reqwest::get(url(&format!("/v1/batches/{id}"))).await.expect("an answer");
    assert_eq!(answer.status(), 200, "the record stays too");
}

#[tokio::test]
async fn a_malformed_csv_is_answered_row_by_row_and_leaves_nothing() {
    let before = kubectl(&["get", "imagebatches", "--output=name"]);
    let csv = "S. No.,Product Name,Input Image Urls\n1,Bowl,ftp://shop.example/1.jpg\n2,,https://shop.example/2.jpg\n3,Clock\n";
    let response = upload(csv.to_owned(), "").await;
    assert_eq!(response.status(), 422);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = response.json().await.expect("JSON");
    let errors: Vec<(u64, &str)> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|it| (it["row"].as_u64().expect("row"), it["code"].as_str().expect("code")))
        .collect();
    assert_eq!(errors, [(1, "InvalidUrl"), (2, "MissingProductName"), (3, "CellCount")]);
    assert_eq!(kubectl(&["get", "imagebatches", "--output=name"]), before);
    assert_eq!(get("namespace", "imagebatch-demo")["status"]["phase"], "Active");
}
