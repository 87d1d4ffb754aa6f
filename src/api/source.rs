//! Where a batch's products come from, and what a valid row of them is.

#![allow(unreachable_pub, reason = "the schema derive repeats these types inside of functions")]

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most bytes that the JSON of inline products may have: they travel in a Job's environment.
pub const MAX_INLINE_BYTES: usize = 8 * 1024;

/// Where the products come from: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.products) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0) + (has(self.url) ? 1 : 0) + (has(self.upload) ? 1 : 0) + (has(self.failedOf) ? 1 : 0) == 1").message("exactly one of products, configMapKeyRef, url, upload and failedOf must be set")
)]
pub struct Source {
    /// Inline rows, for small batches: at most 50 products and 8 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50))]
    pub products: Option<Vec<Product>>,

    /// A CSV in a ConfigMap of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKey>,

    /// The http(s) URL of a CSV. It is fetched once, by the same guarded client as the images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://"))]
    pub url: Option<String>,

    /// A CSV in object storage, written there by the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Upload>,

    /// An earlier batch of the same namespace: its images without a result are fetched again, and the
    /// reports hold all of its rows, with the results that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_of: Option<FailedOf>,
}

/// One product of an inline source.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    /// The row's serial number, kept as it is written.
    #[schemars(length(min = 1, max = 64))]
    pub serial_number: String,
    /// The product's name.
    #[schemars(length(min = 1, max = 512))]
    pub name: String,
    /// The http(s) URLs of the product's images.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 2048)))]
    pub image_urls: Vec<String>,
}

/// A key of a ConfigMap in the ImageBatch's namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct ConfigMapKey {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key whose value is the CSV.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// An ImageBatch whose failed images are fetched again. It must have ended; until then its retry waits.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct FailedOf {
    /// The ImageBatch's name.
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// A CSV that the gateway stored and validated.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct Upload {
    /// The object's key; it must lie below this namespace's prefix.
    #[schemars(length(min = 1, max = 512))]
    pub key: String,
    /// The content's SHA-256 in lower-case hex; ingest refuses other content.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
    /// Rows that the validator counted, the skipped ones included.
    #[schemars(range(min = 1))]
    pub rows: i64,
    /// Image URLs that the validator counted.
    #[schemars(range(min = 1))]
    pub images: i64,
}

/// What a valid row is, and what happens to the others.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// Whether a row with a problem refuses the source or is skipped.
    #[serde(default)]
    pub on_invalid_row: OnInvalidRow,

    /// Whether a serial number that an earlier row has is a warning or a problem.
    #[serde(default)]
    pub on_duplicate_serial_number: OnDuplicate,
}

/// What a row with a problem does to its source.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnInvalidRow {
    /// The source is refused, with every problem listed.
    #[default]
    Reject,
    /// The row is skipped and reported; the other rows are worked on.
    Skip,
}

/// What a serial number is that an earlier row has.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnDuplicate {
    /// A warning: the row is worked on.
    #[default]
    Warn,
    /// A problem of the row.
    Reject,
}
