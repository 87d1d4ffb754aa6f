//! Signing in to the web page: a cookie that the script never sees, and a word against other sites.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::surroundings::World;
use crate::gateway::client::{Asker, CSV, json, problem};

async fn send(request: RequestBuilder) -> Response {
    request.send().await.expect("the gateway answers")
}

fn sign_in(gateway: &Asker, token: &str) -> RequestBuilder {
    gateway.request(Method::POST, "/v1/session").json(&json!({ "token": token }))
}

#[tokio::test]
async fn a_session_does_what_its_token_may() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let (url, _gateway) = world.private_gateway().await;
    let gateway = Asker::new(&url);
    let nobody = json(gateway.get("/v1/session").await).await;
    assert_eq!(nobody, json!({ "authentication": ["kubernetes", "oidc", "api-key"], "signedIn": false }));

    for tokens in &tokens {
        let response = send(sign_in(&gateway, &tokens.authorized)).await;
        assert_eq!(response.status(), 201, "{}", tokens.mode);
        assert_eq!(response.headers()["cache-control"], "no-store");
        let set = response.headers()["set-cookie"].to_str().expect("text").to_owned();
        assert!(set.starts_with("__Host-imagebatch-session="), "{set}");
        for attribute in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Strict"] {
            assert!(set.contains(attribute), "{set}");
        }
        assert!(!set.contains(&tokens.authorized));
        let cookie = set.split(';').next().expect("a cookie").to_owned();
        let csrf = json(response).await["csrfToken"].as_str().expect("a word").to_owned();
        let with = |method: Method, path: &str| gateway.request(method, path).header("cookie", &cookie);

        let session = json(send(with(Method::GET, "/v1/session")).await).await;
        assert_eq!((&session["signedIn"], &session["csrfToken"]), (&json!(true), &json!(csrf)));
        assert_eq!(session["namespace"], world.harness.namespace);
        let upload = || {
            let path = format!("/v1/batches?namespace={}", world.harness.namespace);
            with(Method::POST, &path).header("content-type", "text/csv").body(CSV)
        };
        problem(send(upload()).await, 403, "CsrfRejected").await;
        problem(send(upload().header("x-csrf-token", "x".repeat(64))).await, 403, "CsrfRejected").await;
        let accepted = send(upload().header("x-csrf-token", &csrf)).await;
        assert_eq!(accepted.status(), 202);
        let location = accepted.headers()["location"].to_str().expect("text").to_owned();
        assert_eq!(send(with(Method::GET, &location)).await.status(), 200);
        problem(send(with(Method::DELETE, "/v1/session")).await, 403, "CsrfRejected").await;
        let out = send(with(Method::DELETE, "/v1/session").header("x-csrf-token", &csrf)).await;
        assert_eq!(out.status(), 204);
        assert!(out.headers()["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
        // A header decides alone: what it is refused, the cookie does not get.
        let both = with(Method::GET, &location).bearer_auth("wrong");
        problem(send(both).await, 401, "Unauthenticated").await;
    }
}

#[tokio::test]
async fn what_is_no_sign_in_is_refused() {
    let world = World::start().await;
    let [tokens, ..] = world.tokens().await;
    let (url, _gateway) = world.private_gateway().await;
    let gateway = Asker::new(&url);
    problem(send(sign_in(&gateway, &tokens.expired)).await, 401, "Unauthenticated").await;
    problem(send(sign_in(&gateway, "")).await, 401, "Unauthenticated").await;
    let foreign = sign_in(&gateway, &tokens.authorized).header("sec-fetch-site", "cross-site");
    problem(send(foreign).await, 403, "CsrfRejected").await;
    let post = |kind: &str, body: String| {
        send(gateway.request(Method::POST, "/v1/session").header("content-type", kind).body(body))
    };
    problem(post("text/plain", json!({ "token": tokens.authorized }).to_string()).await, 415, "UnsupportedMediaType")
        .await;
    problem(post("application/json", "{}".to_owned()).await, 400, "InvalidParameter").await;
    let other = json!({ "token": tokens.authorized, "user": "admin" }).to_string();
    problem(post("application/json", other).await, 400, "InvalidParameter").await;
    problem(post("application/json", "x".repeat(32 * 1024)).await, 413, "BodyTooLarge").await;

    let forged = gateway.request(Method::GET, "/v1/session").header("cookie", "__Host-imagebatch-session=AAAA");
    let response = send(forged).await;
    assert!(response.headers()["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
    assert_eq!(json(response).await["signedIn"], Value::Bool(false));
}
