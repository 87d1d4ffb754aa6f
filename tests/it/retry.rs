//! Retries: only what failed is fetched again, and the reports are complete, however long the chain.

use std::fmt::Write;

use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::stage::Stage;
use imagebatch::manifest::outcome::{Outcome, RowOutcome};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use reqwest::Client;
use serde_json::{Value, json};

use crate::harness::{Harness, condition};
use crate::intake::{answer, post};

/// A gateway, as a client sees it.
struct Gateway<'a>(&'a str);

impl Gateway<'_> {
    async fn upload(&self, query: &str, csv: String) -> String {
        let (status, body) = answer(post(self.0, query).body(csv)).await;
        assert_eq!(status, 202, "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }

    async fn retry(&self, id: &str, key: Option<&str>) -> (u16, Value) {
        let request = Client::new().post(format!("{}/v1/batches/{id}/retry", self.0));
        answer(if let Some(key) = key { request.header("idempotency-key", key) } else { request }).await
    }

    async fn retry_accepted(&self, id: &str) -> String {
        let (status, body) = self.retry(id, None).await;
        assert_eq!((status, &body["retryOf"]), (202, &json!(id)), "{body}");
        body["id"].as_str().expect("an id").to_owned()
    }

    async fn status(&self, id: &str) -> (u16, Value) {
        answer(Client::new().get(format!("{}/v1/batches/{id}", self.0))).await
    }

    async fn report(&self, id: &str, file: &str) -> Vec<csv::StringRecord> {
        let response = reqwest::get(format!("{}/v1/batches/{id}/{file}", self.0)).await.expect("the gateway answers");
        assert_eq!(response.status(), 200, "{id} {file}");
        let text = response.text().await.expect("text");
        let reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes()).into_records();
        reader.map(|it| it.expect("a record")).collect()
    }
}

/// Returns all recorded outcomes of a batch by their row, and checks that status, records and report agree.
async fn agreed_outcomes(harness: &Harness, gateway: &Gateway<'_>, batch: &ImageBatch) -> Vec<RowOutcome> {
    let status = batch.status.clone().expect("a status");
    let mut outcomes = Vec::new();
    for shard in 0..64 {
        outcomes.extend(harness.records.outcomes(&batch.uid().expect("a uid"), shard).await.expect("MongoDB answers"));
    }
    outcomes.sort_by_key(|it| it.row);
    let (mut succeeded, mut failed) = (0, 0);
    for counts in outcomes.iter().map(RowOutcome::counts) {
        succeeded += counts.succeeded;
        failed += counts.failed;
    }
    assert_eq!((succeeded, failed), (status.succeeded, status.failed), "records and status");
    assert_eq!(status.images, Some(succeeded + failed));
    let report = gateway.report(&batch.name_any(), "output.csv").await;
    let urls = report.iter().flat_map(|row| row[3].split(',')).filter(|it| !it.is_empty()).count();
    let errors = report.iter().flat_map(|row| row[4].split(',')).filter(|it| it.contains(':')).count();
    assert_eq!((urls as i64, errors as i64), (succeeded, failed), "report and records");
    assert_eq!(Some(report.len() as i64), status.rows);
    outcomes
}

async fn set_policy(harness: &Harness, name: &str, policy: &str) -> ImageBatch {
    let patch = Patch::Merge(json!({ "spec": { "deletionPolicy": policy } }));
    harness.batches().patch(name, &PatchParams::default(), &patch).await.expect("it may change")
}

