//! A log line as a JSON object without any nesting, where `jq` and log stores find each field.

use std::io::Write;
use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use tracing::Metadata;

use super::fields::Fields;

/// Writes a line to standard error.
pub(super) fn write(now: SystemTime, metadata: &Metadata<'_>, fields: &Fields) {
    if let Ok(mut text) = serde_json::to_vec(&Line { now, metadata, fields }) {
        text.push(b'\n');
        // There is nowhere to say that a line cannot be written.
        let _ = std::io::stderr().lock().write_all(&text);
    }
}

struct Line<'a> {
    now: SystemTime,
    metadata: &'a Metadata<'a>,
    fields: &'a Fields,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        // A clock that is centuries off is no reason to say nothing.
        let now = Timestamp::try_from(self.now).unwrap_or_default();
        line.serialize_entry("timestamp", &format_args!("{now:.6}"))?;
        line.serialize_entry("level", self.metadata.level().as_str())?;
        line.serialize_entry("target", self.metadata.target())?;
        for (name, value) in &self.fields.0 {
            line.serialize_entry(name, value)?;
        }
        line.end()
    }
}
