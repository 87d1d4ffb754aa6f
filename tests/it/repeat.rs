//! Uploads that are repeated under an `Idempotency-Key`, that nobody claims, and that a gateway does not
//! live to answer.

use std::time::Duration;

use futures::StreamExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt};
use reqwest::Body;
use serde_json::json;

use crate::harness::process::Gateway;
use crate::harness::{Harness, PATIENCE};
use crate::intake::{CSV, answer, post};

#[tokio::test]
async fn a_repeat_under_the_same_key_is_the_same_batch() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let send = |key: &str, query: &str, csv: &str| {
        answer(post(&url, query).header("idempotency-key", key).body(csv.to_owned()))
    };
    let repeats = futures::future::join_all((0..3).map(|_| send("order-1", "?quality=60", CSV))).await;
    let id = repeats[0].1["id"].clone();
    for (status, body) in &repeats {
        assert_eq!((*status, &body["id"], &body["images"]), (202, &id, &json!(1)), "{body}");
    }
    assert_eq!(harness.objects().await.len(), 1, "the losers' uploads are gone");
    let (status, body) = send("order-1", "?quality=60", CSV).await;
    assert_eq!((status, &body["id"]), (202, &id));
    for (query, csv) in [("?quality=61", CSV.to_owned()), ("?quality=60", CSV.replace("Chair", "Table"))] {
        let (status, body) = send("order-1", query, &csv).await;
        assert_eq!((status, &body["code"]), (422, &json!("IdempotencyKeyReused")), "{body}");
    }
    let (status, body) = send("order-2", "?quality=60", CSV).await;
    assert!(status == 202 && body["id"] != id, "{body}");
    let (status, body) = send("two words", "", CSV).await;
    assert_eq!((status, &body["code"]), (400, &json!("InvalidParameter")));
    assert_eq!(harness.batches().list(&ListParams::default()).await.expect("a list").items.len(), 2);
    assert_eq!(harness.objects().await.len(), 2);
}

#[tokio::test]
async fn uploads_that_nobody_claims_are_removed() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let keys = harness.storage.keys();
    // What a gateway leaves behind that is killed before it creates the ImageBatch.
    let orphan = keys.upload(&harness.namespace, "ik-0123.4567");
    harness.storage.put_new(&orphan, CSV.into()).await.expect("storage answers");
    let (_, body) = answer(post(&url, "").header("idempotency-key", "claimed").body(CSV)).await;
    let claimed = body["id"].as_str().expect("an id").to_owned();
    let (_, body) = answer(post(&url, "").body(CSV)).await;
    let kept = body["id"].as_str().expect("an id").to_owned();
    // Its ImageBatch goes, and what it stored is kept.
    harness.batches().delete(&kept, &DeleteParams::default()).await.expect("it can be deleted");

    assert_eq!(harness.collect_uploads(Duration::from_secs(600)).await, 0, "within the grace period");
    // Storage tells times in seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(harness.collect_uploads(Duration::ZERO).await, 1);
    let left = harness.objects().await;
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().any(|key| key.contains(&claimed)) && left.iter().any(|key| key.contains(&kept)), "{left:?}");
}

#[tokio::test]
async fn a_key_is_taken_until_its_batch_is_gone() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let send = || answer(post(&url, "").header("idempotency-key", "order-1").body(CSV));
    let id = send().await.1["id"].as_str().expect("an id").to_owned();
    let api = harness.batches();
    let hold = |finalizers: &[&str]| {
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
        let api: Api<_> = api.clone();
        let id = id.clone();
        async move { api.patch(&id, &PatchParams::default(), &patch).await.expect("the finalizers can be set") }
    };
    let batch = hold(&["test.example/hold"]).await;
    api.delete(&id, &DeleteParams::default()).await.expect("it can be deleted");
    let (status, body) = send().await;
    assert_eq!((status, &body["code"]), (409, &json!("BatchDeleting")), "{body}");

    hold(&[]).await;
    let uid = batch.uid().expect("a uid");
    let gone = await_condition(api.clone(), &id, conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.expect("the batch goes").expect("the watch goes on");
    let (status, body) = send().await;
    assert_eq!((status, body["id"].as_str()), (202, Some(id.as_str())), "{body}");
    assert_ne!(api.get(&id).await.expect("the new batch").uid(), Some(uid));
}

/// Kills the gateway while it reads the body, and at times that spread over all that follows it.
#[tokio::test]
async fn a_retry_mends_what_a_killed_gateway_left() {
    const ROUNDS: u64 = 16;
    let harness = Harness::start().await;
    let rows = (1..=2_000).map(|row| format!("{row},Chair {row},https://shop.example/{row}.jpg\n"));
    let csv = format!("S. No.,Product Name,Input Image Urls\n{}", rows.collect::<String>());
    let mut gateway = Gateway::start(&harness, &[]).await;
    let mut unanswered = 0;
    for round in 0..ROUNDS {
        let key = format!("order-{round}");
        let request = |body: Body| post(&gateway.url, "").header("idempotency-key", &key).body(body);
        if round % 4 == 0 {
            // Half of the body, and then nothing any more.
            let half = csv.as_bytes()[..csv.len() / 2].to_vec();
            let (sent, is_sent) = tokio::sync::oneshot::channel();
            let end = futures::stream::once(async move {
                sent.send(()).expect("the test waits");
                std::future::pending().await
            });
            let body = futures::stream::iter([Ok::<_, std::io::Error>(half)]).chain(end);
            let sending = tokio::spawn(request(Body::wrap_stream(body)).send());
            is_sent.await.expect("half of the body is sent");
            gateway.kill();
            assert!(sending.await.expect("it does not panic").is_err());
            unanswered += 1;
        } else {
            let sending = tokio::spawn(request(csv.clone().into()).send());
            tokio::time::sleep(Duration::from_millis(4 * round)).await;
            gateway.kill();
            unanswered += u64::from(sending.await.expect("it does not panic").is_err());
        }
        gateway = Gateway::start(&harness, &[]).await;
        let (status, body) = answer(post(&gateway.url, "").header("idempotency-key", &key).body(csv.clone())).await;
        assert_eq!((status, &body["rows"]), (202, &json!(2_000)), "{body}");
    }
    assert!(unanswered >= ROUNDS / 4, "no gateway was killed in time");
    assert_eq!(harness.batches().list(&ListParams::default()).await.expect("a list").items.len() as u64, ROUNDS);
    // Storage tells times in seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    harness.collect_uploads(Duration::ZERO).await;
    assert_eq!(harness.objects().await.len() as u64, ROUNDS, "one upload a batch, and nothing else");
}
