//! A gateway without one of the three servers that it stands on.

use std::time::Duration;

use imagebatch::gateway;
use imagebatch::gateway::auth::Auth;
use imagebatch::gateway::state::{AppState, Settings};
use imagebatch::records::{Patience, Records, RecordsArgs};
use imagebatch::storage::Storage;
use kube::api::ListParams;
use serde_json::json;

use super::client::{Asker, CSV, json, problem};
use super::surroundings::{serve, serve_router};
use crate::harness::Harness;

/// A port of loopback on which nothing listens.
const NOWHERE: &str = "127.0.0.1:1";

fn without_storage(harness: &Harness) -> AppState {
    let mut args = harness.storage_args();
    args.s3.endpoint = Some(format!("http://{NOWHERE}").parse().expect("a URL"));
    let storage = Storage::with_retries(&args, Duration::ZERO).expect("storage arguments");
    AppState::new(harness.settings(), Auth::none(), storage, harness.records.clone(), harness.client.clone())
}

async fn without_records(harness: &Harness) -> AppState {
    let args = RecordsArgs { mongodb_uri: format!("mongodb://{NOWHERE}/").into(), mongodb_database: "none".to_owned() };
    let records = Records::new(&args, Patience::Short).await.expect("a MongoDB URI");
    AppState::new(harness.settings(), Auth::none(), harness.storage.clone(), records, harness.client.clone())
}

fn without_cluster(harness: &Harness) -> AppState {
    let mut config = kube::Config::new(format!("http://{NOWHERE}").parse().expect("a URL"));
    config.default_retry = false;
    let client = kube::Client::try_from(config).expect("a client");
    AppState::new(harness.settings(), Auth::none(), harness.storage.clone(), harness.records.clone(), client)
}

#[tokio::test]
async fn an_upload_without_storage_is_to_be_repeated() {
    let harness = Harness::start().await;
    let (url, _gateway) = serve(without_storage(&harness)).await;
    let response = Asker::new(&url).upload("", "text/csv", CSV).await;
    assert!(response.headers().contains_key("retry-after"), "{response:?}");
    problem(response, 503, "StorageUnavailable").await;
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn an_upload_without_records_is_accepted() {
    let harness = Harness::start().await;
    let (url, _gateway) = serve(without_records(&harness).await).await;
    let gateway = Asker::new(&url);
    // The batch is what counts: the controller completes the record.
    let (id, response) = tokio::join!(gateway.submit(CSV), gateway.get("/v1/batches/gone"));
    let status = gateway.get(&format!("/v1/batches/{id}")).await;
    assert_eq!(status.status(), 200);
    assert!(response.headers().contains_key("retry-after"), "{response:?}");
    problem(response, 503, "RecordsUnavailable").await;
}

#[tokio::test]
async fn an_upload_without_the_cluster_leaves_nothing() {
    let harness = Harness::start().await;
    let (url, _gateway) = serve(without_cluster(&harness)).await;
    let response = Asker::new(&url).upload("", "text/csv", CSV).await;
    assert!(response.headers().contains_key("retry-after"), "{response:?}");
    problem(response, 503, "ClusterUnavailable").await;
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn an_upload_that_the_cluster_refuses_leaves_nothing() {
    let harness = Harness::start().await;
    let namespaces = vec![harness.namespace.clone(), "it-nowhere".to_owned()];
    let (url, _gateway) = serve(harness.state(Settings { namespaces, ..harness.settings() })).await;
    let response = Asker::new(&url).upload("?namespace=it-nowhere", "text/csv", CSV).await;
    let refused = problem(response, 503, "ClusterUnavailable").await;
    assert!(!refused.to_string().contains("namespaces \\\""), "the cause is for the log: {refused:#}");
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn readiness_names_what_is_missing() {
    let harness = Harness::start().await;
    let states = [
        (harness.state(harness.settings()), None),
        (without_storage(&harness), Some("storage")),
        (without_records(&harness).await, Some("mongodb")),
        (without_cluster(&harness), Some("apiServer")),
    ];
    for (state, missing) in states {
        let (url, _gateway) = serve_router(gateway::ops_router(state)).await;
        let ops = Asker::new(&url);
        let mut checks = json!({ "storage": "ok", "mongodb": "ok", "apiServer": "ok" });
        let response = ops.get("/readyz").await;
        match missing {
            None => {
                assert_eq!(response.status(), 200);
                assert_eq!(json(response).await, json!({ "ready": true, "checks": checks }));
            }
            Some(missing) => {
                checks[missing] = json!("failed");
                assert_eq!(problem(response, 503, "NotReady").await["checks"], checks);
            }
        }
        assert_eq!(ops.get("/livez").await.status(), 200, "alive, whatever else is missing");
        problem(ops.get("/v1/batches/any").await, 404, "NotFound").await;
    }
    let batches = harness.batches().list(&ListParams::default()).await.expect("the API server answers");
    assert_eq!(batches.items.len(), 0, "probes make nothing");
}
