//! Log lines with the fields of an event and those of all spans around it: JSON on standard error, and records for a
//! collector where there is one.
//!
//! So every line below a request, a reconcile or a stage has the batch's name and the request's id beside its
//! message. The formatter of the library nests them, tells only an error's own words and not its causes, and writes
//! and reads a span's JSON anew with each field that is recorded later; the library's bridge to OpenTelemetry leaves
//! out the fields of spans.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry_sdk::logs::SdkLogger;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_log::NormalizeEvent;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, Scope};

use super::fields::Fields;
use super::{json, logs, trace};

/// How often what OpenTelemetry says of a collector that is away is written: it says so at each try.
const COMPLAINTS: Duration = Duration::from_secs(60);

/// Gives lines their fields and hands them on.
pub(super) struct Lines {
    /// Whether they are written to standard error, as JSON.
    json: bool,
    /// Sends them to a collector.
    logger: Option<SdkLogger>,
    complained: Mutex<Option<Instant>>,
}

impl Lines {
    pub(super) fn new(json: bool, logger: Option<SdkLogger>) -> Self {
        Self { json, logger, complained: Mutex::new(None) }
    }

    /// Returns whether this says again what was said just now.
    fn is_repeated_complaint(&self, metadata: &Metadata<'_>) -> bool {
        if !metadata.target().starts_with("opentelemetry") || *metadata.level() > Level::WARN {
            return false;
        }
        let Ok(mut complained) = self.complained.lock() else { return false };
        let is_repeated = complained.is_some_and(|it| it.elapsed() < COMPLAINTS);
        if !is_repeated {
            *complained = Some(Instant::now());
        }
        is_repeated
    }
}

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
        // Events of the crate `log` carry what they are as fields.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        if self.is_repeated_complaint(metadata) {
            return;
        }
        let mut fields = Fields::default();
        // The innermost span comes last, so its word holds where two have the same field.
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                of_span.0.iter().for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        if let Some(trace) = trace::current_id() {
            fields.set("trace_id", trace.into());
        }
        event.record(&mut fields);
        let now = SystemTime::now();
        if self.json {
            json::write(now, metadata, &fields);
        }
        if let Some(logger) = &self.logger {
            logs::emit(logger, now, metadata, fields);
        }
    }
}
