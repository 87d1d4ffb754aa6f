//! Spans of what is done for a batch: for the log's lines, and as part of the batch's trace.

use std::borrow::Cow;

use kube::ResourceExt;
use kube::api::ObjectMeta;
use tracing::Span;
use tracing::field::Empty;

use crate::api::image_batch::ImageBatch;
use crate::api::labels;
use crate::api::stage::Stage;
use crate::records::delivery::Delivery;
use crate::telemetry::trace::{self, LOG_ONLY};

/// Returns a span that gives log lines the batch that they speak of.
pub(super) fn of_batch(batch: &ImageBatch) -> Span {
    tracing::error_span!(
        target: LOG_ONLY,
        "reconcile",
        batch.name = batch.name_any(),
        batch.namespace = batch.namespace(),
        batch.uid = batch.uid(),
        request_id = labels::request_id(batch.annotations()),
    )
}

/// Returns the same for an ImageBatch of which only the metadata can be read.
pub(super) fn of_object(metadata: &ObjectMeta) -> Span {
    let ObjectMeta { name, namespace, uid, .. } = metadata;
    tracing::error_span!(target: LOG_ONLY, "reconcile", batch.name = name, batch.namespace = namespace, batch.uid = uid)
}

/// Returns the same for a webhook's delivery, which has no request id before its batch is read.
pub(super) fn of_delivery(delivery: &Delivery) -> Span {
    tracing::error_span!(
        target: LOG_ONLY,
        "deliver",
        batch.name = delivery.name,
        batch.namespace = delivery.namespace,
        batch.uid = delivery.batch,
        request_id = Empty,
    )
}

/// Returns the span of a Job's creation in the batch's trace, and the batch with an annotation by which the
/// Job's pods continue from there.
pub(super) fn of_job(batch: &ImageBatch, stage: Stage) -> (Span, Cow<'_, ImageBatch>) {
    let span = tracing::info_span!("create job", otel.name = format!("create job {}", stage.as_str()));
    trace::continue_from(&span, batch.annotations().get(labels::TRACEPARENT).map(String::as_str));
    let mut batch = Cow::Borrowed(batch);
    if let Some(traceparent) = trace::traceparent(&span) {
        batch.to_mut().annotations_mut().insert(labels::TRACEPARENT.to_owned(), traceparent);
    }
    (span, batch)
}
