//! An accepted upload: the answer, the ImageBatch, its record and the stored bytes.

use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::source::Upload;
use imagebatch::gateway::state::Settings;
use imagebatch::records::request::Origin;
use kube::api::ListParams;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::{Asker, CSV, FORM, csv_of, form, json};
use super::surroundings::serve;
use crate::harness::Harness;

/// Returns the ImageBatch of an answer, after comparing it, its record and its object with the CSV.
async fn check_batch(harness: &Harness, answer: &Value, csv: &str) -> ImageBatch {
    let id = answer["id"].as_str().expect("an id");
    let batch = harness.batches().get(id).await.expect("the ImageBatch");
    let upload = batch.spec.source.upload.clone().expect("an upload");
    let expected = Upload {
        key: harness.storage.keys().upload(&harness.namespace, id),
        sha256: hex::encode(Sha256::digest(csv)),
        rows: answer["rows"].as_i64().expect("a number"),
        images: answer["images"].as_i64().expect("a number"),
    };
    assert_eq!(upload, expected);
    let stored = harness.storage.read(&upload.key).await.expect("storage answers").expect("the object");
    assert!(stored == csv, "{} bytes are stored", stored.len());
    let uid = batch.metadata.uid.as_deref().expect("a uid");
    let record = harness.records.request(uid).await.expect("MongoDB answers").expect("a record");
    let origin = Origin {
        name: id.to_owned(),
        namespace: harness.namespace.clone(),
        owner: None,
        source_sha256: Some(upload.sha256),
        source_key: Some(upload.key),
        display_name: None,
        compression: batch.spec.compression.clone(),
        created_at: None,
    };
    assert_eq!((record.origin, record.status), (Some(origin), None));
    batch
}

#[tokio::test]
async fn a_csv_becomes_a_batch() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let defaults = json!({ "quality": "50%", "qualityMeaning": "50% of each image's own quality", "minQuality": 30, "format": "Keep", "effort": "Small", "reportSizes": false, "onInvalidRow": "Reject", "onDuplicateSerialNumber": "Warn", "parallelism": 2, "activeDeadlineSeconds": 86_400, "deletionPolicy": "Retain" });
    let all = "?quality=70&minQuality=40&format=webp&maxWidth=800&maxHeight=600&effort=fast&reportSizes=true&parallelism=3&activeDeadlineSeconds=600&deletionPolicy=Delete&onInvalidRow=skip&onDuplicateSerialNumber=reject";
    let chosen = json!({ "quality": 70, "qualityMeaning": "absolute 70", "minQuality": 40, "format": "WebP", "maxWidth": 800, "maxHeight": 600, "effort": "Fast", "reportSizes": true, "onInvalidRow": "Skip", "onDuplicateSerialNumber": "Reject", "parallelism": 3, "activeDeadlineSeconds": 600, "deletionPolicy": "Delete" });
    let mut relative = defaults.clone();
    relative["quality"] = json!("35%");
    relative["qualityMeaning"] = json!("35% of each image's own quality");
    for (query, kind, body, options) in [
        ("", "text/csv", CSV.into(), &defaults),
        ("", FORM, form(&[("file", CSV.as_bytes())]), &defaults),
        (all, "text/csv; charset=\"UTF-8\"; header=present", CSV.into(), &chosen),
        (all, FORM, form(&[("file", CSV.as_bytes())]), &chosen),
        ("?quality=35%", "TEXT/CSV;charset=utf-8", CSV.into(), &relative),
    ] {
        let response = gateway.upload(query, kind, body).await;
        assert_eq!(response.status(), 202, "{query} {kind}");
        let location = response.headers()["location"].to_str().expect("a path").to_owned();
        let answer = json(response).await;
        let id = answer["id"].as_str().expect("an id");
        assert_eq!(location, format!("/v1/batches/{id}"));
        let expected = json!({
            "id": id,
            "namespace": harness.namespace,
            "status": "Pending",
            "rows": 2,
            "images": 3,
            "options": options,
            "warnings": [],
            "warningCounts": {},
        });
        assert_eq!(answer, expected);

        let batch = check_batch(&harness, &answer, CSV).await;
        let mut spec = serde_json::to_value(&batch.spec).expect("JSON");
        spec.as_object_mut().expect("an object").remove("source");
        let mut flat = options.clone();
        let fields = flat.as_object_mut().expect("an object");
        let names = ["quality", "minQuality", "format", "maxWidth", "maxHeight", "effort"];
        let compression = names.into_iter().filter_map(|name| Some((name.to_owned(), fields.remove(name)?)));
        let compression = Value::from(compression.collect::<serde_json::Map<_, _>>());
        fields.remove("qualityMeaning");
        fields.insert("compression".to_owned(), compression);
        let sizes = fields.remove("reportSizes");
        fields.insert("report".to_owned(), json!({ "sizes": sizes }));
        fields.insert("suspend".to_owned(), json!(false));
        let validation = ["onInvalidRow", "onDuplicateSerialNumber"].map(|name| (name.to_owned(), fields.remove(name)));
        fields.insert(
            "validation".to_owned(),
            serde_json::Map::from_iter(validation.map(|(name, value)| (name, json!(value)))).into(),
        );
        assert_eq!(spec, flat, "{query}");

        let status = gateway.get(&location).await;
        assert_eq!(
            (status.status().as_u16(), &status.headers()["cache-control"]),
            (200, &"private, no-cache".parse().expect("a value"))
        );
        let status = json(status).await;
        assert_eq!((&status["id"], &status["rows"], &status["images"]), (&json!(id), &json!(2), &json!(3)), "{status}");
    }
    assert_eq!(harness.objects().await.len(), 5, "one object an upload, and nothing else");
    assert_eq!(harness.recorded_requests().await.len(), 5);
}

