//! What holds for every request: its id, and a problem document whatever the failure.

use reqwest::{Method, Response};

use super::client::{Asker, Wire, check_problem, problem};
use crate::harness::Harness;

async fn ask(gateway: &Asker, id: &[u8]) -> Response {
    let value = reqwest::header::HeaderValue::from_bytes(id).expect("a value");
    let request = gateway.request(Method::GET, "/v1/batches/none").header("x-request-id", value);
    request.send().await.expect("the gateway answers")
}

fn id_of(response: &Response) -> String {
    response.headers()["x-request-id"].to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let longest = "a".repeat(64);
    for id in ["7", "Trace-1.2_3", &longest] {
        let response = ask(&gateway, id.as_bytes()).await;
        assert_eq!(id_of(&response), id);
        problem(response, 404, "BatchNotFound").await;
    }
    let too_long = "a".repeat(65);
    let mut made = Vec::new();
    for id in [&b""[..], b"two words", b"a\"b", b"{}", "\u{fc}".as_bytes(), too_long.as_bytes()] {
        let response = ask(&gateway, id).await;
        made.push(id_of(&response));
        problem(response, 404, "BatchNotFound").await;
    }
    made.push(id_of(&gateway.get("/v1/batches/none").await));
    assert!(made.iter().all(|it| uuid::Uuid::parse_str(it).is_ok()), "{made:?}");
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 7, "no two are the same");
}

#[tokio::test]
async fn batches_that_do_not_exist_are_not_found() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let long = "a".repeat(300);
    for id in ["none", "UPPER", "a%2Fb", "..%2Fdefault", "-", "%C3%BC", &long] {
        for below in ["", "/output.csv", "/failed.csv"] {
            problem(gateway.get(&format!("/v1/batches/{id}{below}")).await, 404, "BatchNotFound").await;
        }
    }
    problem(gateway.get("/v1/batches/%FF").await, 400, "MalformedRequest").await;
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_are_problems_too() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let paths = ["/v1", "/v1/batches/", "/v1/batches/a/input.csv", "/v2/batches", "/images", "/images/", "/readyz"];
    for path in paths {
        problem(gateway.get(path).await, 404, "NotFound").await;
    }
    for (method, path, allowed) in [
        (Method::PUT, "/v1/batches", "POST,GET,HEAD"),
        (Method::PUT, "/v1/batches/any", "GET,HEAD,DELETE"),
        (Method::POST, "/v1/batches/any/output.csv", "GET,HEAD"),
        (Method::PUT, "/images/any", "GET,HEAD"),
    ] {
        let response = gateway.request(method.clone(), path).send().await.expect("the gateway answers");
        assert_eq!(response.headers()["allow"], allowed, "{method} {path}");
        problem(response, 405, "MethodNotAllowed").await;
    }
    let head = gateway.request(Method::HEAD, "/v1/batches/any").send().await.expect("the gateway answers");
    assert_eq!(
        (head.status().as_u16(), head.headers()["content-type"].as_bytes()),
        (404, &b"application/problem+json"[..])
    );
    // A client library would take the dots out of the path.
    let answer = Wire::open(&url, "GET /v1/batches/../batches", &[]).await.answer().await;
    assert_eq!(answer.status, 404);
    check_problem(&answer.headers, &answer.body, "/v1/batches/../batches", "NotFound");
}
