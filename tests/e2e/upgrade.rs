//! A batch that runs while the release is upgraded and loses its rights beyond the namespace ends as if nothing had
//! happened; a rollback gives the rights back.

use serde_json::{Value, json};

use crate::cluster::{
    get, helm_release, helm_upgrade, kubectl, many, names, origin, try_kubectl, upload_accepted, wait_finished,
    wait_until,
};

#[tokio::test]
async fn a_batch_that_runs_while_the_controllers_are_replaced_ends() {
    let id = upload_accepted(many(100, 4), "?parallelism=2").await;
    let compressors = format!("imagebatch.io/batch-name={id},imagebatch.io/stage=compress");
    wait_until("compress pods", || !names("pods", &compressors).is_empty()).await;
    let before = names("pods", "app.kubernetes.io/component=controller");
    let certificate = get("secret", "imagebatch-store-tls")["data"].clone();

    helm_upgrade(&["rbac.clusterWide=false", "controller.podAnnotations.upgraded=yes"]);
    let batch = wait_finished(&id);
    let status = &batch["status"];
    assert_eq!((&status["succeeded"], &status["failed"]), (&json!(400), &json!(0)), "{status:#}");
    let now = names("pods", "app.kubernetes.io/component=controller");
    assert!(now.iter().all(|it| !before.contains(it)), "{before:?} were replaced by {now:?}");
    let listed = kubectl(&["get", "clusterroles", "--selector=app.kubernetes.io/part-of=imagebatch", "--output=name"]);
    assert_eq!(listed, "", "the controller has no right beyond its namespaces");
    // Everything of a batch's life, by these rights.
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "upgrade" },
        "stringData": { "signing": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } });
    try_kubectl(&["apply", "-f", "-"], &secret.to_string()).expect("the Secret is accepted");
    let webhook = json!({ "url": origin("hook"), "secretRef": { "name": "upgrade", "key": "signing" } });
    let product = json!({ "serialNumber": "1", "name": "Bridge", "imageUrls": [origin("forest-stream.jpg")] });
    let batch = json!({ "apiVersion": "imagebatch.io/v1alpha1", "kind": "ImageBatch",
        "metadata": { "name": "namespaced" },
        "spec": { "source": { "products": [product] }, "webhook": webhook, "deletionPolicy": "Delete" } });
    try_kubectl(&["apply", "-f", "-"], &batch.to_string()).expect("the ImageBatch is accepted");
    wait_finished("namespaced");
    // The origin takes no POST, and is tried again.
    wait_until("a webhook that was called", || {
        let webhook = condition(&get("imagebatch", "namespaced"), "WebhookDelivered");
        webhook["message"].as_str().is_some_and(|it| it.starts_with("attempt "))
    })
    .await;

    helm_release(&["rollback", "imagebatch"]);
    let listed = kubectl(&["get", "clusterroles", "--selector=app.kubernetes.io/part-of=imagebatch", "--output=name"]);
    assert_ne!(listed, "", "the controller has its rights again");
    assert_eq!(get("secret", "imagebatch-store-tls")["data"], certificate, "the stores' certificate stays");
    kubectl(&["delete", "imagebatch", "namespaced", &id]);
    kubectl(&["delete", "secret", "upgrade"]);
}

fn condition(batch: &Value, type_: &str) -> Value {
    let conditions = batch["status"]["conditions"].as_array().expect("conditions");
    conditions.iter().find(|it| it["type"] == type_).cloned().unwrap_or_default()
}
