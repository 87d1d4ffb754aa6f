//! Webhooks: who is told of a batch's end, signed by whose secret, and what is done when nobody listens.

mod by_hand;
mod hanging;

use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use imagebatch::api::image_batch::ImageBatch;
use imagebatch::api::stage::Stage;
use imagebatch::records::delivery::{Delivery, DeliveryKind, DeliveryState, endpoint_of};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, PostParams};
use mongodb::bson::DateTime;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{Harness, Running, condition};
use crate::intake::{CSV, answer};

pub(crate) const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What a receiver got.
pub(crate) type Received = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A receiver that answers with these statuses, one after the other, and with the last one for ever.
pub(crate) async fn receiver(answers: &'static [u16]) -> (String, Received, Running) {
    let received = Received::default();
    let take =
        async |State((received, answers)): State<(Received, &'static [u16])>, headers: HeaderMap, body: String| {
            let mut received = received.lock().expect("not poisoned");
            let status = answers[received.len().min(answers.len() - 1)];
            received.push((headers, body));
            StatusCode::from_u16(status).expect("a status")
        };
    let router = Router::new().route("/hook", post(take)).with_state((Arc::clone(&received), answers));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let serve = async move { axum::serve(listener, router).await.expect("the receiver serves") };
    (url, received, Running(tokio::spawn(serve)))
}

fn spec(webhook: &str) -> String {
    let product = r#"{serialNumber: "1", name: Bowl, imageUrls: ["http://192.0.2.1/1.jpg"]}"#;
    format!("source:\n  products:\n  - {product}\nwebhook: {webhook}\n")
}

pub(crate) async fn create_secret(harness: &Harness, name: &str, key: &str, value: &str) {
    let secret: Secret = serde_json::from_value(json!({ "metadata": { "name": name }, "stringData": { key: value } }))
        .expect("a Secret");
    let secrets = Api::<Secret>::namespaced(harness.client.clone(), &harness.namespace);
    secrets.create(&PostParams::default(), &secret).await.expect("the Secret is new");
}

/// Runs a batch to its end and waits until the webhook's condition is this one.
async fn run(harness: &Harness, name: &str, webhook: &str, end: &str) -> ImageBatch {
    harness.create(name, &spec(webhook)).await;
    harness.run_job(name, Stage::Run).await;
    harness.wait_finished(name).await;
    harness.wait(name, end, |batch| condition(batch, "WebhookDelivered") == end).await
}

/// Returns an event's type if the Python library of Standard Webhooks verifies it, else what it says.
async fn verify_in_python(secret: &str, headers: &HeaderMap, body: &str) -> Result<String, String> {
    let mut process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/webhook/verify"))
        .arg(secret)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("Python is there");
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text")));
    let headers: std::collections::BTreeMap<_, _> = headers.collect();
    let event = json!({ "headers": headers, "body": body }).to_string();
    process.stdin.take().expect("a pipe").write_all(event.as_bytes()).await.expect("it reads");
    let ended = process.wait_with_output().await.expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text").trim().to_owned();
    if ended.status.success() { Ok(text(ended.stdout)) } else { Err(text(ended.stderr)) }
}

async fn delivery(harness: &Harness, batch: &ImageBatch) -> Delivery {
    let mut found = harness.records.deliveries(&batch.uid().expect("a uid")).await.expect("MongoDB answers");
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

#[tokio::test]
async fn the_end_is_told_until_it_is_heard() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (url, received, _receiver) = receiver(&[500, 204]).await;
    let batch = run(&harness, "told", &format!("{{url: \"{url}\"}}"), "True/WebhookDelivered").await;
    assert_eq!(condition(&batch, "Succeeded"), "False/ImagesFailed", "the webhook changes nothing of the outcome");
    assert_eq!(condition(&batch, "Finished"), "True/ImagesFailed");

    let received = received.lock().expect("not poisoned").clone();
    assert_eq!(received.len(), 2);
    let id = format!("msg_{}", batch.uid().expect("a uid"));
    for (headers, body) in &received {
        assert_eq!(headers["webhook-id"], id);
        assert_eq!(headers["content-type"], "application/json");
        Webhook::new(OLD).expect("a secret").verify(body.as_bytes(), headers).expect("the official library agrees");
        assert_eq!(body, &received[0].1, "an event does not change");
    }
    let event: Value = serde_json::from_str(&received[0].1).expect("JSON");
    assert_eq!(event["type"], "imagebatch.failed");
    let data = &event["data"];
    assert_eq!((&data["id"], &data["status"], &data["failed"]), (&json!("told"), &json!("ImagesFailed"), &json!(1)));
    assert_eq!(data["outputCsv"], format!("/v1/batches/told/output.csv?namespace={}", harness.namespace));

    let delivery = delivery(&harness, &batch).await;
    let statuses: Vec<_> = delivery.attempts.iter().map(|it| it.status).collect();
    assert_eq!((delivery.state, statuses), (DeliveryState::Delivered, vec![Some(500), Some(204)]));
    let mirrored = harness.records.request(&batch.uid().expect("a uid")).await.expect("MongoDB answers");
    assert!(format!("{mirrored:?}").contains("WebhookDelivered"), "{mirrored:?}");
}

