//! The way of a platform team: ImageBatches by `kubectl apply`, without the gateway.

use crate::cluster::{get, kubectl, names, records, url, wait_finished};

#[tokio::test]
async fn inline_products_and_a_config_map_do_the_same() {
    let manifests = "tests/data/manifests";
    kubectl(&["apply", "-f", &format!("{manifests}/configmap.yaml")]);
    for (file, name, images, failed) in
        [("imagebatch-products.yaml", "summer-table", 3, 0), ("imagebatch-configmap.yaml", "winter-catalogue", 4, 1)]
    {
        kubectl(&["apply", "-f", &format!("{manifests}/{file}")]);
        let batch = wait_finished(name);
        let status = &batch["status"];
        assert_eq!(
            (status["images"].as_i64(), status["succeeded"].as_i64(), status["failed"].as_i64()),
            (Some(images), Some(images - failed), Some(failed)),
            "{name}"
        );
        let table = kubectl(&["get", "imagebatches", name]);
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(lines.next().expect("a header"), ["NAME", "STATE", "IMAGES", "DONE", "FAILED", "SAVED", "AGE"]);
        let row = lines.next().expect("a row");
        let state = if failed > 0 { "ImagesFailed" } else { "Completed" };
        assert_eq!(row[..5], [name, state, &images.to_string(), &(images - failed).to_string(), &failed.to_string()]);
        assert!(row[5].ends_with('%'), "{table}");
    }
    let described = kubectl(&["describe", "imagebatch", "summer-table"]);
    assert!(described.contains("JobCreated") && described.contains("Completed"), "Events tell the story:\n{described}");
}

#[tokio::test]
async fn the_deletion_policy_decides_what_stays() {
    let manifests = "tests/data/manifests";
    for file in ["configmap.yaml", "imagebatch-configmap.yaml", "imagebatch-products.yaml"] {
        kubectl(&["apply", "-f", &format!("{manifests}/{file}")]);
    }
    for (name, stays) in [("winter-catalogue", false), ("summer-table", true)] {
        let batch = wait_finished(name);
        let uid = batch["metadata"]["uid"].as_str().expect("a uid").to_owned();
        let output = reqwest::get(url(&format!("/v1/batches/{name}/output.csv"))).await.expect("an answer");
        let output = output.text().await.expect("text");
        let image =
            output.split([',', '"', '\n']).find(|it| it.contains("/images/")).expect("an image's URL").to_owned();
        assert_eq!(reqwest::get(&image).await.expect("an answer").status(), 200);

        kubectl(&["delete", "imagebatch", name]);
        assert_eq!(names("jobs,pods,configmaps", &format!("imagebatch.io/batch-uid={uid}")), [""; 0]);
        let found = reqwest::get(&image).await.expect("an answer").status();
        assert_eq!(found.as_u16(), if stays { 200 } else { 404 }, "{name}");
        assert_eq!(records("products", &uid).await.is_empty(), !stays, "{name}");
        assert_eq!(records("outcomes", &uid).await.is_empty(), !stays, "{name}");
        let answer = reqwest::get(url(&format!("/v1/batches/{name}"))).await.expect("an answer").status();
        assert_eq!(answer.as_u16(), if stays { 200 } else { 404 }, "{name}");
    }
    // The user's own ConfigMap is not the batch's.
    assert_eq!(get("configmap", "winter-catalogue")["kind"], "ConfigMap");
}

#[tokio::test]
async fn a_batch_is_deleted_while_it_runs() {
    let spec = r#"{"apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch", "metadata": {"name": "cut-short"}, "spec": {
        "deletionPolicy": "Delete",
        "source": {"products": [{"serialNumber": "1", "name": "Poster", "imageUrls": ["ORIGIN"]}]}}}"#;
    let spec = spec.replace("ORIGIN", &crate::cluster::origin("dandelion-16mp.jpg"));
    crate::cluster::try_kubectl(&["apply", "-f", "-"], &spec).expect("the ImageBatch is accepted");
    crate::cluster::wait_until("a pod of the batch", || {
        !names("pods", "imagebatch.io/batch-name=cut-short").is_empty()
    })
    .await;
    let uid = get("imagebatch", "cut-short")["metadata"]["uid"].as_str().expect("a uid").to_owned();
    kubectl(&["delete", "imagebatch", "cut-short"]);
    assert_eq!(names("jobs,pods", &format!("imagebatch.io/batch-uid={uid}")), [""; 0]);
    assert!(records("products", &uid).await.is_empty());
}
