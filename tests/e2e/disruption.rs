//! Pods of every role die in the middle of a batch, and nothing is lost.

use crate::cluster::{get, kubectl, many, names, records, upload_accepted, url, wait_finished, wait_until};

const ROWS: usize = 100;
const SLOTS: usize = 4;

#[tokio::test]
async fn killing_controller_gateway_and_compressor_loses_nothing() {
    let id = upload_accepted(many(ROWS, SLOTS), "?parallelism=2").await;
    // The gateway has done its part: the upload was durable when it answered.
    kill("app.kubernetes.io/component=gateway");
    let compressors = format!("imagebatch.io/batch-name={id},imagebatch.io/stage=compress");
    wait_until("compress pods", || !names("pods", &compressors).is_empty()).await;
    kill("app.kubernetes.io/component=controller");
    wait_until("a running compress pod", || {
        let running =
            ["get", "pods", "--selector", &compressors, "--field-selector=status.phase=Running", "--output=name"];
        !kubectl(&running).is_empty()
    })
    .await;
    kill(&compressors);

    let batch = wait_finished(&id);
    let total = (ROWS * SLOTS) as i64;
    let status = &batch["status"];
    assert_eq!((status["succeeded"].as_i64(), status["failed"].as_i64()), (Some(total), Some(0)), "{status:#}");
    let uid = batch["metadata"]["uid"].as_str().expect("a uid");
    assert_eq!(records("outcomes", uid).await.len(), ROWS, "one record a row");
    kubectl(&["rollout", "status", "deployment/imagebatch-gateway", "--timeout=120s"]);
    kubectl(&["rollout", "status", "deployment/imagebatch-controller", "--timeout=120s"]);
    let output = reqwest::get(url(&format!("/v1/batches/{id}/output.csv"))).await.expect("an answer");
    let output = output.text().await.expect("text");
    assert_eq!(output.matches("/images/").count() as i64, total);
    assert_eq!(output.lines().count(), ROWS + 1);
    let _ = get("imagebatch", &id);
    kubectl(&["delete", "imagebatch", &id]);
}

/// Ends pods at once, without the time to say goodbye.
fn kill(selector: &str) {
    kubectl(&["delete", "pods", "--selector", selector, "--grace-period=0", "--force"]);
}
