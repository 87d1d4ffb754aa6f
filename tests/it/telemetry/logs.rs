//! Logs: one request is found in the lines of all roles by its id, and no secret is in any line.

use std::collections::HashSet;
use std::path::Path;

use imagebatch::api::stage::Stage;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{csv, log_file, until};
use crate::harness::process::{Gateway, Process, append};
use crate::harness::{Harness, PATIENCE, condition};
use crate::intake::{answer, post};
use crate::sandbox::{family, is_confined};
use crate::webhook::{OLD, create_secret, receiver};

/// Returns the lines of a role's own modules, each of which must be an object.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).expect("a log");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
    lines.filter(|line: &Value| line["target"].as_str().is_some_and(|it| it.starts_with("imagebatch"))).collect()
}

#[tokio::test]
async fn a_request_is_found_in_the_logs_of_all_roles_and_no_secret_is() {
    let mut harness = Harness::start().await;
    let uri = format!("{}?appName=unspoken", harness.environment()["IMAGEBATCH_MONGODB_URI"]);
    harness.set("IMAGEBATCH_MONGODB_URI", uri.clone());
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (hook, _, _receiver) = receiver(&[204]).await;
    let logs = ["gateway", "controller", "compressor"].map(|role| log_file(&harness, role));
    let level = ("IMAGEBATCH_LOG", "imagebatch=debug,info");
    let rules = ("IMAGEBATCH_FAILPOINTS", "status.patch.before=error*1");
    let gateway = Gateway::start_with(&harness, &[level], append(&logs[0])).await;
    let _controller = Process::controller_with(&harness, &[level, rules], append(&logs[1]));
    harness.pod_log = Some(logs[2].clone());
    harness.pod_variables = vec![(level.0.to_owned(), level.1.to_owned())];

    let id = format!("find-me-{}", harness.namespace);
    let csv = csv(&harness, &["dandelion-16mp.jpg", "page.jpg"]);
    let request = post(&gateway.url, &format!("?webhook={hook}")).header("x-request-id", &id).body(csv);
    let (status, body) = answer(request).await;
    assert_eq!(status, 202, "{body}");
    let name = body["id"].as_str().expect("an id").to_owned();
    let job = harness.wait_job(&name, Stage::Run).await;
    let mut pod = harness.start_pod(&job, 0);
    let process = pod.id().expect("it runs");
    // The codec's children have no log of their own; their parent tells of their end. One that is killed before it
    // has started would fail the stage, so it has to be seen confined twice.
    let mut confined = HashSet::new();
    until("a codec child ends", async || {
        for child in family(process).into_iter().filter(|it| *it != process && is_confined(*it)) {
            if !confined.insert(child) {
                // It may have ended by itself.
                let _ = kill_process(Pid::from_raw(child.cast_signed()).expect("an id"), Signal::KILL);
            }
        }
        lines(&logs[2]).iter().any(|line| line["message"] == "a codec child ended").then_some(())
    })
    .await;
    let ended = tokio::time::timeout(PATIENCE, pod.wait()).await.expect("the pod ends");
    assert!(ended.expect("it can be waited for").success());
    harness.end_job(&job, "Complete", None).await;
    let batch = harness.wait(&name, "told", |it| condition(it, "WebhookDelivered").starts_with("True")).await;
    let uid = batch.metadata.uid.expect("a uid");

    for (path, messages) in [
        (&logs[0], &["batch accepted", "request"][..]),
        (&logs[1], &["reconcile failed", "webhook called"]),
        (&logs[2], &["ingested", "compressing", "image done", "a codec child ended", "reported"]),
    ] {
        let lines = lines(path);
        for line in lines.iter().filter(|line| line["batch.name"] == name.as_str() || path == &logs[2]) {
            let fields = ["request_id", "batch.name", "batch.namespace", "batch.uid"].map(|it| line[it].as_str());
            let expected = [id.as_str(), &name, &harness.namespace, &uid].map(Some);
            assert_eq!(fields, expected, "{line}");
        }
        let found: Vec<&Value> = lines.iter().filter(|line| line["request_id"] == id.as_str()).collect();
        for message in messages {
            assert!(found.iter().any(|line| line["message"] == *message), "{message:?} is not in {found:#?}");
        }
    }
    for path in &logs {
        let text = std::fs::read_to_string(path).expect("a log");
        for secret in [&harness.environment()["IMAGEBATCH_S3_SECRET_ACCESS_KEY"], &uri, OLD] {
            assert!(!text.contains(secret), "{} has {secret}", path.display());
        }
        std::fs::remove_file(path).expect("it can be removed");
    }
}
