//! The webhooks' sender: due deliveries -> signed POST -> attempt recorded -> condition and Event.
//!
//! It runs beside the reconciler, so that a slow receiver holds up no batch. A delivery that is sent
//! and not recorded is sent again under the same id: receivers see an event at least once. One that is
//! recorded and not told is told later, without being sent.

use std::time::Duration;

use futures::{StreamExt, stream};
use http::{HeaderMap, HeaderValue};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use mongodb::bson::DateTime;

use super::context::Context;
use super::error::DeliverError;
use super::{apply, observe, webhook};
use crate::api::condition::{Statement, WEBHOOK_DELIVERED, reason};
use crate::api::image_batch::ImageBatch;
use crate::egress::{Answer, FetchError};
use crate::failpoint;
use crate::records::delivery::{Attempt, Delivery, DeliveryState};
use crate::records::request::Origin;

/// Time between two looks at the outbox.
const INTERVAL: Duration = Duration::from_secs(1);
/// Deliveries that are under way at the same time.
const CONCURRENT: usize = 8;
/// Longest wait for a receiver's answer: the specification asks for 15 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends what is due, for ever.
pub async fn run(context: &Context) {
    loop {
        match context.records.due_deliveries(DateTime::now(), 4 * CONCURRENT as i64).await {
            Ok(due) => stream::iter(due).for_each_concurrent(CONCURRENT, |it| deliver_one(context, it)).await,
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "failed to look for webhooks"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Delivers one event; an error costs no other.
async fn deliver_one(context: &Context, delivery: Delivery) {
    let (name, namespace) = (delivery.name.clone(), delivery.namespace.clone());
    if let Err(error) = deliver(context, delivery).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(
            batch.name = name,
            batch.namespace = namespace,
            error,
            "failed to deliver a webhook, trying again"
        );
    }
}

async fn deliver(context: &Context, mut delivery: Delivery) -> Result<(), DeliverError> {
    if !delivery.untold {
        // The reconciler says Finished after it has filled the outbox, and would say over what is told before.
        let batch = find(context, &delivery).await?;
        if batch.is_some_and(|it| !it.status.is_some_and(|status| status.is_finished())) {
            return Ok(());
        }
        attempt(context, &mut delivery).await?;
    }
    tell(context, &delivery).await?;
    delivery.untold = false;
    Ok(failpoint::around("told.update", context.records.update_delivery(&delivery)).await?)
}

/// Sends an event and writes down what came of it, before anything else can go wrong.
async fn attempt(context: &Context, delivery: &mut Delivery) -> Result<(), DeliverError> {
    let now = Timestamp::now();
    let answer = failpoint::around("webhook.send", send(context, delivery, now)).await?;
    let (status, error, retry_after) = match answer {
        Ok(Answer { status, retry_after }) => (Some(i32::from(status.as_u16())), None, retry_after),
        Err(error) => (None, Some(error), None),
    };
    let attempt = Attempt {
        at: DateTime::from_millis(now.as_millisecond()),
        duration_ms: Timestamp::now().duration_since(now).as_millis() as i64,
        status,
        error,
    };
    tracing::info!(
        batch.name = delivery.name,
        batch.namespace = delivery.namespace,
        webhook.id = delivery.id,
        status,
        error = attempt.error,
        attempt = delivery.attempts.len() + 1,
        "webhook called"
    );
    webhook::settle(delivery, attempt, retry_after, fastrand::f64());
    delivery.untold = true;
    Ok(failpoint::around("delivery.update", context.records.update_delivery(delivery)).await?)
}

/// Sends an event; the inner error says why there was no answer.
async fn send(context: &Context, delivery: &Delivery, now: Timestamp) -> Result<Result<Answer, String>, DeliverError> {
    let api = Api::<Secret>::namespaced(context.client.clone(), &delivery.namespace);
    // At every attempt, so that a secret that was replaced signs at once.
    let signers = match observe::signers_at(&api, &webhook::secret_place(delivery.secret_ref.as_ref())).await {
        Ok(Ok(signers)) => signers,
        Ok(Err(problem)) => return Ok(Err(problem)),
        Err(error) => return Ok(Err(format!("{error}; the controller's log says more"))),
    };
    let signature = webhook::signature(&signers, delivery, now.as_second())?;
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", delivery.id.clone()),
        ("webhook-timestamp", now.as_second().to_string()),
        ("webhook-signature", signature),
    ];
    let headers: Result<HeaderMap, http::header::InvalidHeaderValue> = headers
        .into_iter()
        .map(|(name, value)| Ok((http::HeaderName::from_static(name), HeaderValue::try_from(value)?)))
        .collect();
    let answer = context.egress.post(&delivery.url, headers?, delivery.payload.clone().into(), TIMEOUT).await;
    Ok(answer.map_err(|error: FetchError| error.to_string()))
}

/// Returns the delivery's batch, if it is still there.
async fn find(context: &Context, delivery: &Delivery) -> Result<Option<ImageBatch>, DeliverError> {
    let batches = Api::<ImageBatch>::namespaced(context.client.clone(), &delivery.namespace);
    let found = batches.get_opt(&delivery.name).await.map_err(DeliverError::GetBatch)?;
    Ok(found.filter(|it| it.uid().as_deref() == Some(delivery.batch.as_str())))
}

/// Says in the ImageBatch, if it is still there, what became of its event.
async fn tell(context: &Context, delivery: &Delivery) -> Result<(), DeliverError> {
    let Some(batch) = find(context, delivery).await? else { return Ok(()) };
    let last = delivery.attempts.last();
    let outcome = match last.and_then(|it| it.status) {
        Some(status) => format!("the webhook answered {status}"),
        None => last.and_then(|it| it.error.clone()).unwrap_or_default(),
    };
    let attempts = delivery.attempts.len();
    let (status, reason, message) = match delivery.state {
        DeliveryState::Delivered => (Some(true), reason::WEBHOOK_DELIVERED, outcome),
        DeliveryState::Pending => {
            (None, reason::WEBHOOK_PENDING, format!("attempt {attempts} failed and another follows: {outcome}"))
        }
        DeliveryState::Failed => {
            (Some(false), reason::WEBHOOK_FAILED, format!("all {attempts} attempts failed: {outcome}"))
        }
        DeliveryState::Disabled => (Some(false), reason::WEBHOOK_GONE, outcome),
    };
    let statement = Statement { type_: WEBHOOK_DELIVERED, status, reason, message };
    if let Some(batch) = apply::apply_condition(context, &batch, statement, &Time(Timestamp::now())).await? {
        let status = batch.status.clone().unwrap_or_default();
        context.records.mirror_status(&delivery.batch, &Origin::of(&batch), &status).await?;
    }
    Ok(())
}
