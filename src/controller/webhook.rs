//! What is told to a batch's webhook, by whose secret it is signed, and when it is tried again. Pure.
//!
//! Events and signatures are those of Standard Webhooks 1.0.0
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use mongodb::bson::DateTime;
use serde_json::json;
use standardwebhooks::Webhook as Signer;

use crate::api::condition::SUCCEEDED;
use crate::api::image_batch::ImageBatch;
use crate::api::status::ImageBatchStatus;
use crate::api::webhook::SecretKey;
use crate::records::delivery::{Attempt, Delivery, DeliveryKind, DeliveryState, endpoint_of};

/// Secret of a namespace whose batches name none of their own.
pub const NAMESPACE_SECRET: &str = "imagebatch-webhook";
/// Its key.
pub const NAMESPACE_SECRET_KEY: &str = "secret";

/// Waits before the attempts after the first, by the example of the specification: 75 hours in all.
const SCHEDULE: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// Longest wait that a receiver's `Retry-After` can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(86_400);
/// Bytes of a secret, by the specification.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets that may sign at the same time: the new and the old one, while receivers change over.
const MAX_SECRETS: usize = 2;

/// Returns the event that tells of a batch's end, where the batch has a webhook.
#[must_use]
pub fn event(batch: &ImageBatch, status: &ImageBatchStatus, now: Timestamp) -> Option<Delivery> {
    let webhook = batch.spec.webhook.as_ref()?;
    let (uid, name, namespace) =
        (batch.uid().unwrap_or_default(), batch.name_any(), batch.namespace().unwrap_or_default());
    let end = status.condition(SUCCEEDED)?;
    let succeeded = end.status == "True";
    let report =
        |file: &str| status.report.as_ref().map(|_| format!("/v1/batches/{name}/{file}?namespace={namespace}"));
    let payload = json!({
        "type": if succeeded { "imagebatch.succeeded" } else { "imagebatch.failed" },
        "timestamp": now.to_string(),
        "data": {
            "id": name,
            "namespace": namespace,
            "status": end.reason,
            "message": end.message,
            "rows": status.rows,
            "images": status.images,
            "succeeded": status.succeeded,
            "failed": status.failed,
            "keptOriginal": status.kept_original,
            "bytesIn": status.bytes_in,
            "bytesOut": status.bytes_out,
            "startTime": status.start_time,
            "completionTime": status.completion_time,
            "outputCsv": report("output.csv"),
            "failedCsv": report("failed.csv"),
        },
    });
    Some(Delivery {
        id: format!("msg_{uid}"),
        event: None,
        kind: DeliveryKind::Event,
        batch: uid,
        name,
        namespace,
        url: webhook.url.clone(),
        endpoint: endpoint_of(&webhook.url),
        secret_ref: webhook.secret_ref.clone(),
        payload: payload.to_string(),
        state: DeliveryState::Pending,
        next_attempt: DateTime::from_millis(now.as_millisecond()),
        attempts: Vec::new(),
        untold: false,
    })
}

/// Returns where a batch's secret is.
#[must_use]
pub fn secret_place(secret_ref: Option<&SecretKey>) -> SecretKey {
    let namespaces = || SecretKey { name: NAMESPACE_SECRET.to_owned(), key: NAMESPACE_SECRET_KEY.to_owned() };
    secret_ref.cloned().unwrap_or_else(namespaces)
}

/// Reads a Secret's value: one or two signing secrets, separated by white space. Every one signs, so
/// that a receiver may know the old or the new one.
///
/// Only values that are marked as signing secrets are taken: whoever may create an ImageBatch must not
/// get signatures by other Secrets of the namespace.
pub fn signers(value: &str) -> Result<Vec<Signer>, String> {
    let secrets: Vec<&str> = value.split_whitespace().collect();
    if secrets.is_empty() || secrets.len() > MAX_SECRETS {
        return Err(format!(
            "it holds {} signing secrets; one or two, separated by a space, are expected",
            secrets.len()
        ));
    }
    secrets
        .into_iter()
        .map(|secret| {
            let encoded = secret.strip_prefix("whsec_").ok_or("a signing secret begins with \"whsec_\"")?;
            // Base64 has four characters for three bytes.
            let bytes = encoded.trim_end_matches('=').len() * 3 / 4;
            if !SECRET_BYTES.contains(&bytes) {
                let (least, most) = (SECRET_BYTES.start(), SECRET_BYTES.end());
                return Err(format!("a signing secret has {least} to {most} bytes, and this one has {bytes}"));
            }
            Signer::new(secret).map_err(|error| error.to_string())
        })
        .collect()
}

