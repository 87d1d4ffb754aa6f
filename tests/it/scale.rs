//! What a batch costs the API server, and what does not stop others: one that cannot be read, and a server that
//! refuses, breaks off and forgets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::progress::Counts;
use imagebatch::api::stage::Stage;
use imagebatch::records::result::{IngestResult, ReportResult};
use k8s_openapi::ByteString;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::{Value, json};

use crate::harness::proxy::Proxy;
use crate::harness::{Harness, PATIENCE, condition};

const PRODUCTS: &str = r#"
source:
  products:
  - {serialNumber: "1", name: Bowl, imageUrls: ["https://shop.example/1.jpg", "https://shop.example/2.jpg"]}
"#;
/// Too many images for one pod.
const UPLOAD: &str = r"
source:
  upload: {key: k, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, rows: 500, images: 1000}
";
/// Most requests of a small batch, from its creation to its end: the finalizer, the Job, a status for each of its
/// phases, an Event for each change that people want to know.
const SMALL_BATCH: usize = 10;

fn uid(batch: &ImageBatch) -> String {
    batch.uid().expect("a uid")
}

async fn set_ingest(harness: &Harness, batch: &ImageBatch, images: i64, shards: i32) {
    let result = IngestResult { accepted: true, rows: images, images, shards, ..IngestResult::default() };
    harness.records.insert_ingest(&uid(batch), &result).await.expect("MongoDB answers");
}

async fn set_report(harness: &Harness, batch: &ImageBatch, succeeded: i64) {
    let counts = Counts { succeeded, bytes_in: 1_000, bytes_out: 400, ..Counts::default() };
    let result = ReportResult { rows: 1, counts, failures: Vec::new(), unprocessed: None };
    harness.records.insert_report(&uid(batch), &result).await.expect("MongoDB answers");
}

/// Creates a small batch and waits for its Job.
async fn begin(harness: &Harness, name: &str) -> ImageBatch {
    let batch = harness.create(name, PRODUCTS).await;
    harness.wait_job(name, Stage::Run).await;
    batch
}

/// Lets a small batch's pod end.
async fn end_pod(harness: &Harness, batch: &ImageBatch) {
    set_ingest(harness, batch, 2, 1).await;
    set_report(harness, batch, 2).await;
    let job = harness.wait_job(&batch.name_any(), Stage::Run).await;
    harness.end_job(&job, "Complete", None).await;
}

/// What was asked after `before`, without what the watches ask.
fn since(before: &BTreeMap<String, usize>, after: &BTreeMap<String, usize>) -> BTreeMap<String, usize> {
    let counted = after.iter().map(|(kind, count)| (kind.clone(), count - before.get(kind).unwrap_or(&0)));
    counted.filter(|(kind, count)| *count > 0 && !kind.starts_with("WATCH")).collect()
}

#[tokio::test]
async fn a_batch_costs_few_requests_and_running_none_but_its_status() {
    let harness = Harness::start().await;
    let proxy = Proxy::start().await;
    let _controller = harness.controller_by(proxy.client()).await;
    // Once the watches are there, whatever else is asked is asked for a batch.
    let first = begin(&harness, "first").await;
    end_pod(&harness, &first).await;
    harness.wait_finished("first").await;

    let before = proxy.requests();
    let batch = begin(&harness, "small").await;
    // The look at all running batches finds what the pod has read, while its Job works.
    set_ingest(&harness, &batch, 2, 1).await;
    harness.wait("small", "counted", |it| it.status.as_ref().is_some_and(|it| it.images == Some(2))).await;
    end_pod(&harness, &batch).await;
    harness.wait_finished("small").await;
    let small = since(&before, &proxy.requests());
    eprintln!("a small batch, from creation to Finished: {} requests {small:?}", small.values().sum::<usize>());
    assert!(small.values().sum::<usize>() <= SMALL_BATCH, "{small:?}");
    assert_eq!((small.get("POST jobs"), small.get("GET jobs")), (Some(&1), None), "{small:?}");

    let large = harness.create("large", UPLOAD).await;
    let ingest = harness.wait_job("large", Stage::Ingest).await;
    set_ingest(&harness, &large, 1_000, 40).await;
    harness.end_job(&ingest, "Complete", None).await;
    harness.wait_job("large", Stage::Compress).await;
    harness.records.start_shard(&uid(&large), 0).await.expect("MongoDB answers");
    let raise = async |succeeded: i64| {
        let counts = Counts { succeeded, ..Counts::default() };
        harness.records.raise_shard(&uid(&large), 0, &counts).await.expect("MongoDB answers");
        let is_seen = |it: &ImageBatch| it.status.as_ref().is_some_and(|it| it.succeeded == succeeded);
        harness.wait("large", "counted", is_seen).await;
    };
    raise(1).await;
    let (before, from) = (proxy.requests(), Instant::now());
    for succeeded in 2..=4 {
        raise(succeeded).await;
    }
    let running = since(&before, &proxy.requests());
    eprintln!("a running batch, in {:.1?}: {running:?}", from.elapsed());
    let most = usize::try_from(from.elapsed().as_secs() / 2).expect("a small number") + 1;
    assert!(running.len() == 1 && running["PATCH imagebatches/status"] <= most, "{running:?}");
    // Its Job cannot end here, and a controller that ends does not clean up.
    harness.batches().delete("large", &DeleteParams::default()).await.expect("it can be deleted");
}

