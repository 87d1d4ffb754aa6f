//! `POST /v1/batches/{id}/cancel`: what it takes, what it answers, and that repeats change nothing.

use kube::api::{DeleteParams, Patch, PatchParams};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response};
use serde_json::json;

use super::client::{Asker, CSV, json, problem};
use crate::harness::Harness;

async fn cancel(gateway: &Asker, id: &str, body: &str) -> Response {
    let request = gateway.request(Method::POST, &format!("/v1/batches/{id}/cancel"));
    let request = request.header(CONTENT_TYPE, "application/json").body(body.to_owned());
    request.send().await.expect("the gateway answers")
}

#[tokio::test]
async fn a_batch_is_cancelled_with_the_reason_that_came_first() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let id = gateway.submit(CSV).await;
    let expected = json!({
        "id": id, "namespace": harness.namespace, "status": "Pending", "reason": "the sale is over",
    });
    for body in ["{\"reason\": \" the sale is over \"}", "{\"reason\": \"another\"}", ""] {
        let response = cancel(&gateway, &id, body).await;
        assert_eq!(response.status(), 202, "{body}");
        assert!(response.headers()["location"].to_str().is_ok_and(|it| it.contains(&id)), "{response:?}");
        assert_eq!(json(response).await, expected, "{body}");
    }
    let batch = harness.batches().get(&id).await.expect("the batch exists");
    assert_eq!(batch.spec.cancel.map(|it| it.reason).as_deref(), Some("the sale is over"));

    let silent = gateway.submit(CSV).await;
    let body = json(cancel(&gateway, &silent, "{}").await).await;
    assert!(body["reason"].as_str().is_some_and(|it| !it.is_empty()), "{body}");
}

#[tokio::test]
async fn a_cancel_that_cannot_be_done_says_why() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    problem(cancel(&gateway, "nobody", "").await, 404, "BatchNotFound").await;
    let id = gateway.submit(CSV).await;
    for (body, code) in [
        ("[", "MalformedRequest"),
        ("{\"cause\": \"x\"}", "MalformedRequest"),
        ("{\"reason\": 1}", "MalformedRequest"),
        (&format!("{{\"reason\": \"{}\"}}", "x".repeat(9_000)), "MalformedRequest"),
        ("{\"reason\": \" \"}", "InvalidParameter"),
        ("{\"reason\": \"a\\nb\"}", "InvalidParameter"),
        (&format!("{{\"reason\": \"{}\"}}", "x".repeat(257)), "InvalidParameter"),
    ] {
        problem(cancel(&gateway, &id, body).await, 400, code).await;
    }
    let batch = harness.batches().get(&id).await.expect("the batch exists");
    assert_eq!(batch.spec.cancel, None, "nothing was changed");

    let finished = |type_: &str| {
        let time = "2026-01-01T00:00:00Z";
        json!({ "type": type_, "status": "True", "reason": "Completed", "message": "", "lastTransitionTime": time })
    };
    let patch = Patch::Merge(json!({ "status": { "conditions": [finished("Succeeded"), finished("Finished")] } }));
    harness.batches().patch_status(&id, &PatchParams::default(), &patch).await.expect("a status");
    let late = problem(cancel(&gateway, &id, "").await, 409, "AlreadyFinished").await;
    assert_eq!(late["batchStatus"], "Completed");

    let going = gateway.submit(CSV).await;
    let hold = |finalizers: &[&str]| Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
    let (batches, parameters) = (harness.batches(), PatchParams::default());
    batches.patch(&going, &parameters, &hold(&["test.example/hold"])).await.expect("it can be held");
    batches.delete(&going, &DeleteParams::default()).await.expect("it can be deleted");
    problem(cancel(&gateway, &going, "").await, 409, "BatchDeleting").await;
    batches.patch(&going, &parameters, &hold(&[])).await.expect("it can be let go");
}