/// Returns the header with the signatures of an attempt.
pub fn signature(
    signers: &[Signer],
    delivery: &Delivery,
    seconds: i64,
) -> Result<String, standardwebhooks::WebhookError> {
    let signatures: Result<Vec<String>, _> =
        signers.iter().map(|it| it.sign(delivery.event_id(), seconds, delivery.payload.as_bytes())).collect();
    Ok(signatures?.join(" "))
}

/// Adds an attempt to a delivery and decides what follows; what somebody asked for is tried once. `jitter` is
/// between 0 and 1.
pub fn settle(delivery: &mut Delivery, attempt: Attempt, retry_after: Option<Duration>, jitter: f64) {
    let further: &[u64] = if delivery.kind == DeliveryKind::Event { &SCHEDULE } else { &[] };
    delivery.state = match attempt.status {
        Some(200..=299) => DeliveryState::Delivered,
        Some(410) => DeliveryState::Disabled,
        _ if delivery.attempts.len() >= further.len() => DeliveryState::Failed,
        _ => DeliveryState::Pending,
    };
    if let Some(wait) = further.get(delivery.attempts.len()) {
        // A fifth more at most, so that receivers that come back are not met by all batches at once.
        let wait = Duration::from_secs(*wait).mul_f64(1.0 + jitter / 5.0);
        let wait = wait.max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
        let end = attempt.at.timestamp_millis() + attempt.duration_ms;
        delivery.next_attempt = DateTime::from_millis(end + wait.as_millis() as i64);
    }
    delivery.attempts.push(attempt);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            id: "msg_1".into(),
            event: None,
            kind: DeliveryKind::Event,
            batch: "1".into(),
            name: "batch".into(),
            namespace: "shop".into(),
            url: "https://shop.example/hook".into(),
            endpoint: endpoint_of("https://shop.example/hook"),
            secret_ref: None,
            payload: "{}".into(),
            state: DeliveryState::Pending,
            next_attempt: DateTime::from_millis(0),
            attempts: Vec::new(),
            untold: false,
        }
    }

    fn attempt(status: Option<i32>) -> Attempt {
        Attempt { at: DateTime::from_millis(1_000), duration_ms: 500, status, error: None }
    }

    #[test]
    fn an_answer_decides_what_follows() {
        for (status, state) in [
            (Some(200), DeliveryState::Delivered),
            (Some(204), DeliveryState::Delivered),
            (Some(410), DeliveryState::Disabled),
            (Some(302), DeliveryState::Pending),
            (Some(429), DeliveryState::Pending),
            (None, DeliveryState::Pending),
        ] {
            let mut delivery = delivery();
            settle(&mut delivery, attempt(status), None, 0.0);
            assert_eq!((delivery.state, delivery.next_attempt.timestamp_millis()), (state, 6_500), "{status:?}");
        }
    }

    #[test]
    fn what_somebody_asked_for_is_tried_once() {
        for kind in [DeliveryKind::Redelivery, DeliveryKind::Test] {
            let mut delivery = Delivery { kind, ..delivery() };
            settle(&mut delivery, attempt(Some(503)), Some(Duration::from_secs(9)), 0.0);
            assert_eq!((delivery.state, delivery.next_attempt.timestamp_millis()), (DeliveryState::Failed, 0));
        }
    }

    #[test]
    fn attempts_end_after_75_hours() {
        let mut delivery = delivery();
        let mut waited = 0;
        while delivery.state == DeliveryState::Pending {
            settle(&mut delivery, attempt(Some(500)), None, 0.0);
            if delivery.state == DeliveryState::Pending {
                waited += delivery.next_attempt.timestamp_millis() - 1_500;
            }
        }
        assert_eq!((delivery.attempts.len(), waited / 1_000), (10, (75 * 60 + 35) * 60 + 5));
        assert_eq!(delivery.state, DeliveryState::Failed);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait() {
        for (asked, expected) in [(2, 5), (600, 600), (1_000_000, 86_400)] {
            let mut delivery = delivery();
            settle(&mut delivery, attempt(Some(503)), Some(Duration::from_secs(asked)), 0.0);
            assert_eq!(delivery.next_attempt.timestamp_millis(), 1_500 + expected * 1_000);
        }
    }

    #[test]
    fn only_signing_secrets_sign() {
        let secret = format!("whsec_{}", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        assert_eq!(signers(&secret).map(|it| it.len()), Ok(1));
        assert_eq!(signers(&format!("{secret}\n{secret}\n")).map(|it| it.len()), Ok(2));
        for wrong in ["", "hunter2", "whsec_c2hvcnQ=", "whsec_%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%%"] {
            assert!(signers(wrong).is_err(), "{wrong}");
        }
        assert!(signers(&format!("{secret} {secret} {secret}")).is_err());
    }
}