#[tokio::test]
async fn progress_of_all_batches_is_one_query() {
    let harness = Harness::start().await;
    for (batch, shard, succeeded, bytes) in [("a", 0, 3, 1 << 40), ("a", 1, 4, 1), ("b", 0, 5, 2), ("c", 0, 6, 3)] {
        harness.records.start_shard(batch, shard).await.expect("MongoDB answers");
        let counts = Counts { succeeded, failed: 1, kept_original: 2, bytes_in: bytes, bytes_out: 1 };
        harness.records.raise_shard(batch, shard, &counts).await.expect("MongoDB answers");
    }
    let result = IngestResult { accepted: true, images: 9, ..IngestResult::default() };
    for batch in ["b", "c"] {
        harness.records.insert_ingest(batch, &result).await.expect("MongoDB answers");
        harness.records.insert_report(batch, &ReportResult::default()).await.expect("MongoDB answers");
    }
    let asked = ["a", "b", "none"].map(str::to_owned);
    let sums = harness.records.progress_of(&asked).await.expect("MongoDB answers");
    let of = |batch: &str| sums.get(batch).copied();
    let counts = |succeeded, failed, kept_original, bytes_in, bytes_out| {
        Some(Counts { succeeded, failed, kept_original, bytes_in, bytes_out })
    };
    assert_eq!(of("a"), counts(7, 2, 4, (1 << 40) + 1, 2));
    assert_eq!((of("b"), of("c"), of("none")), (counts(5, 1, 2, 2, 1), None, None));
    let ingests = harness.records.ingests_of(&asked).await.expect("MongoDB answers");
    assert_eq!(ingests.into_iter().collect::<Vec<_>>(), [("b".to_owned(), result)]);
    assert!(harness.records.progress_of(&[]).await.expect("no query").is_empty());
}

/// Puts an ImageBatch where the API server keeps it, as another version of the CRD would have allowed it.
async fn store(harness: &Harness, name: &str, parallelism: Value) {
    let etcd = std::env::var("TEST_ETCD").expect("tests/cluster/services says where the API server's etcd is");
    let batch = json!({
        "apiVersion": "imagebatch.io/v1alpha1",
        "kind": "ImageBatch",
        "metadata": {
            "name": name, "namespace": harness.namespace, "generation": 1,
            "uid": format!("00000000-0000-4000-8000-{:012}", name.len()), "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {
            "source": { "products": [{ "serialNumber": "1", "name": "Bowl", "imageUrls": ["https://a/1.jpg"] }] },
            "parallelism": parallelism,
        },
    });
    let key = format!("/registry/imagebatch.io/imagebatches/{}/{name}", harness.namespace);
    let put = json!({ "key": ByteString(key.into_bytes()), "value": ByteString(batch.to_string().into_bytes()) });
    let answer = reqwest::Client::new().post(format!("{etcd}/v3/kv/put")).json(&put).send().await;
    assert_eq!(answer.expect("etcd answers").status(), 200);
}

