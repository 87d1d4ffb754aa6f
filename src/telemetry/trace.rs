//! Traces by OpenTelemetry: spans of `tracing` are sent to a collector where one is named for traces. Without it
//! nothing is made of them, and spans of single images are not even begun.
//!
//! Spans wait in a queue of 2,048 (`OTEL_BSP_MAX_QUEUE_SIZE`); what does not fit is dropped, so a collector that is
//! slow or away holds up nothing.
//!
//! A trace goes on in another process by a `traceparent` (W3C Trace Context): from the request to the
//! ImageBatch's annotation, and from the controller to the pods of a Job.

use std::collections::HashMap;
use std::sync::OnceLock;

use anyhow::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context as TraceContext, TraceId, Value};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata, Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::otlp::{self, END, SCOPE, Signal};

/// Target of spans that only give log lines their fields, since they come too often to be part of a trace.
pub const LOG_ONLY: &str = "imagebatch::log";

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Returns the layer that makes traces of spans, or `None` where nobody asks for them.
pub(super) fn layer<S>(role: &str) -> anyhow::Result<Option<impl Layer<S>>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    if !otlp::is_asked_for(Signal::Traces)? {
        return Ok(None);
    }
    let exporter = SpanExporter::builder().with_http().with_http_client(otlp::client(Signal::Traces)?);
    let exporter = exporter.build().context("failed to set up the sending of traces")?;
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(otlp::resource(role)).build();
    let tracer = provider.tracer(SCOPE);
    PROVIDER.set(provider).map_err(|_| anyhow::anyhow!("traces are set up already"))?;
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(FilterFn::new(is_traced as fn(&Metadata<'_>) -> bool));
    Ok(Some(layer))
}

/// Spans of this program, whatever the log's filter says; events are the log's.
fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span()
        && metadata.target().starts_with(SCOPE)
        && metadata.target() != LOG_ONLY
        && *metadata.level() <= Level::DEBUG
}

/// Makes a span that was not entered yet the child of one of another process.
pub fn continue_from(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent.filter(|_| PROVIDER.get().is_some()) else { return };
    let carrier = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
    // What is no traceparent begins a new trace, as the standard says.
    let parent = TraceContextPropagator::new().extract_with_context(&TraceContext::new(), &carrier);
    if parent.span().span_context().is_valid()
        && let Err(error) = span.set_parent(parent)
    {
        tracing::debug!(%error, "failed to continue a trace");
    }
}

/// Adds an attribute that only traces need to a span.
pub fn set(span: &Span, name: &'static str, value: impl Into<Value>) {
    if PROVIDER.get().is_some() {
        span.set_attribute(name, value);
    }
}

/// Returns what another process needs to continue a span's trace; `None` where there are no traces.
#[must_use]
pub fn traceparent(span: &Span) -> Option<String> {
    PROVIDER.get()?;
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags()))
}

/// Returns the id of the trace that this thread works on at the moment, for the log.
pub(super) fn current_id() -> Option<String> {
    PROVIDER.get()?;
    let id = TraceContext::map_current(|it| it.span().span_context().trace_id());
    (id != TraceId::INVALID).then(|| id.to_string())
}

/// Sends the spans that are left, for a short time at most.
pub(super) fn end() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(END)
    {
        tracing::warn!(%error, "failed to send the last spans");
    }
}
