//! Labels, field managers and names of everything the operator creates in the API server.

use std::collections::BTreeMap;

/// Label that every Job and pod of a batch carries: the batch's uid.
pub const BATCH_UID: &str = "imagebatch.io/batch-uid";
/// Label with the batch's name, for people and `kubectl logs -l`.
pub const BATCH_NAME: &str = "imagebatch.io/batch-name";
/// Label with the stage that a Job or pod runs.
pub const STAGE: &str = "imagebatch.io/stage";
/// Annotation of an uploaded batch: who asked for it.
pub const OWNER: &str = "imagebatch.io/owner";

/// Annotation of an uploaded batch: its name for people.
pub const DISPLAY_NAME: &str = "imagebatch.io/display-name";
/// Annotation of a batch that came by HTTP: the id of the request, by which logs of all roles find it.
pub const REQUEST_ID: &str = "imagebatch.io/request-id";
/// Annotation of a batch whose trace goes on: a `traceparent` of W3C Trace Context.
pub const TRACEPARENT: &str = "imagebatch.io/traceparent";
/// Annotation of a batch that was uploaded with an Idempotency-Key: the hash of what was asked for.
pub const FINGERPRINT: &str = "imagebatch.io/request-fingerprint";

/// Keeps an ImageBatch until what it stored is kept or deleted as its policy says.
pub const FINALIZER: &str = "imagebatch.io/cleanup";
/// Field manager of the controller; the gateway has its own.
pub const CONTROLLER: &str = "imagebatch-controller";
/// ServiceAccount and Secret of the pods, made by the chart in each enabled namespace.
pub const WORKER: &str = "imagebatch-worker";
/// ConfigMap with the certificate authorities of storage and MongoDB, where public ones do not do.
pub const AUTHORITIES: &str = "imagebatch-ca";

/// Returns whether something can be the id of a request: short, and harmless in a log and a header.
#[must_use]
pub fn is_request_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
}

/// Returns the id of the request that a batch's annotations name. Anybody may have written them.
#[must_use]
pub fn request_id(annotations: &BTreeMap<String, String>) -> Option<&str> {
    annotations.get(REQUEST_ID).map(String::as_str).filter(|it| is_request_id(it))
}

/// Returns the labels of a batch's Jobs and pods.
#[must_use]
pub fn for_batch(uid: &str, name: &str, stage: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "imagebatch"),
        ("app.kubernetes.io/component", "compressor"),
        ("app.kubernetes.io/managed-by", CONTROLLER),
        (BATCH_UID, uid),
        (BATCH_NAME, name),
        (STAGE, stage),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}
