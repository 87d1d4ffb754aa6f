//! What the document says of an upload: its options, and the kinds of bodies.

use schemars::SchemaGenerator;
use serde_json::{Value, json};

use super::operation::{Operation, integer, parameter, query, string, words};

/// Adds the options and bodies of an upload.
pub(crate) fn parameters(operation: Operation) -> Operation {
    let flag = || words(&["true", "false"]);
    operation
        .namespace()
        .with(query("dryRun", "Validate only", flag()))
        .with(query("displayName", "A name for people", string(1, 200)))
        .with(query("onInvalidRow", "What a bad row does; reject by default", words(&["reject", "skip"])))
        .with(query("onDuplicateSerialNumber", "What a repeated serial number does", words(&["warn", "reject"])))
        .with(query("quality", "Per cent of each image's own quality (50%), or 1 to 100", string(1, 4)))
        .with(query("minQuality", "Floor of a relative quality", integer(1, 100)))
        .with(query("format", "The results' format", words(&["keep", "jpeg", "png", "webp", "avif"])))
        .with(query("maxWidth", "Pixels; larger images are made smaller", integer(1, 16_384)))
        .with(query("maxHeight", "Pixels; larger images are made smaller", integer(1, 16_384)))
        .with(query("effort", "How long to look for a smaller file", words(&["small", "fast"])))
        .with(query("reportSizes", "Whether output.csv says the sizes", flag()))
        .with(query("parallelism", "Pods at the same time", integer(1, 1_000)))
        .with(query("queueName", "A LocalQueue of Kueue", string(1, 63)))
        .with(query("activeDeadlineSeconds", "The longest that it may run", integer(60, 2_592_000)))
        .with(query("deletionPolicy", "What deleting the batch does to its images", words(&["Retain", "Delete"])))
        .with(query("webhook", "A URL that is told of the end", string(1, 2_048)))
        .with(idempotency_key())
        .bodies(vec![("text/csv", csv), ("multipart/form-data", form), ("application/json", document)])
}

/// Returns the header by which a repeat finds the first request's batch.
pub(crate) fn idempotency_key() -> Value {
    parameter("header", "Idempotency-Key", "Repeats under one key make one batch", string(1, 255))
}

fn csv(_: &mut SchemaGenerator) -> Value {
    json!({ "type": "string", "description": "A CSV with the columns S. No., Product Name and Input Image Urls" })
}

fn form(_: &mut SchemaGenerator) -> Value {
    json!({
        "type": "object",
        "required": ["file"],
        "properties": { "file": { "type": "string", "description": "The CSV; options come before it" } },
    })
}

fn document(_: &mut SchemaGenerator) -> Value {
    let product = json!({
        "type": "object",
        "required": ["serialNumber", "name", "imageUrls"],
        "additionalProperties": false,
        "properties": {
            "serialNumber": { "type": ["string", "number"] },
            "name": { "type": "string" },
            "imageUrls": { "type": "array", "items": { "type": "string" } },
        },
    });
    json!({
        "type": "object",
        "description": "Products, and options as in the query",
        "required": ["products"],
        "properties": { "products": { "type": "array", "items": product } },
    })
}
