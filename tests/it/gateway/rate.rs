//! How much one caller may ask of a gateway.

use std::net::SocketAddr;

use axum::extract::connect_info::ConnectInfo;
use imagebatch::gateway;
use imagebatch::gateway::rate::RateArgs;
use imagebatch::gateway::state::Settings;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use reqwest::{Method, Response, StatusCode};

use super::client::{Asker, CSV, json, problem};
use super::surroundings::{serve, serve_router, until};
use crate::harness::{Harness, Running};

/// Serves as if each request came from loopback by way of a trusted proxy.
async fn serve_behind_proxy(harness: &Harness, rate: RateArgs) -> (String, Running) {
    let state = harness.state(Settings { rate, ..harness.settings() });
    let peer = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 4711)));
    serve_router(gateway::router(state).layer(axum::Extension(peer))).await
}

async fn ask(url: &str, path: &str, client: &str) -> Response {
    let request = reqwest::Client::new().get(format!("{url}{path}")).header("x-forwarded-for", client);
    request.send().await.expect("the gateway answers")
}

#[tokio::test]
async fn a_caller_that_asks_too_much_is_told_when_to_come_back() {
    let harness = Harness::start().await;
    let trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    let rate = RateArgs { requests_per_minute: 3, trusted_proxies, ..RateArgs::default() };
    let (url, _gateway) = serve_behind_proxy(&harness, rate).await;
    for left in ["2", "1", "0"] {
        let answer = ask(&url, "/v1/batches/none", "192.0.2.1").await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(answer.headers()["ratelimit-policy"], "\"requests\";q=3;w=60");
        let limit = answer.headers()["ratelimit"].to_str().expect("text").to_owned();
        assert!(limit.starts_with(&format!("\"requests\";r={left};t=")), "{limit}");
    }
    let refused = ask(&url, "/v1/batches/none", "192.0.2.1").await;
    let wait: u64 = refused.headers()["retry-after"].to_str().expect("text").parse().expect("seconds");
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(refused.headers()["ratelimit"], format!("\"requests\";r=0;t={wait}").as_str());
    problem(refused, 429, "TooManyRequests").await;
    // Others are not held up, nor are images, which a CDN asks for.
    assert_eq!(ask(&url, "/v1/batches/none", "192.0.2.2").await.status(), StatusCode::NOT_FOUND);
    let image = ask(&url, "/images/none", "192.0.2.1").await;
    assert_eq!(image.status(), StatusCode::NOT_FOUND);
    assert!(!image.headers().contains_key("ratelimit"));
}

#[tokio::test]
async fn uploads_are_counted_apart() {
    let harness = Harness::start().await;
    let rate = RateArgs { uploads_per_minute: 1, ..RateArgs::default() };
    let (url, _gateway) = serve_behind_proxy(&harness, rate).await;
    let gateway = Asker::new(&url);
    let first = gateway.upload("", "text/csv", CSV).await;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    assert_eq!(first.headers()["ratelimit-policy"], "\"uploads\";q=1;w=60");
    problem(gateway.upload("", "text/csv", CSV).await, 429, "TooManyRequests").await;
    assert_eq!(ask(&url, "/v1/batches/none", "").await.status(), StatusCode::NOT_FOUND, "it is no upload");
}

#[tokio::test]
async fn a_namespace_has_so_many_rows_in_flight() {
    let harness = Harness::start().await;
    // Each upload has two rows.
    let rate = RateArgs { max_rows_in_flight: 3, ..RateArgs::default() };
    let (url, _gateway) = serve(harness.state(Settings { rate, ..harness.settings() })).await;
    let gateway = Asker::new(&url);
    let upload = async |key: &'static str| {
        let request = gateway.request(Method::POST, "/v1/batches").header("content-type", "text/csv");
        request.header("idempotency-key", key).body(CSV).send().await.expect("the gateway answers")
    };
    let first = json(upload("first").await).await["id"].clone();
    // Until the watch has told of the first, others are accepted.
    until("the namespace is full", async || gateway.upload("", "text/csv", CSV).await.status() == 429).await;
    let refused = upload("second").await;
    assert_eq!(refused.headers()["retry-after"], "30");
    let refused = problem(refused, 429, "TooManyRowsInFlight").await;
    assert_eq!((refused["maxRowsInFlight"].as_u64(), refused["rowsInFlight"].as_u64() >= Some(2)), (Some(3), true));
    let kept = harness.objects().await.len();
    let repeated = upload("first").await;
    assert_eq!(repeated.status(), StatusCode::ACCEPTED, "a repeat adds nothing");
    assert_eq!(json(repeated).await["id"], first);
    assert_eq!(gateway.upload("?dryRun=true", "text/csv", CSV).await.status(), StatusCode::OK);
    assert_eq!(harness.objects().await.len(), kept, "what is refused leaves nothing");

    for batch in harness.batches().list(&ListParams::default()).await.expect("the API server answers") {
        harness.batches().delete(&batch.name_any(), &DeleteParams::default()).await.expect("it can be deleted");
    }
    until("there is room again", async || upload("third").await.status() == StatusCode::ACCEPTED).await;
}

#[tokio::test]
async fn one_address_is_bounded_whoever_it_says_it_is() {
    let harness = Harness::start().await;
    let rate = RateArgs { requests_per_minute_and_address: 2, ..RateArgs::default() };
    // Nobody is trusted: the header changes nothing.
    let (url, _gateway) = serve_behind_proxy(&harness, rate).await;
    for client in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(ask(&url, "/v1/batches/none", client).await.status(), StatusCode::NOT_FOUND);
    }
    problem(ask(&url, "/nowhere", "192.0.2.3").await, 429, "TooManyRequests").await;
}
