//! Intake over HTTP and by kubectl: options, encodings, dry runs, skipped rows, fetched sources.

use std::fmt::Write;

use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::stage::Stage;
use kube::ResourceExt;
use kube::api::ListParams;
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::{Harness, condition};

pub(crate) const CSV: &str = "S. No.,Product Name,Input Image Urls\n1,Chair,https://shop.example/1.jpg\n";

pub(crate) fn post(url: &str, query: &str) -> RequestBuilder {
    Client::new().post(format!("{url}/v1/batches{query}")).header("content-type", "text/csv")
}

pub(crate) async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.expect("the gateway answers");
    let status = response.status().as_u16();
    (status, response.json().await.expect("JSON"))
}

async fn text(url: &str) -> String {
    let response = reqwest::get(url).await.expect("the gateway answers");
    assert_eq!(response.status(), 200, "{url}");
    response.text().await.expect("text")
}

#[tokio::test]
async fn options_are_the_same_in_query_form_and_json() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let options = [("quality", "40"), ("minQuality", "20"), ("displayName", "Spring 🌱"), ("onInvalidRow", "skip")];

    let query: Vec<String> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let by_query = answer(post(&url, &format!("?{}", query.join("&"))).body(CSV)).await;

    let mut form = String::new();
    for (name, value) in options {
        write!(form, "--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
            .expect("a String grows");
    }
    let file = "Content-Disposition: form-data; name=\"file\"; filename=\"a.csv\"";
    write!(form, "--x\r\n{file}\r\n\r\n{CSV}\r\n--x--\r\n").expect("a String grows");
    let request = Client::new().post(format!("{url}/v1/batches"));
    let by_form = answer(request.header("content-type", "multipart/form-data; boundary=x").body(form)).await;

    let mut document = json!({ "products": [
        { "serialNumber": 1, "name": "Chair", "imageUrls": ["https://shop.example/1.jpg"] },
    ] });
    for (name, value) in options {
        document[name] = value.into();
    }
    document["quality"] = 40.into();
    let by_json = answer(Client::new().post(format!("{url}/v1/batches")).json(&document)).await;

    for (status, body) in [&by_query, &by_form, &by_json] {
        assert_eq!(*status, 202, "{body}");
        assert_eq!((&body["rows"], &body["images"]), (&json!(1), &json!(1)), "{body}");
        assert_eq!(body["options"]["qualityMeaning"], "absolute 40");
        assert_eq!(body["options"]["displayName"], "Spring 🌱");
        assert_eq!(body["warnings"][0]["code"], "LowQuality");
        assert_eq!(body["options"], by_query.1["options"]);
    }
    let name = by_form.1["id"].as_str().expect("an id");
    let batch = harness.batches().get(name).await.expect("the batch exists");
    assert_eq!(batch.annotations()["imagebatch.io/display-name"], "Spring 🌱");

    let (status, body) = answer(post(&url, "?dryRun=true").body(CSV)).await;
    assert_eq!((status, &body["options"]["qualityMeaning"]), (200, &json!("50% of each image's own quality")));
    for (query, named) in
        [("?format=heic", "format"), ("?onInvalidRow=ignore", "onInvalidRow"), ("?displayName=", "displayName")]
    {
        let (status, body) = answer(post(&url, query).body(CSV)).await;
        assert_eq!((status, &body["errors"][0]["parameter"]), (400, &json!(named)), "{body}");
    }
    document["maxWidth"] = 0.into();
    let (status, body) = answer(Client::new().post(format!("{url}/v1/batches")).json(&document)).await;
    assert_eq!((status, &body["errors"][0]["parameter"]), (400, &json!("maxWidth")), "{body}");
}

#[tokio::test]
async fn a_dry_run_finds_everything_and_leaves_nothing() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let csv = format!("{CSV}1,Again,http://shop.example/2.jpg\n3,,nothing\n");
    let (status, body) = answer(post(&url, "?dryRun=true").body(csv.clone())).await;
    assert_eq!((status, &body["errorCount"]), (422, &json!(2)), "{body}");
    assert_eq!((&body["errors"][0]["line"], &body["errors"][0]["code"]), (&json!(4), &json!("MissingProductName")));
    assert_eq!(body["warningCounts"], json!({ "DuplicateSerialNumber": 1, "InsecureUrl": 1 }));

    let (status, body) = answer(post(&url, "?dryRun=true&onInvalidRow=skip").body(csv.clone())).await;
    assert_eq!((status, &body["valid"], &body["skippedRows"]), (200, &json!(true), &json!(1)), "{body}");
    assert_eq!((&body["rows"], &body["images"], &body["errorCount"]), (&json!(3), &json!(2), &json!(2)));

    let query = "?dryRun=true&onInvalidRow=skip&onDuplicateSerialNumber=reject";
    let (status, body) = answer(post(&url, query).body(csv)).await;
    assert_eq!((status, &body["skippedRows"], &body["images"]), (200, &json!(2), &json!(1)), "{body}");
    assert_eq!(harness.objects().await, [""; 0]);
    assert!(harness.batches().list(&ListParams::default()).await.expect("a list").items.is_empty());
}