/// Waits for the Event that names an unreadable ImageBatch.
async fn wait_unreadable(harness: &Harness, name: &str) {
    let events: Api<Event> = Api::namespaced(harness.client.clone(), &harness.namespace);
    let is_told = async || {
        let listed = events.list(&ListParams::default()).await.expect("Events");
        listed.iter().any(|it| {
            let regarding = it.regarding.as_ref().and_then(|it| it.name.as_deref());
            let note = it.note.as_deref().unwrap_or_default();
            it.reason.as_deref() == Some("Unreadable") && regarding == Some(name) && note.contains("Invalid type")
        })
    };
    let told = async {
        while !is_told().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("no Event names {name}"));
}

#[tokio::test]
async fn an_image_batch_that_cannot_be_read_stops_no_other() {
    let harness = Harness::start().await;
    store(&harness, "listed", json!("many")).await;
    let _controller = harness.controller().await;
    begin(&harness, "good").await;
    wait_unreadable(&harness, "listed").await;
    store(&harness, "watched-too", json!({ "count": 2 })).await;
    wait_unreadable(&harness, "watched-too").await;
    begin(&harness, "good-too").await;
    // Uploads are collected beside it, but for what may be its own.
    let orphan = |name: &str| harness.storage.keys().upload(&harness.namespace, name);
    for name in ["listed", "nobody"] {
        harness.storage.put_new(&orphan(name), "1".into()).await.expect("storage answers");
    }
    // Storage tells times in seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(harness.collect_uploads(Duration::ZERO).await, 1);
    assert!(harness.objects().await.iter().any(|it| it.contains("listed")));
    // Mended, it is a batch like any other.
    store(&harness, "listed", json!(2)).await;
    harness.wait_job("listed", Stage::Run).await;
}

/// Takes small batches to their end, half of them begun before trouble and half while it lasts.
async fn through(harness: &Harness, proxy: &Proxy, count: usize, storm: Option<Duration>) -> usize {
    let early = join_all((0..count).map(|it| async move { begin(harness, &format!("early-{it}")).await })).await;
    let trouble = async {
        let Some(storm) = storm else { return 0 };
        proxy.storm(true);
        let from = Instant::now();
        let mut cut = 0;
        while from.elapsed() < storm || proxy.refused() < 4 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            cut += proxy.cut_watches(true);
        }
        proxy.forget(1);
        proxy.storm(false);
        cut
    };
    let change = async {
        join_all(early.iter().map(|batch| end_pod(harness, batch))).await;
        join_all((0..count).map(|it| async move { harness.create(&format!("late-{it}"), PRODUCTS).await })).await
    };
    let (cut, late) = tokio::join!(trouble, change);
    join_all(late.iter().map(|batch| end_pod(harness, batch))).await;
    if storm.is_some() {
        // More of it, with nothing else wrong.
        let mut cut = cut;
        while cut < 20 || !proxy.has_forgotten() {
            cut += proxy.cut_watches(false);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    for batch in early.iter().chain(&late) {
        let finished = harness.wait_finished(&batch.name_any()).await;
        assert_eq!(condition(&finished, "Succeeded"), "True/Completed");
        assert_eq!(finished.status.expect("a status").succeeded, 2);
    }
    let requests = proxy.requests();
    eprintln!("{} batches: {requests:?}", 2 * count);
    requests.values().sum()
}

#[tokio::test]
async fn an_api_server_that_refuses_breaks_off_and_forgets_costs_no_transition() {
    let seconds = std::env::var("TEST_STORM_SECONDS").map_or(5, |it| it.parse().expect("a number of seconds"));
    let storm = Duration::from_secs(seconds);
    let count = 8 + usize::try_from(seconds / 2).expect("a small number");
    let mut requests = Vec::new();
    for storm in [None, Some(storm)] {
        let harness = Harness::start().await;
        let proxy = Proxy::start().await;
        let _controller = harness.controller_by(proxy.client()).await;
        requests.push(through(&harness, &proxy, count, storm).await);
    }
    eprintln!("requests without and with the storm: {requests:?}");
    assert!(requests[1] <= 2 * requests[0], "{requests:?}");
}
