//! Object storage of other providers than S3: one batch through every role, with Google Cloud Storage (its API is
//! played by the S3 server behind a service that knows Google's signatures) and with Azure Blob Storage (Azurite).

use std::process::{Command, Stdio};

use imagebatch::api::stage::Stage;
use imagebatch::storage::Put;
use kube::api::{Patch, PatchParams};
use object_store::GetOptions;
use reqwest::{Client, redirect};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::harness::google::Google;
use crate::harness::process::{Gateway, append};
use crate::harness::{Harness, PATIENCE, azure, condition, google};

type Variables = Vec<(&'static str, String)>;

const SERVICE_ACCOUNT: &str = "IMAGEBATCH_GCS_SERVICE_ACCOUNT_KEY";
const ACCESS_KEY: &str = "IMAGEBATCH_AZURE_ACCESS_KEY";

fn in_google(google: &Google) -> Variables {
    vec![
        ("IMAGEBATCH_STORAGE_PROVIDER", "gcs".to_owned()),
        ("IMAGEBATCH_GCS_ENDPOINT", google.url.clone()),
        (SERVICE_ACCOUNT, google.key.clone()),
    ]
}

async fn in_azure() -> Variables {
    let container = uuid::Uuid::now_v7().to_string();
    azure::make_container(&container).await;
    vec![
        ("IMAGEBATCH_STORAGE_PROVIDER", "azure".to_owned()),
        ("IMAGEBATCH_STORAGE_BUCKET", container),
        ("IMAGEBATCH_AZURE_ACCOUNT", azure::ACCOUNT.to_owned()),
        ("IMAGEBATCH_AZURE_ENDPOINT", azure::endpoint()),
        (ACCESS_KEY, azure::KEY.to_owned()),
    ]
}

#[tokio::test]
async fn a_batch_is_stored_in_google_cloud_storage() {
    let google = Google::start().await;
    let harness = Harness::start_with(in_google(&google)).await;
    Box::pin(a_batch_goes_through(&harness)).await;
    large_objects_are_streamed(&harness).await;

    refused(&harness, &[(SERVICE_ACCOUNT, &google::strange_account())], "401 Unauthorized").await;
    // Without a key it is the metadata server that is asked who the pod is.
    let (metadata, none) = (google.url.trim_start_matches("http://"), [(SERVICE_ACCOUNT, "")]);
    let identity = [&none[..], &[("GCE_METADATA_HOST", metadata)]].concat();
    let gateway = Gateway::start(&harness, &identity).await;
    let answer = reqwest::get(format!("{}/readyz", gateway.ops_url)).await.expect("the gateway answers");
    let document: Value = answer.json().await.expect("JSON");
    assert_eq!(document["checks"]["storage"], "ok", "{document}");
}

#[tokio::test]
async fn a_batch_is_stored_in_azure_blob_storage() {
    let harness = Harness::start_with(in_azure().await).await;
    Box::pin(a_batch_goes_through(&harness)).await;
    large_objects_are_streamed(&harness).await;
    refused(&harness, &[(ACCESS_KEY, "bm90IHRoZSBrZXk=")], "403 Forbidden").await;
}

async fn a_batch_goes_through(harness: &Harness) {
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let redirecting = Gateway::start(harness, &[("IMAGEBATCH_IMAGE_DELIVERY", "redirect")]).await;
    let photograph = harness.origin.url("wall-clock.jpg");
    let csv = format!("S. No.,Product Name,Input Image Urls\n1,Clock,{photograph}\n");
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().expect("a client");
    let request = client.post(format!("{url}/v1/batches")).header("content-type", "text/csv").body(csv);
    let answer = request.send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 202);
    let answer: Value = answer.json().await.expect("JSON");
    let id = answer["id"].as_str().expect("an id");

    // The stage runs twice and stores the same.
    let job = harness.wait_job(id, Stage::Run).await;
    let mut stored = Vec::new();
    for _ in 0..2 {
        let ended = tokio::time::timeout(PATIENCE, harness.start_pod(&job, 0).wait()).await;
        assert!(ended.expect("the pod ends").expect("it can be waited for").success());
        stored.push(harness.objects().await);
    }
    assert_eq!(stored[0], stored[1]);
    harness.end_job(&job, "Complete", None).await;
    let finished = harness.wait_finished(id).await;
    assert_eq!(condition(&finished, "Succeeded"), "True/Completed");

    let output = client.get(format!("{url}/v1/batches/{id}/output.csv")).send().await.expect("the gateway answers");
    let output = output.text().await.expect("a report");
    let key = output.split("https://cdn.example/images/").nth(1).and_then(|it| it.split([',', '"']).next());
    let key = key.unwrap_or_else(|| panic!("no image in {output}")).trim();

    // What is stored under a key stays.
    let before = harness.storage.read(key).await.expect("storage answers").expect("the image");
    let put = harness.storage.put_image(key, "image/jpeg", b"another".to_vec().into()).await;
    assert_eq!(put.expect("storage answers"), Put::Existed);
    assert_eq!(harness.storage.read(key).await.expect("storage answers").as_ref(), Some(&before));

    let image = client.get(format!("{url}/images/{key}")).send().await.expect("the gateway answers");
    assert_eq!((image.status().as_u16(), image.headers()["content-type"].as_bytes()), (200, &b"image/jpeg"[..]));
    let etag = image.headers()["etag"].clone();
    assert_eq!(image.bytes().await.expect("a body"), before);
    let asked = client.get(format!("{url}/images/{key}"));
    let known = asked.try_clone().expect("a request").header("if-none-match", etag).send().await;
    assert_eq!(known.expect("the gateway answers").status(), 304);
    let part = asked.header("range", "bytes=2-5").send().await.expect("the gateway answers");
    assert_eq!((part.status().as_u16(), part.bytes().await.expect("a body")), (206, before.slice(2..6)));

    let sent = client.get(format!("{}/images/{key}", redirecting.url)).send().await.expect("the gateway answers");
    assert_eq!(sent.status(), 307);
    let location = sent.headers()["location"].to_str().expect("text");
    let direct = client.get(location).send().await.expect("storage answers");
    assert_eq!(direct.status(), 200);
    assert_eq!(direct.headers()["content-type"], "image/jpeg");
    assert_eq!(direct.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(direct.bytes().await.expect("a body"), before);
    let head = client.head(format!("{}/images/{key}", redirecting.url)).send().await.expect("the gateway answers");
    let location_of_head = head.headers()["location"].to_str().expect("text");
    assert_eq!(client.head(location_of_head).send().await.expect("storage answers").status(), 200);
    // A signature is for one object.
    let other = client.get(location.replace("wall-clock", "other")).send().await.expect("storage answers");
    assert!([401, 403].contains(&other.status().as_u16()), "{}", other.status());

    let policy = Patch::Merge(json!({ "spec": { "deletionPolicy": "Delete" } }));
    let batch = harness.batches().patch(id, &PatchParams::default(), &policy).await.expect("it may change");
    let _collector = harness.collect_jobs();
    harness.delete(&batch).await;
    assert_eq!(harness.objects().await, [""; 0]);
}

/// More than two parts; nothing is there before the end.
async fn large_objects_are_streamed(harness: &Harness) {
    let key = harness.storage.keys().upload(&harness.namespace, "large");
    let bytes: Vec<u8> = (0..12_000_000_u32).map(|it| it as u8).collect();
    let mut writer = harness.storage.writer(&key, "text/csv");
    writer.write_all(&bytes).await.expect("storage answers");
    assert!(harness.storage.read(&key).await.expect("storage answers").is_none());
    writer.shutdown().await.expect("storage answers");
    let found = harness.storage.open(&key, GetOptions::default()).await.expect("storage answers");
    assert_eq!(found.attributes.get(&object_store::Attribute::ContentType).map(AsRef::as_ref), Some("text/csv"));
    assert!(found.bytes().await.expect("a body") == bytes, "the bytes differ");
    // A second time there is nothing to delete.
    for _ in 0..2 {
        harness.storage.delete(&key).await.expect("storage answers");
    }
}

/// A gateway that storage does not let in says so when it is asked whether it is ready.
async fn refused(harness: &Harness, variables: &[(&str, &str)], why: &str) {
    let log = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.log", harness.namespace));
    let gateway = Gateway::start_with(harness, variables, append(&log)).await;
    let answer = reqwest::get(format!("{}/readyz", gateway.ops_url)).await.expect("the gateway answers");
    assert_eq!(answer.status(), 503);
    let said = std::fs::read_to_string(&log).expect("the log");
    assert!(said.contains("not ready") && said.contains("failed to read object") && said.contains(why), "{said}");
}

#[test]
fn settings_without_effect_or_sense_are_refused_at_the_start() {
    let redirect = ("IMAGEBATCH_IMAGE_DELIVERY", "redirect");
    let azure = ("IMAGEBATCH_STORAGE_PROVIDER", "azure");
    let gcs = ("IMAGEBATCH_STORAGE_PROVIDER", "gcs");
    let account = ("IMAGEBATCH_AZURE_ACCOUNT", "shop");
    let s3 = ("IMAGEBATCH_S3_ENDPOINT", "https://s3.example");
    let sas = ("IMAGEBATCH_AZURE_SAS_TOKEN", "sv=2022&sig=x");
    let cases: [(&[(&str, &str)], &str); 10] = [
        (&[], "object storage needs --s3-endpoint with --storage-provider=s3"),
        (&[s3, ("IMAGEBATCH_S3_ACCESS_KEY_ID", "shop")], "object storage needs --s3-secret-access-key"),
        (&[s3, account], "--azure-account has no effect with --storage-provider=s3"),
        (&[azure], "object storage needs --azure-account with --storage-provider=azure"),
        (&[azure, account, s3], "--s3-endpoint has no effect with --storage-provider=azure"),
        (&[azure, account, sas, (ACCESS_KEY, azure::KEY)], "exclude each other"),
        (&[azure, account, sas, redirect], "a SAS token cannot sign URLs"),
        (
            &[
                azure,
                account,
                redirect,
                ("IMAGEBATCH_AUTHENTICATION", "kubernetes"),
                ("IMAGEBATCH_PRIVATE_IMAGES", "true"),
            ],
            "would let caches keep the images",
        ),
        (
            &[gcs, redirect, ("IMAGEBATCH_AUTHENTICATION", "kubernetes"), ("IMAGEBATCH_PRIVATE_IMAGES", "true")],
            "would let caches keep the images",
        ),
        (&[gcs, (SERVICE_ACCOUNT, "{}")], "failed to set up object storage"),
    ];
    for (variables, why) in cases {
        let ended = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["run", "--namespace=shop", "--plain-http"])
            .env_clear()
            .env("IMAGEBATCH_AUTHENTICATION", "none")
            .env("IMAGEBATCH_STORAGE_BUCKET", "shop")
            .env("IMAGEBATCH_PUBLIC_BASE_URL", "https://cdn.example")
            .env("IMAGEBATCH_MONGODB_URI", "mongodb://127.0.0.1:1")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("the gateway starts");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(why), "{variables:?}: {said}");
    }
}