#[tokio::test]
async fn only_what_failed_is_fetched_again_along_a_chain_of_retries() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Gateway(&url);
    let at = |path: &str| harness.origin.url(path);
    let csv = format!(
        "S. No.,Product Name,Input Image Urls\n1,Clock,{}\n2,Card,\"{},{}\"\n3,Nothing,\n4,Bowl,{}\n",
        at("wall-clock.jpg"),
        at("later/mountain-thumb.jpg"),
        at("fig-bowl-cutout.png"),
        at("later/fig-bowl-cutout.png"),
    );
    let first = gateway.upload("?onInvalidRow=skip&displayName=Spring&quality=70", csv).await;
    let (status, body) = gateway.retry(&first, None).await;
    assert_eq!((status, &body["code"], &body["batchStatus"]), (409, &json!("NotFinished"), &json!("Pending")));
    harness.run_job(&first, Stage::Run).await;
    let batch = harness.wait_finished(&first).await;
    agreed_outcomes(&harness, &gateway, &batch).await;
    let before = gateway.report(&first, "output.csv").await;

    harness.origin.mend("mountain-thumb.jpg");
    let (status, body) = gateway.retry(&first, None).await;
    assert_eq!(
        (status, &body["rows"], &body["images"], &body["retriedImages"]),
        (202, &json!(4), &json!(4), &json!(2))
    );
    assert_eq!((&body["options"]["quality"], &body["options"]["displayName"]), (&json!(70), &json!("Spring")));
    let second = body["id"].as_str().expect("an id").to_owned();
    assert_eq!(gateway.retry_accepted(&first).await, second, "it runs");
    harness.run_job(&second, Stage::Run).await;
    let retry = harness.wait_finished(&second).await;
    assert_eq!(condition(&retry, "Succeeded"), "False/ImagesFailed");
    let outcomes = agreed_outcomes(&harness, &gateway, &retry).await;
    assert_eq!(outcomes.len(), 3, "a skipped row has no images");
    let status = retry.status.clone().expect("a status");
    assert_eq!((status.succeeded, status.failed, status.reused), (3, 1, Some(2)));
    for (path, times) in [
        ("wall-clock.jpg", 1),
        ("fig-bowl-cutout.png", 1),
        ("later/mountain-thumb.jpg", 2),
        ("later/fig-bowl-cutout.png", 2),
    ] {
        assert_eq!(harness.origin.requests(path), times, "{path}");
    }
    let after = gateway.report(&second, "output.csv").await;
    assert_eq!((&after[0], &after[2]), (&before[0], &before[2]), "what is done stays, the skipped row too");
    assert_eq!(&after[2][4], "MissingImageUrl");
    assert!(before[1][3].starts_with(',') && after[1][3].ends_with(&before[1][3]), "{before:?} {after:?}");
    assert!(after[1][3].contains("/mountain-thumb.jpg,") && after[1][4].is_empty(), "{after:?}");
    assert_eq!((&after[3][3], &after[3][4]), ("", "1:ImageNotFound"));
    let failed = gateway.report(&second, "failed.csv").await;
    assert_eq!(failed.iter().map(|row| &row[0]).collect::<Vec<_>>(), ["3", "4"]);

    let (_, shown) = gateway.status(&second).await;
    assert_eq!((&shown["retryOf"], &shown["reused"]), (&json!(first), &json!(2)), "{shown}");
    let (_, shown) = gateway.status(&first).await;
    assert_eq!((&shown["retriedBy"], &shown["retryOf"]), (&json!([second]), &Value::Null), "{shown}");
    let mirrored = harness.records.request(&batch.uid().expect("a uid")).await.expect("MongoDB answers");
    assert!(format!("{mirrored:?}").contains(&second), "{mirrored:?}");

    let (status, body) = gateway.retry(&first, None).await;
    assert_eq!((status, &body["code"], &body["retriedBy"]), (409, &json!("AlreadyRetried"), &json!(second)), "{body}");
    let (status, keyed) = gateway.retry(&first, Some("again")).await;
    assert!(status == 202 && keyed["id"] != second, "{keyed}");
    assert_eq!(gateway.retry(&first, Some("again")).await.1["id"], keyed["id"]);
    assert_eq!(gateway.retry(&second, Some("again")).await.1["code"], "IdempotencyKeyReused");

    harness.origin.mend("fig-bowl-cutout.png");
    let third = gateway.retry_accepted(&second).await;
    harness.run_job(&third, Stage::Run).await;
    let last = harness.wait_finished(&third).await;
    assert_eq!(condition(&last, "Succeeded"), "True/Completed");
    agreed_outcomes(&harness, &gateway, &last).await;
    assert_eq!(last.status.as_ref().and_then(|it| it.reused), Some(3));
    assert_eq!(harness.origin.requests("later/fig-bowl-cutout.png"), 3);
    assert_eq!(harness.origin.requests("later/mountain-thumb.jpg"), 2);
    let complete = gateway.report(&third, "output.csv").await;
    assert_eq!(complete[..3], after[..3]);
    let images: Vec<String> = complete.iter().flat_map(|row| row[3].split(',').map(str::to_owned)).collect();
    for image in images.iter().filter(|it| !it.is_empty()) {
        assert!(image.contains(&batch.uid().expect("a uid")), "{image} lies below the first batch");
        let path = image.trim_start_matches("https://cdn.example");
        assert_eq!(reqwest::get(format!("{url}{path}")).await.expect("the gateway answers").status(), 200, "{image}");
    }
    let (status, body) = gateway.retry(&third, None).await;
    assert_eq!((status, &body["code"]), (409, &json!("NothingToRetry")), "{body}");
}

