//! Logs by OpenTelemetry: each line is also a record for a collector, where one is named for logs.
//!
//! Records wait in a queue of 2,048 (`OTEL_BLRP_MAX_QUEUE_SIZE`); what does not fit is dropped, so a collector that is
//! slow or away holds up nothing. What a process says last is sent before it ends.

use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::Context;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry_otlp::{LogExporter, WithHttpConfig};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use serde_json::Value;
use tracing::{Level, Metadata};

use super::fields::Fields;
use super::otlp::{self, END, SCOPE, Signal};

/// The thread on which the HTTP client of the exporter works. The library lets nothing be made of what its own threads
/// say, but does not know of this one.
const SENDER: &str = "reqwest-internal-sync-runtime";

static PROVIDER: OnceLock<SdkLoggerProvider> = OnceLock::new();

/// Returns what sends lines to a collector, or `None` where nobody asks for it.
pub(super) fn logger(role: &str) -> anyhow::Result<Option<SdkLogger>> {
    if !otlp::is_asked_for(Signal::Logs)? {
        return Ok(None);
    }
    let exporter = LogExporter::builder().with_http().with_http_client(otlp::client(Signal::Logs)?);
    let exporter = exporter.build().context("failed to set up the sending of logs")?;
    let provider =
        SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(otlp::resource(role)).build();
    let logger = provider.logger(SCOPE);
    PROVIDER.set(provider).map_err(|_| anyhow::anyhow!("logs are set up already"))?;
    Ok(Some(logger))
}

/// Queues a line. The trace and span that it belongs to are those of this thread at the moment.
pub(super) fn emit(logger: &SdkLogger, now: SystemTime, metadata: &Metadata<'_>, fields: Fields) {
    // What the sending itself says would beget the next sending, for ever.
    if std::thread::current().name() == Some(SENDER) {
        return;
    }
    let mut record = logger.create_log_record();
    record.set_timestamp(now);
    let severity = severity(*metadata.level());
    record.set_severity_number(severity);
    record.set_severity_text(severity.name());
    record.set_target(metadata.target().to_owned());
    for (name, value) in fields.0 {
        match name {
            "message" => record.set_body(any(value)),
            // The record has it by itself.
            "trace_id" => {}
            _ => record.add_attribute(name, any(value)),
        }
    }
    logger.emit(record);
}

fn severity(level: Level) -> Severity {
    match level {
        Level::TRACE => Severity::Trace,
        Level::DEBUG => Severity::Debug,
        Level::INFO => Severity::Info,
        Level::WARN => Severity::Warn,
        Level::ERROR => Severity::Error,
    }
}

fn any(value: Value) -> AnyValue {
    match value {
        Value::String(text) => text.into(),
        Value::Bool(flag) => flag.into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => integer.into(),
            (None, Some(float)) => float.into(),
            (None, None) => number.to_string().into(),
        },
        other => other.to_string().into(),
    }
}

/// Sends the lines that are left, for a short time at most.
pub(super) fn end() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(END)
    {
        tracing::warn!(%error, "failed to send the last lines");
    }
}