#[tokio::test]
async fn a_csv_larger_than_a_part_is_stored_as_one_object() {
    let harness = Harness::start().await;
    let (url, _gateway) = serve(harness.state(harness.settings_within(16 << 20))).await;
    let csv = csv_of((11 << 20) + 7);
    let response = Asker::new(&url).upload("", FORM, form(&[("file", csv.as_bytes())])).await;
    assert_eq!(response.status(), 202);
    check_batch(&harness, &json(response).await, &csv).await;
    assert_eq!((harness.objects().await.len(), harness.unfinished_objects().await), (1, 0));
}

#[tokio::test]
async fn a_batch_of_another_namespace_is_found_at_its_location() {
    let harness = Harness::start().await;
    let namespaces = vec!["default".to_owned(), harness.namespace.clone()];
    let settings = Settings { namespace: "default".to_owned(), namespaces, ..harness.settings() };
    let (url, _gateway) = serve(harness.state(settings)).await;
    let gateway = Asker::new(&url);
    let response = gateway.upload(&format!("?namespace={}", harness.namespace), "text/csv", CSV).await;
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().expect("a path").to_owned();
    let answer = json(response).await;
    check_batch(&harness, &answer, CSV).await;
    let status = gateway.get(&location).await;
    assert_eq!(status.status(), 200, "{location}");
    assert_eq!(json(status).await["namespace"], harness.namespace);
    let elsewhere = gateway.get(&format!("/v1/batches/{}", answer["id"].as_str().expect("an id"))).await;
    assert_eq!(elsewhere.status(), 404, "the default namespace has no such batch");
}

#[tokio::test]
async fn the_same_csv_twice_makes_two_batches() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let (first, second) = tokio::join!(gateway.submit(CSV), gateway.submit(CSV));
    assert_ne!(first, second);
    let batches = harness.batches().list(&ListParams::default()).await.expect("the API server answers");
    assert_eq!(batches.items.len(), 2);
    assert_eq!(harness.objects().await.len(), 2);
}
