//! Calls that somebody asks for: an event once more, and a test.

use std::time::Duration;

use imagebatch::api::stage::Stage;
use imagebatch::records::delivery::{Delivery, DeliveryKind};
use kube::ResourceExt;
use mongodb::bson::DateTime;
use serde_json::{Value, json};
use standardwebhooks::Webhook;

use super::{OLD, create_secret, pending, receiver, run, spec};
use crate::harness::{Harness, PATIENCE, condition};
use crate::intake::answer;

/// A client of a batch's delivery log.
struct Log {
    url: String,
    client: reqwest::Client,
}

impl Log {
    fn new(gateway: &str, batch: &str) -> Self {
        Self { url: format!("{gateway}/v1/batches/{batch}/deliveries"), client: reqwest::Client::new() }
    }

    async fn ask(&self, what: &str) -> (u16, Value) {
        answer(self.client.post(format!("{}/{what}", self.url))).await
    }

    /// Waits until a delivery is no longer pending, and returns it.
    async fn ended(&self, id: &Value) -> Value {
        let ended = async {
            loop {
                let (_, log) = answer(self.client.get(&self.url)).await;
                let mut deliveries = log["deliveries"].as_array().into_iter().flatten();
                if let Some(found) = deliveries.find(|it| it["id"] == *id && it["state"] != "Pending") {
                    return found.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("the delivery ends")
    }
}

#[tokio::test]
async fn an_event_is_sent_again_when_somebody_asks() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (gateway, _gateway) = harness.gateway().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (url, received, _receiver) = receiver(&[410, 503, 204, 500]).await;
    let batch = run(&harness, "again", &format!("{{url: \"{url}\"}}"), "False/WebhookGone").await;
    let event = format!("msg_{}", batch.uid().expect("a uid"));
    let log = Log::new(&gateway, "again");
    for (state, status, end) in [
        ("Failed", 503, "False/WebhookGone"),
        ("Delivered", 204, "True/WebhookDelivered"),
        // What was delivered stays delivered.
        ("Failed", 500, "True/WebhookDelivered"),
    ] {
        let (accepted, asked) = log.ask("redeliver").await;
        assert_eq!((accepted, &asked["kind"], &asked["webhookId"]), (202, &json!("Redelivery"), &json!(event)));
        let ended = log.ended(&asked["id"]).await;
        assert_eq!((&ended["state"], &ended["attempts"][0]["status"]), (&json!(state), &json!(status)), "{ended}");
        harness.wait("again", end, |batch| condition(batch, "WebhookDelivered") == end).await;
    }
    let received = received.lock().expect("not poisoned").clone();
    assert_eq!(received.len(), 4);
    for (headers, body) in &received {
        assert_eq!((&headers["webhook-id"], body), (&event.parse().expect("a value"), &received[0].1));
        Webhook::new(OLD).expect("a secret").verify(body.as_bytes(), headers).expect("it is signed");
    }
    let (status, body) = Log::new(&gateway, "nowhere").ask("redeliver").await;
    assert_eq!((status, &body["code"]), (404, &json!("BatchNotFound")));
}

#[tokio::test]
async fn an_event_that_was_sent_again_has_no_further_attempts() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (gateway, _gateway) = harness.gateway().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (url, received, _receiver) = receiver(&[204]).await;
    let batch = harness.create("waits", &spec("{url: \"https://shop.example/hook\"}")).await;
    let id = format!("msg_{}", batch.uid().expect("a uid"));
    let later = DateTime::from_millis(DateTime::now().timestamp_millis() + 3_600_000);
    let event = Delivery { id: id.clone(), next_attempt: later, ..pending(&harness, &batch, &url) };
    harness.records.insert_delivery(&event).await.expect("MongoDB answers");
    let log = Log::new(&gateway, "waits");
    let (_, asked) = log.ask("redeliver").await;
    assert_eq!(log.ended(&asked["id"]).await["state"], "Delivered");
    assert_eq!(log.ended(&json!(id)).await["state"], "Delivered");
    assert_eq!(received.lock().expect("not poisoned").len(), 1);
}

#[tokio::test]
async fn a_webhook_can_be_tried_before_the_end_and_only_so_often() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (gateway, _gateway) = harness.gateway().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (url, received, _receiver) = receiver(&[200]).await;
    harness.create("tried", &spec(&format!("{{url: \"{url}\"}}"))).await;
    harness.wait_job("tried", Stage::Run).await;
    let log = Log::new(&gateway, "tried");
    let (status, body) = log.ask("redeliver").await;
    assert_eq!((status, &body["code"]), (404, &json!("NoWebhook")), "{body}");
    let (status, asked) = log.ask("test").await;
    assert_eq!((status, &asked["kind"], &asked["webhookId"]), (202, &json!("Test"), &asked["id"]), "{asked}");
    let ended = log.ended(&asked["id"]).await;
    assert_eq!((&ended["state"], &ended["attempts"][0]["status"]), (&json!("Delivered"), &json!(200)), "{ended}");
    let (headers, body) = received.lock().expect("not poisoned")[0].clone();
    assert_eq!(headers["webhook-id"].to_str().ok(), asked["id"].as_str());
    Webhook::new(OLD).expect("a secret").verify(body.as_bytes(), &headers).expect("it is signed");
    let event: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&event["type"], &event["data"]["id"]), (&json!("imagebatch.test"), &json!("tried")));
    let batch = harness.batches().get("tried").await.expect("it exists");
    assert_eq!(condition(&batch, "WebhookDelivered"), "Unknown/WebhookPending", "a test is no event");

    // However many come at the same time, there are ten an hour.
    futures::future::join_all((0..20).map(|_| log.ask("test"))).await;
    while log.ask("test").await.0 == 202 {}
    let (status, body) = log.ask("test").await;
    assert_eq!((status, &body["code"]), (429, &json!("TooManyDeliveries")), "{body}");
    let recorded = harness.records.deliveries(&batch.uid().expect("a uid")).await.expect("MongoDB answers");
    assert_eq!(recorded.iter().filter(|it| it.kind == DeliveryKind::Test).count(), 10);

    let without = r#"source: {products: [{serialNumber: "1", name: Bowl, imageUrls: ["http://192.0.2.1/1.jpg"]}]}"#;
    harness.create("silent", without).await;
    let (status, body) = Log::new(&gateway, "silent").ask("test").await;
    assert_eq!((status, &body["code"]), (404, &json!("NoWebhook")), "{body}");
}
