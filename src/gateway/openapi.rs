//! `GET /openapi.json`: the API described by OpenAPI 3.1. Routes, rights and answers come from the table that
//! the router is made from, schemas from the types that are sent, so it says nothing that is not so.

pub(crate) mod operation;
pub(crate) mod upload;

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::auth::guard::Access;
use super::routes::routes;

/// The document as it is served.
static TEXT: LazyLock<String> = LazyLock::new(|| format!("{:#}\n", *DOCUMENT));
/// The document.
pub(crate) static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// Returns the document's text, as `docs/openapi.json` has it.
#[must_use]
pub fn text() -> &'static str {
    &TEXT
}

/// Answers `GET /openapi.json`.
pub(crate) async fn serve() -> Response {
    ([(CONTENT_TYPE, "application/json")], text()).into_response()
}

fn document() -> Value {
    let mut settings = SchemaSettings::draft2020_12().for_serialize();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in routes() {
        let mut operation = route.operation.write(&mut generator);
        // The right that is asked for, which OpenAPI has no word for.
        match route.access {
            Access::Public => {}
            Access::Verb(verb) | Access::Image(verb) => operation["x-kubernetes-verb"] = json!(verb),
        }
        let path = route.path.replace("{*", "{");
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[route.method.to_lowercase()] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ImageBatch",
            "description": "Uploads CSVs of products, and follows what becomes of their images. Every error is a \
                problem document by RFC 9457; every answer has an X-Request-Id, which a request may set. An unknown \
                or repeated parameter is an error.",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A Kubernetes token, an OIDC JWT or an API key, as the installation has it.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-imagebatch-session",
                    "description": "A browser's, set by signIn; changes also need the header X-CSRF-Token.",
                },
            },
        },
    })
}
