//! The webhook outbox: one document an event, with every attempt to deliver it.
//!
//! The controller inserts it before the ImageBatch says Finished, so no end goes unannounced, and is
//! the only one that updates it.

use futures::TryStreamExt;
use mongodb::bson::{DateTime, doc};
use serde::{Deserialize, Serialize};

use super::{RecordError, Records};
use crate::api::webhook::SecretKey;

pub(super) const DELIVERIES: &str = "deliveries";

/// An event that is to be delivered, or was, or will not be.
#[derive(Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The event's id, the same in every attempt: receivers know a repeat by it.
    #[serde(rename = "_id")]
    pub id: String,
    /// The batch's uid.
    pub batch: String,
    /// The batch's name.
    pub name: String,
    /// The batch's namespace.
    pub namespace: String,
    /// Where it is sent.
    pub url: String,
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

/// Where a delivery stands.
#[derive(Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
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
        self.insert(DELIVERIES, "record a webhook", std::slice::from_ref(delivery)).await
    }

    /// Returns the pending deliveries whose time has come, and those whose last attempt is untold, the
    /// longest due first.
    pub async fn due_deliveries(&self, now: DateTime, most: i64) -> Result<Vec<Delivery>, RecordError> {
        let deliveries = self.collection::<Delivery>(DELIVERIES);
        let due = doc! { "state": DeliveryState::Pending.as_str(), "nextAttempt": { "$lte": now } };
        let filter = doc! { "$or": [due, { "untold": true }] };
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

    /// Returns a batch's deliveries.
    pub async fn deliveries(&self, batch: &str) -> Result<Vec<Delivery>, RecordError> {
        let deliveries = self.collection::<Delivery>(DELIVERIES);
        self.run("read webhooks", || async { deliveries.find(doc! { "batch": batch }).await?.try_collect().await })
            .await
    }
}