#[tokio::test]
async fn images_that_were_never_reached_are_retried_in_several_pods() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Gateway(&url);
    let mut csv = "S. No.,Product Name,Input Image Urls\n".to_owned();
    for row in 1..=100 {
        let urls: Vec<String> =
            (0..4).map(|slot| harness.origin.url(&format!("mountain-thumb.jpg?{}", row * 4 + slot))).collect();
        writeln!(csv, "{row},Postcard,\"{}\"", urls.join(",")).expect("a String grows");
    }
    let first = gateway.upload("", csv).await;
    harness.run_job(&first, Stage::Ingest).await;
    stop_after(&harness, &first, 2).await;
    // Nor is its report written, and one of its pods ended before its part was.
    let report = harness.wait_job(&first, Stage::Report).await;
    harness.end_job(&report, "Failed", Some("BackoffLimitExceeded")).await;
    let batch = harness.wait_finished(&first).await;
    assert_eq!(condition(&batch, "Succeeded"), "False/ReportFailed");
    let keys = harness.storage.keys().batch(&harness.namespace, &batch.uid().expect("a uid"));
    harness.storage.delete(&keys.part(1)).await.expect("storage answers");
    let done = batch.status.as_ref().expect("a status").succeeded;
    assert_eq!(done, 56, "two shards of seven rows");
    let left = 400 - done;

    // A retry that is stopped before its first image keeps what it took over.
    let second = gateway.retry_accepted(&first).await;
    harness.run_job(&second, Stage::Ingest).await;
    let job = harness.wait_job(&second, Stage::Compress).await;
    let completions = job.spec.as_ref().and_then(|it| it.completions);
    assert_eq!(completions, Some(13), "a pod for each shard with something to do");
    stop_after(&harness, &second, 0).await;
    harness.run_job(&second, Stage::Report).await;
    let batch = harness.wait_finished(&second).await;
    let status = batch.status.as_ref().expect("a status");
    assert_eq!((status.succeeded, status.failed, status.reused), (done, left, Some(done)));
    agreed_outcomes(&harness, &gateway, &batch).await;

    let third = gateway.retry_accepted(&second).await;
    harness.run_job(&third, Stage::Ingest).await;
    harness.run_job(&third, Stage::Compress).await;
    harness.run_job(&third, Stage::Report).await;
    let batch = harness.wait_finished(&third).await;
    assert_eq!(condition(&batch, "Succeeded"), "True/Completed");
    assert_eq!(batch.status.as_ref().and_then(|it| it.reused), Some(done));
    let outcomes = agreed_outcomes(&harness, &gateway, &batch).await;
    assert!(outcomes.iter().flat_map(|it| &it.images).all(|it| it.outcome == Outcome::Compressed));
    assert_eq!(harness.origin.requests("mountain-thumb.jpg"), 400, "no image was fetched twice");
}

/// Runs that many pods of the compress Job and ends it as its deadline does.
async fn stop_after(harness: &Harness, batch: &str, pods: i32) {
    let job = harness.wait_job(batch, Stage::Compress).await;
    for index in 0..pods {
        let status = harness.start_pod(&job, index).wait().await.expect("it can be waited for");
        assert!(status.success(), "pod {index} ended with {status}");
    }
    harness.end_job(&job, "Failed", Some("DeadlineExceeded")).await;
}

