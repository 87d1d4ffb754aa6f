//! Controllers, killed and failed at each of their points.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use imagebatch::api::stage::Stage;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use serde_json::{Value, json};

use super::{RULES, SEEN, Seen, points};
use crate::controller::{PRODUCTS, set_ingest, set_report};
use crate::harness::process::Process;
use crate::harness::{Harness, PATIENCE, Running, condition};
use crate::intake::{answer, post as upload};

/// Runs controllers one after the other, each of which dies or is killed at one of these points.
async fn controllers_end_at(points: impl Iterator<Item = String>, action: &str, harness: &Harness, seen: &Seen) {
    for point in points {
        let before = seen.count(&point);
        // However often: one that got past its point might do what the next one is to be met at.
        let rules = format!("{point}={action}");
        let mut controller = Process::controller(harness, &[(RULES, &rules), (SEEN, seen.path())]);
        let reached = async {
            while seen.count(&point) == before || (action == "kill" && !controller.has_ended()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("{point} is not reached"));
    }
}

#[tokio::test]
async fn a_batch_whose_controllers_die_at_any_point_reaches_its_end_and_goes() {
    Box::pin(controllers("kill")).await;
}

#[tokio::test]
async fn a_batch_whose_controllers_fail_at_any_point_reaches_its_end_and_goes() {
    Box::pin(controllers("error")).await;
}

async fn controllers(action: &str) {
    let harness = Harness::start().await;
    let seen = Seen::new(&format!("controller-{action}"));
    let secret = json!({ "metadata": { "name": "imagebatch-webhook" }, "stringData": {
        "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" } });
    let secret: Secret = serde_json::from_value(secret).expect("a Secret");
    let secrets = Api::<Secret>::namespaced(harness.client.clone(), &harness.namespace);
    secrets.create(&PostParams::default(), &secret).await.expect("the Secret is new");
    let (hook, ids, _receiver) = receiver().await;
    let (gateway, _gateway) = harness.gateway().await;
    let csv = format!("S. No.,Product Name,Input Image Urls\n1,Clock,{}\n", harness.origin.url("wall-clock.jpg"));
    let (_, body) = answer(upload(&gateway, &format!("?webhook={hook}")).body(csv)).await;
    let name = body["id"].as_str().expect("an id").to_owned();
    let policy = Patch::Merge(json!({ "spec": { "deletionPolicy": "Delete" } }));
    let batch = harness.batches().patch(&name, &PatchParams::default(), &policy).await.expect("it may change");
    let uid = batch.uid().expect("a uid");

    controllers_end_at(points("job.apply", "job.apply"), action, &harness, &seen).await;
    // One of them may have written the status although its Job failed; from here on it says something else.
    let change = Patch::Merge(json!({ "spec": { "parallelism": 3 } }));
    harness.batches().patch(&name, &PatchParams::default(), &change).await.expect("it may change");
    controllers_end_at(points("status.mirror", "status.patch"), action, &harness, &seen).await;
    harness.run_job(&name, Stage::Run).await;
    controllers_end_at(points("progress.delete", "told.update"), action, &harness, &seen).await;
    let mut controller = Process::controller(&harness, &[]);
    let batch = harness.wait(&name, "told", |it| condition(it, "WebhookDelivered").starts_with("True")).await;
    controller.kill();
    assert_eq!((condition(&batch, "Succeeded"), condition(&batch, "Finished")), completed());
    let deliveries = harness.records.deliveries(&uid).await.expect("MongoDB answers");
    assert_eq!(deliveries.len(), 1, "{deliveries:?}");
    let mut ids = ids.lock().expect("not poisoned").clone();
    ids.dedup();
    assert_eq!(ids, [format!("msg_{uid}")], "one event, however often it was sent");

    let _collector = harness.collect_jobs();
    harness.batches().delete(&name, &DeleteParams::default()).await.expect("it can be deleted");
    controllers_end_at(points("objects.delete", "batch.cleanup"), action, &harness, &seen).await;
    let mut last = Process::controller(&harness, &[]);
    let gone = await_condition(harness.batches(), &name, conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.expect("the batch goes").expect("the watch goes on");
    assert_eq!(harness.objects().await, [""; 0]);
    assert!(harness.records.request(&uid).await.expect("MongoDB answers").is_none());

    // Another goes by itself.
    let batch = harness.create("expires", PRODUCTS).await;
    let uid = batch.uid().expect("a uid");
    let job = harness.wait_job("expires", Stage::Run).await;
    set_ingest(&harness, &batch, 2, 1).await;
    set_report(&harness, &batch, 2, 0).await;
    harness.end_job(&job, "Complete", None).await;
    harness.wait_finished("expires").await;
    last.kill();
    let expires = Patch::Merge(json!({ "spec": { "ttlSecondsAfterFinished": 0 } }));
    harness.batches().patch("expires", &PatchParams::default(), &expires).await.expect("it may change");
    controllers_end_at(points("batch.expire", "batch.expire"), action, &harness, &seen).await;
    let _last = Process::controller(&harness, &[]);
    let gone = await_condition(harness.batches(), "expires", conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.expect("the batch goes").expect("the watch goes on");
}

fn completed() -> (String, String) {
    ("True/Completed".to_owned(), "True/Completed".to_owned())
}

/// A receiver of webhooks that notes their ids.
async fn receiver() -> (String, Arc<Mutex<Vec<String>>>, Running) {
    let ids = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&ids);
    let take = async move |headers: axum::http::HeaderMap, _: axum::Json<Value>| {
        let id = headers["webhook-id"].to_str().expect("text").to_owned();
        noted.lock().expect("not poisoned").push(id);
        StatusCode::NO_CONTENT
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let router = Router::new().route("/hook", post(take));
    let serve = async move { axum::serve(listener, router).await.expect("the receiver serves") };
    (url, ids, Running(tokio::spawn(serve)))
}
