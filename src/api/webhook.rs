//! Who is told of a batch's end, and where the secret is that signs it.

#![allow(unreachable_pub, reason = "the schema derive repeats these types inside of functions")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An HTTP endpoint that is told of the batch's end, as Standard Webhooks 1.0.0 has it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// The endpoint's http(s) URL. It is reached by the same guarded client as the images.
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^https?://"))]
    pub url: String,
    /// The secret that signs the events: one or two of `whsec_...`, separated by a space. By default it is
    /// the key `secret` of the namespace's Secret `imagebatch-webhook`. Without one the batch is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKey>,
}

/// A key of a Secret in the ImageBatch's namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key of its data.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}
