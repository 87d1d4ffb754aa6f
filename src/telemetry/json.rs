//! Log lines as JSON objects without any nesting: the fields of an event, and those of all spans around it.
//!
//! So every line below a request, a reconcile or a stage has the batch's name and the request's id beside its
//! message, where `jq` and log stores find them. The formatter of the library nests them, tells only an error's own
//! words and not its causes, and writes and reads a span's JSON anew with each field that is recorded later.

use std::error::Error;
use std::fmt;
use std::io::Write;

use k8s_openapi::jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Writes lines to standard error.
pub(super) struct Lines;

impl<S> Layer<S> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        // The innermost span comes last, so its word holds where two have the same field.
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span.0.iter().for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        if let Some(trace) = super::trace::current_id() {
            fields.set("trace_id", trace.into());
        }
        event.record(&mut fields);
        // Events of the crate `log` carry what they are as fields.
        let normalized = event.normalized_metadata();
        let line = Line { metadata: normalized.as_ref().unwrap_or_else(|| event.metadata()), fields };
        if let Ok(mut text) = serde_json::to_vec(&line) {
            text.push(b'\n');
            // There is nowhere to say that a line cannot be written.
            let _ = std::io::stderr().lock().write_all(&text);
        }
    }
}

struct Line<'a> {
    metadata: &'a Metadata<'a>,
    fields: Fields,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("timestamp", &format_args!("{:.6}", Timestamp::now()))?;
        line.serialize_entry("level", self.metadata.level().as_str())?;
        line.serialize_entry("target", self.metadata.target())?;
        for (name, value) in &self.fields.0 {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}

/// The fields of a line or of a span, few enough to be looked through.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn set(&mut self, name: &'static str, value: Value) {
        // What only traces need, and what `log` says of the place.
        if name.starts_with("otel.") || name.starts_with("log.") {
            return;
        }
        match self.0.iter_mut().find(|(it, _)| *it == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field.name(), value.into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set(field.name(), super::chain(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field.name(), format!("{value:?}").into());
    }
}
