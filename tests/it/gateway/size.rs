//! The limit of an upload's size, however the client speaks of it.

use bytes::Bytes;
use futures::stream;
use imagebatch::gateway::state::Settings;
use reqwest::Body;

use super::client::{Asker, FORM, Wire, check_problem, csv_of, form, json, problem};
use super::surroundings::serve;
use crate::harness::Harness;

const LIMIT: usize = 1 << 20;

/// Returns a body whose length is not announced.
fn chunked(bytes: &Bytes) -> Body {
    let chunks: Vec<_> = bytes.chunks(60_000).map(|it| Ok::<_, std::io::Error>(bytes.slice_ref(it))).collect();
    Body::wrap_stream(stream::iter(chunks))
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_nothing_stays() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    for size in [LIMIT + 1, 4 * LIMIT] {
        let csv = Bytes::from(csv_of(size));
        for (kind, body) in [("text/csv", csv.clone()), (FORM, form(&[("file", &csv)]))] {
            for (how, body) in [("announced", Body::from(body.clone())), ("chunked", chunked(&body))] {
                let refused = problem(gateway.upload("", kind, body).await, 413, "BodyTooLarge").await;
                let detail = refused["detail"].as_str().unwrap_or_default();
                assert!(detail.contains(&LIMIT.to_string()), "{size} {kind} {how}: {detail}");
            }
        }
    }
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn a_body_of_the_limit_is_accepted() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let csv = Bytes::from(csv_of(LIMIT));
    for (kind, body) in [("text/csv", csv.clone()), (FORM, form(&[("file", &csv)]))] {
        for body in [Body::from(body.clone()), chunked(&body)] {
            let response = gateway.upload("", kind, body).await;
            assert_eq!(response.status(), 202, "{kind}");
            assert_eq!(json(response).await["rows"], 10);
        }
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let headers = ["content-type: text/csv", "content-length: 1048577", "expect: 100-continue"];
    let answer = Wire::open(&url, "POST /v1/batches", &headers).await.answer().await;
    assert_eq!(answer.status, 413, "and no 100 before");
    check_problem(&answer.headers, &answer.body, "/v1/batches", "BodyTooLarge");
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn a_refused_client_gets_its_answer_although_it_sends_everything_first() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let settings = Settings { max_concurrent_uploads: 1, ..harness.settings_within(64 << 20) };
    let (roomy, _roomy) = serve(harness.state(settings)).await;
    // More than the sockets' buffers take, so that it arrives only where the gateway reads it.
    let csv = Bytes::from(csv_of(16 << 20));
    let form_of_two = form(&[("file", &csv), ("quality", b"70")]);
    for (url, request, kind, body, status, code) in [
        (&url, "POST /v1/batches", "text/csv", &csv, 413, "BodyTooLarge"),
        (&url, "POST /v1/batches", "application/xml", &csv, 415, "UnsupportedMediaType"),
        (&url, "POST /v1/batches?colour=red", "text/csv", &csv, 400, "InvalidParameter"),
        (&url, "POST /v1/batches?namespace=other", "text/csv", &csv, 404, "NamespaceNotEnabled"),
        (&roomy, "POST /v1/batches", FORM, &form_of_two, 400, "MalformedRequest"),
    ] {
        let headers = [format!("content-type: {kind}"), format!("content-length: {}", body.len())];
        let mut wire = Wire::open(url, request, &[&headers[0], &headers[1]]).await;
        wire.send(body).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, status, "{request} {kind}: {}", answer.body);
        check_problem(&answer.headers, &answer.body, "/v1/batches", code);
    }
    let _running = Wire::upload(&roomy, "content-length: 100", "text/csv").await;
    let headers = ["content-type: text/csv", &format!("content-length: {}", csv.len())];
    let mut wire = Wire::open(&roomy, "POST /v1/batches", &headers).await;
    wire.send(&csv).await;
    let answer = wire.answer().await;
    assert_eq!(answer.status, 503);
    check_problem(&answer.headers, &answer.body, "/v1/batches", "TooManyUploads");
    harness.assert_nothing_is_left().await;
}

#[tokio::test]
async fn a_form_without_its_boundary_is_not_held_in_memory() {
    let harness = Harness::start().await;
    let (url, _gateway) = serve(harness.state(harness.settings_within(16 << 20))).await;
    let gateway = Asker::new(&url);
    let csv = Bytes::from(csv_of(6 << 20));
    let headers = [&b"--frontier\r\nx-long: "[..], &csv].concat();
    for (kind, body) in [("multipart/form-data; boundary=another", form(&[("file", &csv)])), (FORM, headers.into())] {
        let refused = problem(gateway.upload("", kind, body).await, 400, "MalformedRequest").await;
        let detail = refused["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("bytes where its boundary should be"), "{kind}: {detail}");
    }
    harness.assert_nothing_is_left().await;
}
