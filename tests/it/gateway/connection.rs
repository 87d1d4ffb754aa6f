//! Clients that go away in the middle of an upload, and more clients than there is room for.

use imagebatch::gateway::state::Settings;
use reqwest::StatusCode;

use super::client::{Answer, Asker, CSV, FORM, Wire, check_problem, csv_of, form, json, problem};
use super::surroundings::{serve, until};
use crate::harness::Harness;

/// Waits until an upload has room again: the one before it, and its cleaning up, are over.
async fn until_there_is_room(gateway: &Asker) {
    until("there is room for an upload", async || {
        gateway.upload("", "text/csv", "").await.status() != StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let harness = Harness::start().await;
    let (url, _gateway) = serve(harness.state(Settings { max_concurrent_uploads: 1, ..harness.settings() })).await;
    let gateway = Asker::new(&url);
    // What was sent is a valid CSV each time: only the end is missing.
    let in_chunks = format!("{:x}\r\n{CSV}\r\n", CSV.len());
    let form = form(&[("file", CSV.as_bytes())]);
    let length = format!("content-length: {}", form.len());
    for (framing, kind, sent) in [
        ("content-length: 1000", "text/csv", CSV.as_bytes()),
        ("transfer-encoding: chunked", "text/csv", in_chunks.as_bytes()),
        (&length, FORM, &form[..form.len() - 4]),
        ("content-length: 1000", "text/csv", b""),
    ] {
        let mut wire = Wire::upload(&url, framing, kind).await;
        wire.send(sent).await;
        problem(gateway.upload("", "text/csv", "").await, 503, "TooManyUploads").await;
        drop(wire);
        until_there_is_room(&gateway).await;
        harness.assert_nothing_is_left().await;
    }
}

#[tokio::test]
async fn parts_that_are_stored_already_go_with_the_client() {
    let harness = Harness::start().await;
    let settings = Settings { max_concurrent_uploads: 1, ..harness.settings_within(16 << 20) };
    let (url, _gateway) = serve(harness.state(settings)).await;
    let mut wire = Wire::upload(&url, "content-length: 12000000", "text/csv").await;
    wire.send(csv_of(6 << 20).as_bytes()).await;
    until("storage has parts", async || harness.unfinished_objects().await == 1).await;
    drop(wire);
    until_there_is_room(&Asker::new(&url)).await;
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn a_body_that_ends_early_is_told_so() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let chunk = format!("{:x}\r\n{CSV}\r\nno length\r\n", CSV.len());
    let mut wire = Wire::upload(&url, "transfer-encoding: chunked", "text/csv").await;
    wire.send(chunk.as_bytes()).await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 400);
    check_problem(&answer.headers, &answer.body, "/v1/batches", "BodyIncomplete");
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn one_upload_more_than_allowed_is_told_to_come_again() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let length = format!("content-length: {}", CSV.len());
    let (first, rest) = CSV.as_bytes().split_at(50);
    let mut running = Vec::new();
    for _ in 0..4 {
        let mut wire = Wire::upload(&url, &length, "text/csv").await;
        wire.send(first).await;
        running.push(wire);
    }
    let fifth = gateway.upload("", "text/csv", CSV).await;
    let seconds = fifth.headers().get("retry-after").and_then(|it| it.to_str().ok()).and_then(|it| it.parse().ok());
    assert!(seconds.is_some_and(|it: u64| it > 0), "{fifth:?}");
    problem(fifth, 503, "TooManyUploads").await;
    assert_eq!(gateway.get("/v1/batches/other").await.status(), 404, "what is no upload is answered meanwhile");
    harness.assert_nothing_is_left().await;

    let mut ids = Vec::new();
    for mut wire in running {
        wire.send(rest).await;
        let Answer { status, body, .. } = wire.answer().await;
        assert_eq!(status, 202, "{body}");
        ids.push(serde_json::from_str::<serde_json::Value>(&body).expect("JSON")["id"].clone());
    }
    let fifth = gateway.upload("", "text/csv", CSV).await;
    assert_eq!(fifth.status(), 202);
    ids.push(json(fifth).await["id"].clone());
    ids.dedup();
    assert_eq!((ids.len(), harness.objects().await.len()), (5, 5));
}
