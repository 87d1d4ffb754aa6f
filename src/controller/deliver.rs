//! The webhooks' sender: due deliveries -> signed POST -> attempt recorded -> condition and Event.
//!
//! It runs beside the reconciler, so that a slow receiver holds up no batch. A delivery that is sent
//! and not recorded is sent again under the same id: receivers see an event at least once. One that is
//! recorded and not told is told later, without being sent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::Api;
use mongodb::bson::DateTime;
use tokio::task::{self, JoinSet};
use tokio::time::MissedTickBehavior;

use super::context::Context;
use super::error::DeliverError;
use super::{apply, observe, webhook};
use crate::api::condition::{Statement, WEBHOOK_DELIVERED, reason, set_condition};
use crate::api::image_batch::ImageBatch;
use crate::egress::{Answer, FetchError};
use crate::failpoint;
use crate::records::RecordError;
use crate::records::delivery::{Attempt, Delivery, DeliveryKind, DeliveryState};
use crate::records::request::Origin;

/// Time between two looks at the outbox.
const INTERVAL: Duration = Duration::from_secs(1);
/// Deliveries that are under way at the same time.
const CONCURRENT: usize = 64;
/// Of these, those to one endpoint, so that receivers that hang hold up themselves alone.
const CONCURRENT_PER_ENDPOINT: usize = 4;
/// Longest wait for a receiver's answer: the specification asks for 15 to 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends what is due, for ever.
pub async fn run(context: &Arc<Context>) {
    let mut sending = Sending::default();
    let mut look = tokio::time::interval(INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {
                if let Err(error) = sending.start_due(context).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "failed to look for webhooks");
                }
            }
            Some(was_recorded) = sending.end_one() => {
                // Others may wait for its place; after an error they wait for the next look.
                if was_recorded {
                    look.reset_immediately();
                }
            }
        }
    }
}

/// The deliveries that are under way.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<bool>,
    /// The delivery of each task and its endpoint.
    places: HashMap<task::Id, (String, String)>,
}

impl Sending {
    /// Starts what is due, as far as there are places.
    async fn start_due(&mut self, context: &Arc<Context>) -> Result<(), RecordError> {
        loop {
            let free = CONCURRENT - self.places.len();
            if free == 0 {
                return Ok(());
            }
            let ids: Vec<&str> = self.places.values().map(|(id, _)| id.as_str()).collect();
            let endpoints: HashSet<&str> = self.places.values().map(|(_, endpoint)| endpoint.as_str()).collect();
            let busy: Vec<&str> = endpoints.into_iter().filter(|it| self.is_busy(it)).collect();
            let due = context.records.due_deliveries(DateTime::now(), free as i64, &ids, &busy).await?;
            if due.is_empty() {
                return Ok(());
            }
            // Those to an endpoint that has no place left wait, and the next look leaves them out.
            for delivery in due {
                if !self.is_busy(&delivery.endpoint) {
                    let place = (delivery.id.clone(), delivery.endpoint.clone());
                    let task = self.tasks.spawn(deliver_one(Arc::clone(context), delivery));
                    self.places.insert(task.id(), place);
                }
            }
        }
    }

    fn is_busy(&self, endpoint: &str) -> bool {
        self.places.values().filter(|(_, it)| it == endpoint).count() >= CONCURRENT_PER_ENDPOINT
    }

    /// Waits for a delivery to end; returns whether its attempt is recorded, or `None` when there is none.
    async fn end_one(&mut self) -> Option<bool> {
        let (id, was_recorded) = match self.tasks.join_next_with_id().await? {
            Ok(ended) => ended,
            Err(panic) => (panic.id(), false),
        };
        self.places.remove(&id);
        Some(was_recorded)
    }
}

/// Delivers one event; an error costs no other. Returns whether something was done that others may wait for.
async fn deliver_one(context: Arc<Context>, delivery: Delivery) -> bool {
    let (name, namespace) = (delivery.name.clone(), delivery.namespace.clone());
    deliver(&context, delivery).await.unwrap_or_else(|error| {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(
            batch.name = name,
            batch.namespace = namespace,
            error,
            "failed to deliver a webhook, trying again"
        );
        false
    })
}

async fn deliver(context: &Context, mut delivery: Delivery) -> Result<bool, DeliverError> {
    if !delivery.untold {
        if delivery.kind == DeliveryKind::Event {
            // The reconciler says Finished after it has filled the outbox, and would say over what is told before.
            let batch = find(context, &delivery).await?;
            if batch.is_some_and(|it| !it.status.is_some_and(|status| status.is_finished())) {
                return Ok(false);
            }
        }
        attempt(context, &mut delivery).await?;
    }
    if delivery.untold {
        tell(context, &delivery).await?;
        delivery.untold = false;
        failpoint::around("told.update", context.records.update_delivery(&delivery)).await?;
    }
    Ok(true)
}

/// Sends a delivery and writes down what came of it, before anything else can go wrong.
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
        kind = ?delivery.kind,
        status,
        error = attempt.error,
        attempt = delivery.attempts.len() + 1,
        "webhook called"
    );
    webhook::settle(delivery, attempt, retry_after, fastrand::f64());
    let ends_event = delivery.kind == DeliveryKind::Redelivery && delivery.state == DeliveryState::Delivered;
    if ends_event {
        context.records.end_event(delivery.event_id()).await?;
    }
    delivery.untold = ends_event || delivery.kind == DeliveryKind::Event;
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
        ("webhook-id", delivery.event_id().to_owned()),
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

/// Says what became of an event: in the ImageBatch and its record, or in the record alone once it is gone.
async fn tell(context: &Context, delivery: &Delivery) -> Result<(), DeliverError> {
    let (statement, now) = (outcome(delivery), Time(Timestamp::now()));
    if let Some(batch) = find(context, delivery).await?
        && let Some(batch) =
            apply::apply_conditions(context, &batch, apply::NOTIFIER, vec![statement.clone()], &now).await?
    {
        let status = batch.status.clone().unwrap_or_default();
        return Ok(context.records.mirror_status(&delivery.batch, &Origin::of(&batch), &status).await?);
    }
    let Some(record) = context.records.request(&delivery.batch).await? else { return Ok(()) };
    let mut status = record.read_status()?;
    let generation = status.condition(statement.type_).and_then(|it| it.observed_generation);
    set_condition(&mut status.conditions, statement, generation, &now);
    let Some(origin) = record.origin else { return Ok(()) };
    Ok(context.records.mirror_status(&delivery.batch, &origin, &status).await?)
}

fn outcome(delivery: &Delivery) -> Statement {
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
    Statement { type_: WEBHOOK_DELIVERED, status, reason, message }
}
