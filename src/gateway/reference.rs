//! `GET /docs`: the OpenAPI document to be read, as one page without scripts.

use std::fmt::Write;
use std::sync::LazyLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::openapi;

static PAGE: LazyLock<String> = LazyLock::new(|| write(&openapi::DOCUMENT).unwrap_or_default());
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers `GET /docs`.
pub(crate) async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, PAGE.as_str()).into_response()
}

/// Answers `GET /docs/style.css`.
pub(crate) async fn style() -> Response {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (headers, include_str!("reference/style.css")).into_response()
}

fn write(document: &Value) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    write!(
        page,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>ImageBatch API</title><link rel=\"stylesheet\" \
         href=\"/docs/style.css\"></head><body><header><h1>ImageBatch API</h1><p>{}</p><p><a \
         href=\"/openapi.json\">openapi.json</a></p></header><main>",
        text(&document["info"]["description"])
    )?;
    for (path, methods) in members(&document["paths"]) {
        for (method, operation) in members(methods) {
            write_operation(&mut page, path, method, operation)?;
        }
    }
    page.push_str("<h2>Schemas</h2>");
    for (name, schema) in members(&document["components"]["schemas"]) {
        let schema = escape(&format!("{schema:#}"));
        let name = escape(name);
        write!(page, "<details id=\"{name}\"><summary>{name}</summary><pre>{schema}</pre></details>")?;
    }
    page.push_str("</main></body></html>\n");
    Ok(page)
}

fn write_operation(page: &mut String, path: &str, method: &str, operation: &Value) -> std::fmt::Result {
    let id = text(&operation["operationId"]);
    write!(
        page,
        "<section id=\"{id}\"><h2><code>{} {}</code></h2><p>{}</p><p>{}</p>",
        method.to_uppercase(),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"])
    )?;
    if let Some(verb) = operation["x-kubernetes-verb"].as_str() {
        write!(page, "<p>Right: <code>{}</code> on <code>imagebatches</code></p>", escape(verb))?;
    }
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !parameters.is_empty() {
        page.push_str("<table><thead><tr><th>Parameter</th><th>In</th><th>Meaning</th></tr></thead><tbody>");
        for it in parameters {
            let (name, place, meaning) = (text(&it["name"]), text(&it["in"]), text(&it["description"]));
            write!(page, "<tr><td><code>{name}</code></td><td>{place}</td><td>{meaning}</td></tr>")?;
        }
        page.push_str("</tbody></table>");
    }
    page.push_str("<table><thead><tr><th>Answer</th><th>Meaning</th><th>Body</th></tr></thead><tbody>");
    for (status, answer) in members(&operation["responses"]) {
        let bodies: Vec<String> = members(&answer["content"]).map(|(kind, it)| body(kind, &it["schema"])).collect();
        let (status, meaning) = (escape(status), text(&answer["description"]));
        write!(page, "<tr><td>{status}</td><td>{meaning}</td><td>{}</td></tr>", bodies.join(", "))?;
    }
    page.push_str("</tbody></table></section>");
    Ok(())
}

/// Returns a body's type, with a link to its schema where that has a name.
fn body(kind: &str, schema: &Value) -> String {
    match schema["$ref"].as_str().and_then(|it| it.rsplit('/').next()) {
        Some(name) => format!("{} <a href=\"#{}\">{}</a>", escape(kind), escape(name), escape(name)),
        None => escape(kind),
    }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
