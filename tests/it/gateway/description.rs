//! The OpenAPI document: current, complete, and to be read without anything from elsewhere.

use std::collections::BTreeSet;
use std::process::Stdio;

use imagebatch::api::stage::Stage;
use imagebatch::gateway::{openapi, routes};
use reqwest::Method;
use serde_json::Value;
use tokio::process::Command;

use super::client::{Asker, json};
use crate::harness::Harness;

#[test]
fn the_committed_document_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == openapi::text(), "docs/openapi.json is not current: make openapi");
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|it| references(it, found));
            }
            Value::Array(values) => values.iter().for_each(|it| references(it, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(openapi::text()).expect("JSON");
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(
        found.contains("#/components/schemas/Problem") && found.contains("#/components/schemas/Batch"),
        "{found:?}"
    );
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference}");
    }
}

#[tokio::test]
async fn every_route_is_described_and_served() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let document = json(gateway.get("/openapi.json").await).await;
    let mut ids = BTreeSet::new();
    for route in routes::routes() {
        let operation = &document["paths"][route.path.replace("{*", "{")][route.method.to_lowercase()];
        assert!(ids.insert(operation["operationId"].as_str().expect("an id").to_owned()), "{}", route.path);
        let path = route.path.replace("{id}", "none").replace("{*key}", "none");
        let method: Method = route.method.parse().expect("a method");
        let answer = gateway.request(method, &path).send().await.expect("the gateway answers");
        let status = answer.status();
        assert!(status != 405, "{} {path}", route.method);
        let described = &operation["responses"][status.as_str()];
        assert!(described.is_object(), "{} {path} answers {status}: {described}", route.method);
    }
    assert_eq!(
        document["paths"].as_object().map(|paths| paths
            .values()
            .filter_map(Value::as_object)
            .map(serde_json::Map::len)
            .sum()),
        Some(ids.len())
    );
}

#[tokio::test]
async fn nothing_is_answered_that_is_not_described() {
    let harness = Harness::start().await;
    let _controller = harness.controller().await;
    let (url, _gateway) = harness.gateway().await;
    let csv = format!("S. No.,Product Name,Input Image Urls\n1,Clock,{}\n", harness.origin.url("wall-clock.jpg"));
    let id = Asker::new(&url).submit(&csv).await;
    harness.run_job(&id, Stage::Run).await;
    harness.wait_finished(&id).await;
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/api/schemathesis");
    let run = Command::new(program).args([&url, &id]).stdin(Stdio::null()).kill_on_drop(true).output();
    let ended = run.await.expect("Python is there");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{}\n{said}", ended.status);
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let page = gateway.get("/docs").await;
    let policy = page.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{policy}");
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = page.text().await.expect("text");
    for absent in ["<script", "style=", "src=", "http://", "https://"] {
        assert!(!page.contains(absent), "{absent}");
    }
    for id in ["submitBatch", "watchBatch", "getImage"] {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert_eq!(gateway.get("/docs/style.css").await.headers()["content-type"], "text/css; charset=utf-8");
}
