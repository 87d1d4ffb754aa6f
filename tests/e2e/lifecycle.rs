//! A batch is held, goes on, is cancelled and expires, with the real Job controller and kubelet below it.

use std::fmt::Write;

use serde_json::Value;

use crate::cluster::{get, kubectl, names, origin, records, upload_accepted, url, wait_finished, wait_until};

const ROWS: usize = 100;
const SLOTS: usize = 4;

fn patch(id: &str, spec: &str) {
    kubectl(&["patch", "imagebatch", id, "--type=merge", "--patch", &format!("{{\"spec\":{spec}}}")]);
}

fn reason(batch: &Value, type_: &str) -> String {
    let conditions = batch["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.filter(|it| it["type"] == type_).map(|it| format!("{}/{}", it["status"], it["reason"]));
    found.collect::<String>().replace('"', "")
}

fn done(batch: &Value) -> i64 {
    let count = |name: &str| batch["status"][name].as_i64().unwrap_or_default();
    count("succeeded") + count("failed")
}

#[tokio::test]
async fn a_batch_is_held_goes_on_is_cancelled_and_expires() {
    let mut csv = "S. No.,Product Name,Input Image Urls\n".to_owned();
    for row in 1..=ROWS {
        let urls: Vec<String> = (0..SLOTS).map(|slot| origin(&format!("forest-stream.jpg?l{row}-{slot}"))).collect();
        writeln!(csv, "{row},Postcard {row},\"{}\"", urls.join(",")).expect("a String grows");
    }
    let id = upload_accepted(csv, "?parallelism=2").await;
    let (all, job) = (format!("imagebatch.io/batch-name={id}"), format!("{id}-compress"));
    let compressors = || {
        // Those that have done their shard stay and are at rest.
        let pods = ["get", "pods", "--field-selector=status.phase!=Succeeded", "--output=name", "--selector"];
        let of_stage = format!("{all},imagebatch.io/stage=compress");
        kubectl(&[&pods[..], &[&of_stage]].concat())
    };
    wait_until("first images", || done(&get("imagebatch", &id)) > 0).await;

    patch(&id, r#"{"suspend":true}"#);
    wait_until("no pod", || compressors().is_empty()).await;
    wait_until("suspended", || reason(&get("imagebatch", &id), "Succeeded") == "Unknown/Suspended").await;
    assert_eq!(get("job", &job)["spec"]["suspend"], true);
    let held = get("imagebatch", &id);
    let total = (ROWS * SLOTS) as i64;
    assert!(done(&held) < total, "{:#}", held["status"]);

    kubectl(&["scale", "imagebatch", &id, "--replicas=1"]);
    patch(&id, r#"{"suspend":false}"#);
    wait_until("a pod", || !compressors().is_empty()).await;
    assert_eq!(reason(&get("imagebatch", &id), "Suspended"), "False/Resumed");
    assert_eq!(get("job", &job)["spec"]["parallelism"], 1);

    let request = reqwest::Client::new().post(url(&format!("/v1/batches/{id}/cancel")));
    let answer = request.body(r#"{"reason":"the sale is over"}"#).send().await.expect("the gateway answers");
    assert_eq!(answer.status(), 202);
    let ended = wait_finished(&id);
    let status = &ended["status"];
    assert_eq!(reason(&ended, "Succeeded"), "False/Cancelled", "{status:#}");
    assert_eq!((done(&ended), status["images"].as_i64()), (total, Some(total)), "{status:#}");
    assert!(status["succeeded"].as_i64() > Some(0) && status["failed"].as_i64() > Some(0), "{status:#}");
    let uid = ended["metadata"]["uid"].as_str().expect("a uid");
    assert_eq!(records("outcomes", uid).await.len(), ROWS, "one record a row");
    let report = url(&format!("/v1/batches/{id}/output.csv"));
    let output = reqwest::get(&report).await.expect("an answer").text().await.expect("text");
    assert_eq!(output.matches("/images/").count() as i64, status["succeeded"].as_i64().expect("a count"));
    assert_eq!(output.matches(":NotProcessed").count() as i64, status["failed"].as_i64().expect("a count"));

    patch(&id, r#"{"ttlSecondsAfterFinished":0}"#);
    let listed = ["get", "imagebatch", &id, "--ignore-not-found", "--output=name"];
    wait_until("the ImageBatch to go", || kubectl(&listed).is_empty()).await;
    assert_eq!(names("jobs,pods", &all), [""; 0]);
    assert_eq!(reqwest::get(&report).await.expect("an answer").status(), 200, "what it stored stays");
}