#[tokio::test]
async fn compressed_bodies_are_bounded_by_what_comes_out() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let long = format!("{CSV}2,{},https://shop.example/2.jpg\n", "x".repeat(30_000));
    let bomb = format!("{CSV}2,{}\n", "x".repeat(60 << 20));
    for encoding in ["gzip", "zstd"] {
        let send = async |plain: &str| {
            let body = if encoding == "gzip" {
                let mut encoder = GzipEncoder::new(Vec::new());
                encoder.write_all(plain.as_bytes()).await.expect("a Vec grows");
                encoder.shutdown().await.expect("a Vec grows");
                encoder.into_inner()
            } else {
                let mut encoder = ZstdEncoder::new(Vec::new());
                encoder.write_all(plain.as_bytes()).await.expect("a Vec grows");
                encoder.shutdown().await.expect("a Vec grows");
                encoder.into_inner()
            };
            assert!(body.len() < 1 << 20, "{} bytes", body.len());
            answer(post(&url, "?dryRun=true").header("content-encoding", encoding).body(body)).await
        };
        let (status, body) = send(&long).await;
        assert_eq!((status, &body["rows"]), (200, &json!(2)), "{encoding}: {body}");
        let (status, body) = send(&bomb).await;
        // The record's limit or the file's, whichever is seen first.
        assert!(
            matches!((status, body["code"].as_str()), (413, Some("BodyTooLarge")) | (422, Some("InvalidSource"))),
            "{body}"
        );
        let (status, body) = answer(post(&url, "").header("content-encoding", encoding).body(CSV)).await;
        assert_eq!((status, &body["code"]), (400, &json!("MalformedRequest")), "{encoding}: {body}");
    }
    let (status, body) = answer(post(&url, "").header("content-encoding", "br").body(CSV)).await;
    assert_eq!((status, &body["code"]), (415, &json!("UnsupportedMediaType")));
    assert_eq!(harness.objects().await, [""; 0]);
}

#[tokio::test]
async fn skipped_rows_are_reported_and_can_be_uploaded_again() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let csv = format!(
        "S. No.,Product Name,Note,Input Image Urls\n1,=Clock,-,{}\n2,Bad,+,nothing\n3,Long,a,{},b,c\n4,@Page,,{}\n",
        harness.origin.url("wall-clock.jpg"),
        harness.origin.url("wall-clock.jpg"),
        harness.origin.url("page.jpg"),
    );
    let (status, body) = answer(post(&url, "?onInvalidRow=skip").body(csv)).await;
    assert_eq!((status, &body["rows"], &body["skippedRows"], &body["images"]), (202, &json!(4), &json!(2), &json!(2)));
    let id = body["id"].as_str().expect("an id").to_owned();
    harness.run_job(&id, Stage::Run).await;
    let finished = harness.wait_finished(&id).await;
    assert_eq!(condition(&finished, "Accepted"), "True/SourceValid");
    let status = finished.status.clone().expect("a status");
    assert_eq!((status.rows, status.skipped_rows, status.images), (Some(4), Some(2), Some(2)));
    assert_eq!((status.succeeded, status.failed), (1, 1));
    let results = harness.records.results(&finished.uid().expect("a uid")).await.expect("MongoDB answers");
    let (ingest, report) = (results.ingest.expect("ingest's result"), results.report.expect("the report's"));
    assert_eq!((ingest.rows, ingest.skipped, ingest.images), (4, 2, 2));
    assert_eq!((report.rows, report.counts.succeeded, report.counts.failed), (4, 1, 1));

    let output = text(&format!("{url}/v1/batches/{id}/output.csv")).await;
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 5, "{output}");
    assert!(lines[1].starts_with("1,'=Clock,'-,http"), "{output}");
    assert_eq!(lines[2], "2,Bad,'+,nothing,,InvalidUrl");
    assert!(lines[3].ends_with(",,CellCount,b,c"), "{output}");
    let raw = text(&format!("{url}/v1/batches/{id}/output.csv?raw=true")).await;
    assert_eq!(raw, output.replace(",'", ","), "the same without apostrophes");

    // Three rows have no complete result; the one whose image failed is valid as it is.
    let failed = text(&format!("{url}/v1/batches/{id}/failed.csv")).await;
    assert_eq!(failed.lines().count(), 4, "{failed}");
    let (status, body) = answer(post(&url, "?onInvalidRow=skip").body(failed)).await;
    assert_eq!((status, &body["rows"], &body["images"]), (202, &json!(3), &json!(1)), "{body}");
    let again = body["id"].as_str().expect("an id").to_owned();
    harness.run_job(&again, Stage::Run).await;
    harness.wait_finished(&again).await;
    let output = text(&format!("{url}/v1/batches/{again}/output.csv")).await;
    assert_eq!(output.lines().next(), Some("S. No.,Product Name,Note,Input Image Urls,Output Image Urls,Image Errors"));
    assert!(output.contains("\n4,'@Page,,"), "{output}");
}

#[tokio::test]
async fn a_csv_is_fetched_by_its_url() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let spec = |path: &str| format!("source:\n  url: {}\n", harness.origin.url(path));
    for (name, path, accepted, code) in [
        ("good", "csv/good.csv", "True/SourceValid", None),
        ("bad", "csv/bad.csv", "False/InvalidSource", Some("InvalidUrl")),
        ("page", "csv/page.csv", "False/InvalidSource", Some("NotCsv")),
        ("gone", "fault/gone", "False/InvalidSource", Some("SourceUnavailable")),
        ("metadata", "fault/to-metadata", "False/InvalidSource", Some("SourceUnavailable")),
    ] {
        harness.create(name, &spec(path)).await;
        harness.run_job(name, Stage::Ingest).await;
        let done = |batch: &ImageBatch| condition(batch, "Accepted") == accepted;
        let batch = harness.wait(name, accepted, done).await;
        let failures = batch.status.expect("a status").failures;
        assert_eq!(failures.first().map(|it| it.reason.as_str()), code, "{name}: {failures:?}");
    }
    assert_eq!(harness.origin.requests("csv/good.csv"), 1, "fetched once for both passes");
}
