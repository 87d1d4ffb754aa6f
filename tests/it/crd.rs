//! The CustomResourceDefinition: what is committed is what the types say, and the API server enforces it.

mod upgrade;

use std::path::Path;

use imagebatch::api::image_batch::{ImageBatch, crd_yaml};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use serde_json::{Value, json};

use crate::harness::Harness;

#[test]
fn the_committed_crd_is_the_generated_one() {
    let generated = crd_yaml().expect("a CRD");
    for path in ["crds/imagebatches.imagebatch.io.yaml", "charts/imagebatch/files/crd.yaml"] {
        let committed = std::fs::read_to_string(path).expect("the committed CRD");
        assert!(committed == generated, "{path} is not what the types say: run make crds");
    }
}

#[tokio::test]
async fn the_api_server_refuses_what_the_crd_forbids() {
    let harness = Harness::start().await;
    let product = json!({ "serialNumber": "1", "name": "Bowl", "imageUrls": ["https://shop.example/1.jpg"] });
    let source = json!({ "products": [product] });
    let with = |key: &str, value: Value| json!({ "source": source, key: value });
    let cases = [
        ("a", json!({}), "spec.source"),
        ("a", json!({ "source": {} }), "exactly one of"),
        (
            "a",
            json!({ "source": { "products": [product], "configMapKeyRef": { "name": "a", "key": "b" } } }),
            "exactly one of",
        ),
        ("a", json!({ "source": { "products": [] } }), "spec.source.products"),
        ("a", json!({ "source": { "products": vec![product.clone(); 51] } }), "must have at most 50 items"),
        ("a", json!({ "source": { "products": [product], "failedOf": { "name": "b" } } }), "exactly one of"),
        ("a", json!({ "source": { "failedOf": { "name": "a" } } }), "must be another ImageBatch"),
        ("a", json!({ "source": { "failedOf": { "name": "B" } } }), "spec.source.failedOf.name"),
        (
            "a",
            json!({ "source": { "failedOf": { "name": "b" } }, "validation": { "onInvalidRow": "Skip" } }),
            "validated already",
        ),
        ("a", with("compression", json!({ "quality": 0 })), "quality must be"),
        ("a", with("compression", json!({ "quality": 101 })), "quality must be"),
        ("a", with("compression", json!({ "quality": "50" })), "quality must be"),
        ("a", with("compression", json!({ "quality": "101%" })), "quality must be"),
        ("a", with("compression", json!({ "minQuality": 0 })), "spec.compression.minQuality"),
        ("a", with("parallelism", json!(0)), "spec.parallelism"),
        ("a", with("activeDeadlineSeconds", json!(1)), "spec.activeDeadlineSeconds"),
        ("a", with("deletionPolicy", json!("Maybe")), "spec.deletionPolicy"),
        ("a", with("suspended", json!(true)), ".spec.suspended: field not declared in schema"),
        ("a", with("queueName", json!("Shops")), "spec.queueName"),
        ("a", with("minParallelism", json!(1)), "no meaning without spec.queueName"),
        ("a", with("workloadPriorityClassName", json!("urgent")), "no meaning without spec.queueName"),
        (
            "a",
            json!({ "source": source, "queueName": "shops", "parallelism": 2, "minParallelism": 3 }),
            "must not be more than spec.parallelism",
        ),
        ("a", with("priorityClassName", json!("system-node-critical")), "must not be one of Kubernetes' own"),
        ("a-name-that-is-longer-than-forty-characters", json!({ "source": source }), "at most 40"),
        ("a.b", json!({ "source": source }), "DNS label"),
    ];
    let api = dynamic(&harness);
    for (name, spec, expected) in cases {
        let object = json!({ "apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch", "metadata": { "name": name }, "spec": spec });
        let error =
            api.patch(name, &PatchParams::apply("it"), &Patch::Apply(&object)).await.expect_err(&object.to_string());
        assert!(error.to_string().contains(expected), "{object}: {error}");
    }
}

