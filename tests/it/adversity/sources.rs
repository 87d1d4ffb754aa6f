//! A `ConfigMap` that changes, vanishes, or holds something else than text.

use imagebatch::api::source::{ConfigMapKey, Source};
use imagebatch::api::stage::Stage;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use super::{reach_compress, wait_condition};
use crate::compressor::Batch;
use crate::controller::set_report;
use crate::harness::{Harness, PATIENCE};

const HEADER: &str = "S. No.,Product Name,Input Image Urls\n";

async fn make_map(harness: &Harness, name: &str, text: Option<String>, bytes: Option<Vec<u8>>) -> Api<ConfigMap> {
    let key = || "products.csv".to_owned();
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() },
        data: text.map(|it| [(key(), it)].into()),
        binary_data: bytes.map(|it| [(key(), ByteString(it))].into()),
        ..ConfigMap::default()
    };
    let api = Api::namespaced(harness.client.clone(), &harness.namespace);
    api.create(&PostParams::default(), &map).await.expect("the ConfigMap is new");
    api
}

#[tokio::test]
async fn binary_and_large_config_maps_are_sources_like_others() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let row = format!("{HEADER}1,Bowl,https://shop.example/1.jpg\n");
    // As spreadsheets export it; the reader tells encodings by their first bytes.
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(row.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    make_map(&harness, "binary", None, Some(utf16)).await;
    make_map(&harness, "large", Some(row.repeat(10_000)), None).await;
    for (name, stage) in [("binary", Stage::Run), ("large", Stage::Ingest)] {
        harness.create(name, &format!("source: {{configMapKeyRef: {{name: {name}, key: products.csv}}}}")).await;
        harness.wait_job(name, stage).await;
    }
    // What no ConfigMap can hold the API server refuses.
    let api = Api::<ConfigMap>::namespaced(harness.client.clone(), &harness.namespace);
    let patch = json!({ "data": { "products.csv": "x".repeat(1_048_577) } });
    api.patch("large", &PatchParams::default(), &Patch::Merge(patch)).await.expect_err("it is too large");
}

#[tokio::test]
async fn a_config_map_that_changes_or_goes_after_it_was_read_does_not_matter() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let api = make_map(&harness, "catalogue", Some(HEADER.repeat(1_500)), None).await;
    let spec = "source: {configMapKeyRef: {name: catalogue, key: products.csv}}\nparallelism: 2";
    let batch = harness.create("read", spec).await;
    let compress = reach_compress(&harness, &batch).await;
    let patch = json!({ "data": { "products.csv": "nothing" } });
    api.patch("catalogue", &PatchParams::default(), &Patch::Merge(patch)).await.expect("it may change");
    api.delete("catalogue", &DeleteParams::default()).await.expect("it goes");
    let pod = compress.spec.as_ref().and_then(|it| it.template.spec.as_ref()).expect("a pod");
    let volumes = pod.volumes.iter().flatten().map(|it| it.name.as_str());
    assert_eq!(volumes.collect::<Vec<_>>(), ["ca"], "compress does not mount it");
    harness.end_job(&compress, "Complete", None).await;
    let report = harness.wait_job("read", Stage::Report).await;
    set_report(&harness, &batch, 1_000, 0).await;
    harness.end_job(&report, "Complete", None).await;
    let finished = harness.wait_finished("read").await;
    assert_eq!(finished.name_any(), "read");
    wait_condition(&harness, "read", "Accepted", "True/SourceValid").await;
}

#[tokio::test]
async fn a_config_map_that_changes_while_it_is_read_is_read_as_it_was_first() {
    let harness = Harness::start().await;
    let folder = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(&harness.namespace);
    std::fs::create_dir_all(&folder).expect("a folder");
    let write = |product: &str, rows: usize| {
        let url = harness.origin.url("mountain-thumb.jpg");
        let rows = (1..=rows).map(|row| format!("{row},{product},{url}?{row}\n")).collect::<Vec<_>>().concat();
        std::fs::write(folder.join("products.csv"), format!("{HEADER}{rows}")).expect("it can be written");
    };
    let reference = ConfigMapKey { name: "catalogue".to_owned(), key: "products.csv".to_owned() };
    let batch = Batch::new(&harness, Source { config_map_key_ref: Some(reference), ..Source::default() });
    let mounted = || ("IMAGEBATCH_SOURCE_DIR".to_owned(), folder.display().to_string());
    write("First", 60);
    let kill = ("IMAGEBATCH_FAILPOINTS".to_owned(), "shard.put.after=kill".to_owned());
    let mut pod = batch.start_with(&["ingest"], [mounted(), kill]);
    let status = tokio::time::timeout(PATIENCE, pod.wait()).await.expect("it ends").expect("it can be waited for");
    assert!(!status.success(), "it died after its first shard");
    write("Second", 30);
    let mut pod = batch.start_with(&["ingest"], [mounted()]);
    let status = tokio::time::timeout(PATIENCE, pod.wait()).await.expect("it ends").expect("it can be waited for");
    assert!(status.success());
    let (ingest, _) = batch.results().await;
    assert_eq!((ingest.rows, ingest.images), (60, 60));
    for shard in 0..ingest.shards {
        let rows = batch.object(&format!("batch/shards/{shard:06}.jsonl")).await;
        assert!(!rows.contains("Second"), "{rows}");
    }
    std::fs::remove_dir_all(&folder).expect("it is the test's own");
}