#[tokio::test]
async fn a_retry_by_kubectl_waits_for_the_end_of_what_it_retries() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let failed_of = |name: &str| format!("source: {{failedOf: {{name: {name}}}}}\ncompression: {{quality: 30}}\n");
    harness.create("second", &failed_of("first")).await;
    harness.wait("second", "waiting", |it| condition(it, "Accepted") == "False/SourceNotFound").await;
    let product =
        |path: &str| format!("{{serialNumber: '1', name: Bowl, imageUrls: ['{}']}}", harness.origin.url(path));
    harness.create("first", &format!("source: {{products: [{}]}}", product("later/mountain-thumb.jpg"))).await;
    harness.wait("second", "waiting", |it| condition(it, "Accepted") == "False/SourceNotFinished").await;
    harness.run_job("first", Stage::Run).await;
    harness.origin.mend("mountain-thumb.jpg");
    harness.run_job("second", Stage::Run).await;
    let second = harness.wait_finished("second").await;
    assert_eq!(condition(&second, "Succeeded"), "True/Completed");
    let outcomes = harness.records.outcomes(&second.uid().expect("a uid"), 0).await.expect("MongoDB answers");
    assert!(outcomes[0].images[0].quality.is_some_and(|it| it <= 30), "the options are its own: {outcomes:?}");
    harness.wait("first", "noted", |it| it.status.as_ref().is_some_and(|it| it.retried_by == ["second"])).await;

    harness.create("third", &failed_of("second")).await;
    let third = harness.wait_finished("third").await;
    assert_eq!(condition(&third, "Accepted"), "False/NothingToRetry");
    // A source that was refused leaves nothing that could be retried.
    harness.create("refused", "source: {url: 'http://192.0.2.1:1/a.csv'}").await;
    harness.run_job("refused", Stage::Ingest).await;
    harness.wait_finished("refused").await;
    harness.create("fourth", &failed_of("refused")).await;
    let fourth = harness.wait_finished("fourth").await;
    assert_eq!(condition(&fourth, "Succeeded"), "False/NothingToRetry");
    assert!(fourth.status.as_ref().is_some_and(|it| it.retry.is_none() && it.images.is_none()));
}

#[tokio::test]
async fn images_go_with_the_last_batch_that_refers_to_them() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let _collector = harness.collect_jobs();
    let (url, _gateway) = harness.gateway().await;
    let gateway = Gateway(&url);
    let csv = format!(
        "S. No.,Product Name,Input Image Urls\n1,Card,\"{},{}\"\n",
        harness.origin.url("mountain-thumb.jpg"),
        harness.origin.url("later/fig-bowl-cutout.png"),
    );
    let first = gateway.upload("?deletionPolicy=Delete", csv.clone()).await;
    harness.run_job(&first, Stage::Run).await;
    let batch = harness.wait_finished(&first).await;
    let second = gateway.retry_accepted(&first).await;
    harness.wait_job(&second, Stage::Run).await;
    // The retry has not read yet what it builds on.
    harness.delete(&batch).await;
    assert_eq!(gateway.status(&first).await.0, 404);
    harness.origin.mend("fig-bowl-cutout.png");
    harness.run_job(&second, Stage::Run).await;
    let retry = harness.wait_finished(&second).await;
    assert_eq!(condition(&retry, "Succeeded"), "True/Completed");
    agreed_outcomes(&harness, &gateway, &retry).await;
    let images = || async {
        let objects = harness.objects().await;
        objects.into_iter().filter(|it| !it.contains("/batch/") && !it.contains("/retries/")).collect::<Vec<_>>()
    };
    assert_eq!(images().await.len(), 2);
    harness.delete(&retry).await;
    assert_eq!(harness.objects().await, [""; 0], "the last one takes everything with it");

    // What went as `Retain` is in use somewhere, whatever a retry of it says later.
    let first = gateway.upload("", csv.replace("later/", "later/again-")).await;
    harness.run_job(&first, Stage::Run).await;
    let batch = harness.wait_finished(&first).await;
    let second = gateway.retry_accepted(&first).await;
    harness.run_job(&second, Stage::Run).await;
    harness.wait_finished(&second).await;
    let retry = set_policy(&harness, &second, "Delete").await;
    harness.delete(&batch).await;
    harness.delete(&retry).await;
    assert_eq!(images().await.iter().filter(|it| it.ends_with("/mountain-thumb.jpg")).count(), 1);
    assert_eq!(gateway.report(&first, "output.csv").await.len(), 1);
    let (status, body) = gateway.retry(&first, None).await;
    assert_eq!((status, &body["code"]), (404, &json!("BatchNotFound")), "{body}");
}
