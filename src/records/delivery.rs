//! The webhook outbox: one document an event, with every attempt to deliver it, and one for each time that
//! somebody asked for it to be sent again, or for a test.
//!
//! The controller inserts an event before the ImageBatch says Finished, so no end goes unannounced. The
//! gateway inserts what it is asked for. The controller alone updates them.

use futures::TryStreamExt;
use mongodb::bson::{DateTime, doc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{RecordError, Records};
use crate::api::webhook::SecretKey;

pub(super) const DELIVERIES: &str = "deliveries";

/// An event that is to be delivered, or was, or will not be.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The delivery's id.
    #[serde(rename = "_id")]
    pub id: String,
    /// The id of the event that is sent again; absent where it is the delivery's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// Why it is sent.
    #[serde(default)]
    pub kind: DeliveryKind,
    /// The batch's uid.
    pub batch: String,
    /// The batch's name.
    pub name: String,
    /// The batch's namespace.
    pub namespace: String,
    /// Where it is sent.
    pub url: String,
    /// Scheme, host and port of the URL: a slow one gets only so many deliveries at a time.
    #[serde(default)]
    pub endpoint: String,
    /// The secret that signs it, where the batch names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,
    /// The body, byte for byte.
    pub payload: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it is sent next, as long as it is pending.
    pub next_attempt: DateTime,
    /// What was tried, the oldest first.
    pub attempts: Vec<Attempt>,
    /// Whether the ImageBatch does not say yet what became of the last attempt.
    #[serde(default)]
    pub untold: bool,
}

impl Delivery {
    /// Returns the event's id, the same in every attempt: receivers know a repeat by it.
    #[must_use]
    pub fn event_id(&self) -> &str {
        self.event.as_deref().unwrap_or(&self.id)
    }
}

/// Returns the endpoint of a webhook's URL.
#[must_use]
pub fn endpoint_of(url: &str) -> String {
    url::Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin().ascii_serialization())
}

/// Why something is sent to a webhook.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeliveryKind {
    /// The batch ended; it is tried again for days.
    #[default]
    Event,
    /// Somebody asked for the event once more; one attempt.
    Redelivery,
    /// Somebody tries whether the webhook hears; one attempt.
    Test,
}

/// Where a delivery stands.
#[derive(Serialize, Deserialize, JsonSchema, Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// It is sent when its time comes.
    Pending,
    /// The receiver took it.
    Delivered,
    /// All attempts failed.
    Failed,
    /// The receiver is gone for good: it answered 410.
    Disabled,
}

impl DeliveryState {
    /// Returns the word that records, conditions and the API use.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Delivered => "Delivered",
            Self::Failed => "Failed",
            Self::Disabled => "Disabled",
        }
    }
}

/// One attempt.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// When it began.
    pub at: DateTime,
    /// How long it took.
    pub duration_ms: i64,
    /// The HTTP status, where there was an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// Why there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Records {
    /// Records an event that is to be delivered; one that is there already stays as it is.
    pub async fn insert_delivery(&self, delivery: &Delivery) -> Result<(), RecordError> {
        self.insert(DELIVERIES, "record a webhook", std::slice::from_ref(delivery)).await.map(drop)
    }

    /// Returns pending deliveries whose time has come and those whose last attempt is untold, the longest due
    /// first, without those of these ids and to these endpoints.
    pub async fn due_deliveries(
        &self,
        now: DateTime,
        most: i64,
        without: &[&str],
        busy_endpoints: &[&str],
    ) -> Result<Vec<Delivery>, RecordError> {
        let deliveries = self.collection::<Delivery>(DELIVERIES);
        let due = doc! { "state": DeliveryState::Pending.as_str(), "nextAttempt": { "$lte": now } };
        let filter = doc! {
            "$or": [due, { "untold": true }],
            "_id": { "$nin": without },
            "endpoint": { "$nin": busy_endpoints },
        };
        self.run("look for webhooks", || async {
            let found = deliveries.find(filter.clone()).sort(doc! { "nextAttempt": 1 }).limit(most).await?;
            found.try_collect().await
        })
        .await
    }

    /// Writes down what became of an attempt.
    pub async fn update_delivery(&self, delivery: &Delivery) -> Result<(), RecordError> {
        let deliveries = self.collection::<Delivery>(DELIVERIES);
        self.run("record a webhook's attempt", || async {
            deliveries.replace_one(doc! { "_id": &delivery.id }, delivery).await.map(drop)
        })
        .await
    }

    /// Notes that an event was delivered in another way than by its own attempts, so that none follows.
    pub async fn end_event(&self, id: &str) -> Result<(), RecordError> {
        let deliveries = self.collection::<Delivery>(DELIVERIES);
        let pending = doc! { "_id": id, "state": DeliveryState::Pending.as_str() };
        let delivered = doc! { "$set": { "state": DeliveryState::Delivered.as_str() } };
        self.run("end a webhook's attempts", || async {
            deliveries.update_one(pending.clone(), delivered.clone()).await.map(drop)
        })
        .await
    }

    /// Returns a delivery.
    pub async fn delivery(&self, id: &str) -> Result<Option<Delivery>, RecordError> {
        let deliveries = self.collection::<Delivery>(DELIVERIES);
        self.run("read a webhook", || async { deliveries.find_one(doc! { "_id": id }).await }).await
    }

    /// Returns a batch's deliveries.
    pub async fn deliveries(&self, batch: &str) -> Result<Vec<Delivery>, RecordError> {
        let deliveries = self.collection::<Delivery>(DELIVERIES);
        self.run("read webhooks", || async { deliveries.find(doc! { "batch": batch }).await?.try_collect().await })
            .await
    }
}