#[tokio::test]
async fn two_secrets_sign_while_receivers_change_over() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    create_secret(&harness, "mine", "keys", &format!("{NEW} {OLD}\n")).await;
    let (url, received, _receiver) = receiver(&[200]).await;
    let webhook = format!("{{url: \"{url}\", secretRef: {{name: mine, key: keys}}}}");
    run(&harness, "rotated", &webhook, "True/WebhookDelivered").await;
    let received = received.lock().expect("not poisoned").clone();
    let (headers, body) = &received[0];
    for secret in [OLD, NEW] {
        Webhook::new(secret).expect("a secret").verify(body.as_bytes(), headers).expect("either secret signed");
    }
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_not_called_again() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (url, received, _receiver) = receiver(&[410]).await;
    let batch = run(&harness, "gone", &format!("{{url: \"{url}\"}}"), "False/WebhookGone").await;
    assert_eq!(delivery(&harness, &batch).await.state, DeliveryState::Disabled);
    assert_eq!(received.lock().expect("not poisoned").len(), 1);
}

#[tokio::test]
async fn the_guard_keeps_webhooks_off_the_cluster() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    harness.create("inside", &spec("{url: \"http://169.254.169.254/latest\"}")).await;
    harness.run_job("inside", Stage::Run).await;
    let tried = |batch: &ImageBatch| {
        let conditions = batch.status.iter().flat_map(|it| &it.conditions);
        conditions.filter(|it| it.type_ == "WebhookDelivered").any(|it| it.message.contains("attempt 1 failed"))
    };
    let batch = harness.wait("inside", "tried once", tried).await;
    let delivery = delivery(&harness, &batch).await;
    let error = delivery.attempts[0].error.clone().unwrap_or_default();
    assert!(error.contains("not public") && delivery.state == DeliveryState::Pending, "{delivery:?}");
}

#[tokio::test]
async fn a_batch_whose_events_cannot_be_signed_is_refused() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    create_secret(&harness, "plain", "password", "hunter2").await;
    for (name, webhook, expected) in [
        ("none", "{url: \"https://shop.example/hook\"}", "there is no Secret \"imagebatch-webhook\""),
        ("other", "{url: \"https://shop.example/hook\", secretRef: {name: plain, key: key}}", "has no key \"key\""),
        (
            "wrong",
            "{url: \"https://shop.example/hook\", secretRef: {name: plain, key: password}}",
            "begins with \"whsec_\"",
        ),
    ] {
        harness.create(name, &spec(webhook)).await;
        let batch = harness.wait_finished(name).await;
        for type_ in ["Accepted", "WebhookDelivered"] {
            assert_eq!(condition(&batch, type_), "False/WebhookSecretNotFound", "{name}");
        }
        let status = batch.status.clone().expect("a status");
        let accepted = status.condition("Accepted").expect("the condition");
        assert!(accepted.message.contains(expected), "{}", accepted.message);
        assert_eq!(harness.records.deliveries(&batch.uid().expect("a uid")).await.expect("MongoDB answers"), []);
    }
}

#[tokio::test]
async fn an_upload_names_its_webhook_and_shows_what_it_was_told() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (gateway, _gateway) = harness.gateway().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (url, _, _receiver) = receiver(&[200]).await;
    let client = reqwest::Client::new();
    let upload = |webhook: &str| {
        let request = client.post(format!("{gateway}/v1/batches")).query(&[("webhook", webhook)]);
        answer(request.header("content-type", "text/csv").body(CSV))
    };
    let (status, body) = upload("ftp://shop.example/hook").await;
    assert_eq!((status, &body["errors"][0]["parameter"]), (400, &json!("webhook")), "{body}");
    let (status, body) = upload(&url).await;
    assert_eq!((status, &body["options"]["webhook"]), (202, &json!({ "url": url })), "{body}");
    let id = body["id"].as_str().expect("an id");
    harness.run_job(id, Stage::Run).await;
    harness.wait(id, "told", |batch| condition(batch, "WebhookDelivered") == "True/WebhookDelivered").await;
    let (status, log) = answer(client.get(format!("{gateway}/v1/batches/{id}/deliveries"))).await;
    let delivery = &log["deliveries"][0];
    assert_eq!((status, &delivery["state"], &delivery["url"]), (200, &json!("Delivered"), &json!(url)), "{log}");
    assert_eq!(delivery["attempts"][0]["status"], 200, "{log}");
}

#[tokio::test]
async fn a_library_of_another_language_verifies_what_is_received() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    create_secret(&harness, "imagebatch-webhook", "secret", &format!("{NEW} {OLD}")).await;
    let (url, received, _receiver) = receiver(&[200]).await;
    run(&harness, "verified", &format!("{{url: \"{url}\"}}"), "True/WebhookDelivered").await;
    let received = received.lock().expect("not poisoned").clone();
    let (headers, body) = &received[0];
    for secret in [OLD, NEW] {
        assert_eq!(verify_in_python(secret, headers, body).await, Ok("imagebatch.failed".to_owned()));
    }
    let other = "whsec_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (secret, body) in [(OLD, body.replace("ImagesFailed", "Completed")), (other, body.clone())] {
        let refused = verify_in_python(secret, headers, &body).await.expect_err("it is not what was signed");
        assert!(refused.contains("the signature is not valid"), "{refused}");
    }
}

/// Returns an event of a batch that is due.
fn pending(harness: &Harness, batch: &ImageBatch, url: &str) -> Delivery {
    Delivery {
        id: String::new(),
        event: None,
        kind: DeliveryKind::Event,
        batch: batch.uid().expect("a uid"),
        name: batch.name_any(),
        namespace: harness.namespace.clone(),
        url: url.to_owned(),
        endpoint: endpoint_of(url),
        secret_ref: None,
        payload: "{}".to_owned(),
        state: DeliveryState::Pending,
        next_attempt: DateTime::now(),
        attempts: Vec::new(),
        untold: false,
    }
}