#[tokio::test]
async fn defaults_are_filled_in_and_the_source_is_immutable() {
    let harness = Harness::start().await;
    let api = dynamic(&harness);
    let object = json!({
        "apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch", "metadata": { "name": "a" },
        "spec": { "source": { "configMapKeyRef": { "name": "catalogue", "key": "products.csv" } } },
    });
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    let created = api.create(&PostParams::default(), &object).await.expect("the ImageBatch is accepted");
    let spec = &created.data["spec"];
    assert_eq!(spec["compression"], json!({ "quality": "50%", "minQuality": 30, "format": "Keep", "effort": "Small" }));
    assert_eq!(
        (&spec["parallelism"], &spec["activeDeadlineSeconds"], &spec["deletionPolicy"]),
        (&json!(2), &json!(86_400), &json!("Retain"))
    );
    for (change, expected) in [
        (json!({ "source": { "configMapKeyRef": { "key": "other.csv" } } }), "spec.source is immutable"),
        (json!({ "compression": { "quality": 60 } }), "spec.compression is immutable"),
        (json!({ "activeDeadlineSeconds": 60 }), "spec.activeDeadlineSeconds is immutable"),
    ] {
        let error = patch(&api, &change).await.expect_err("an immutable field");
        assert!(error.to_string().contains(expected), "{change}: {error}");
    }
    for (change, expected) in [
        (json!({ "queueName": "shops" }), "spec.queueName is immutable"),
        (json!({ "priorityClassName": "urgent" }), "spec.priorityClassName is immutable"),
    ] {
        let error = patch(&api, &change).await.expect_err("an immutable field that was not set");
        assert!(error.to_string().contains(expected), "{change}: {error}");
    }
    patch(&api, &json!({ "parallelism": 5, "deletionPolicy": "Delete" })).await.expect("these may change");
    let scale = harness.batches().get_scale("a").await.expect("a scale subresource");
    assert_eq!(scale.spec.and_then(|it| it.replicas), Some(5));
}

/// Returns the ImageBatches that a document shows as YAML.
fn shown(document: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(document).expect("a document");
    // Behind the language a fence may have marks.
    let blocks = text.split("```yaml").skip(1).filter_map(|block| block.split_once('\n')?.1.split("```").next());
    let shown = blocks.filter(|it| it.contains("kind: ImageBatch"));
    shown
        .map(|it| serde_saphyr::from_str(it).unwrap_or_else(|error| panic!("{}: {error}", document.display())))
        .collect()
}

#[tokio::test]
async fn the_examples_of_the_documents_are_accepted() {
    let harness = Harness::start().await;
    let api = dynamic(&harness);
    let documents = std::fs::read_dir("docs").expect("the documents").map(|it| it.expect("an entry").path());
    let documents = documents.filter(|it| it.extension().is_some_and(|it| it == "md")).chain(["README.md".into()]);
    let mut accepted = 0;
    for document in documents {
        for mut example in shown(&document) {
            let metadata = example["metadata"].as_object_mut().expect("metadata");
            metadata.remove("namespace");
            let name = metadata["name"].as_str().expect("a name").to_owned();
            let dry = PatchParams::apply("it").dry_run();
            let answer = api.patch(&name, &dry, &Patch::Apply(&example)).await;
            answer.unwrap_or_else(|error| panic!("{}: {name}: {error}", document.display()));
            accepted += 1;
        }
    }
    assert!(accepted >= 3, "{accepted} examples were found");
}

fn dynamic(harness: &Harness) -> Api<DynamicObject> {
    Api::namespaced_with(harness.client.clone(), &harness.namespace, &ApiResource::erase::<ImageBatch>(&()))
}

async fn patch(api: &Api<DynamicObject>, spec: &Value) -> kube::Result<DynamicObject> {
    api.patch("a", &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await
}
