//! A user of one namespace neither sees nor changes anything of another; keys of the issuer and of the Secret
//! come and go.

use kube::ResourceExt;
use kube::api::{Api, ListParams};
use rcgen::KeyPair;
use reqwest::{Method, Response};
use serde_json::json;

use imagebatch::api::image_batch::ImageBatch;

use super::surroundings::{Issuer, World};
use crate::gateway::client::{Asker, CSV, FORM, form, json, problem};
use crate::gateway::surroundings::until;

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

async fn ask(gateway: &Asker, method: Method, path: &str, token: &str) -> Response {
    gateway.request(method, path).bearer_auth(token).send().await.expect("the gateway answers")
}

#[tokio::test]
async fn nothing_of_another_namespace_is_seen_or_changed() {
    let world = World::start().await;
    let tokens = world.tokens().await;
    let (url, _gateway) = world.private_gateway().await;
    let gateway = Asker::new(&url);
    let (a, b) = (world.harness.namespace.clone(), world.other.clone());
    let batches: Api<ImageBatch> = Api::namespaced(world.harness.client.clone(), &b);
    let spec = json!({ "source": { "products": [
        { "serialNumber": "1", "name": "Bowl", "imageUrls": ["https://shop.example/1.jpg"] },
    ] } });
    let theirs = ImageBatch::new("theirs", serde_json::from_value(spec).expect("a spec"));
    batches.create(&kube::api::PostParams::default(), &theirs).await.expect("it is accepted");
    let image = world.harness.storage.keys().batch(&b, "root").image(SHA, "https://shop.example/1.jpg", "jpg");
    let put = world.harness.storage.put_image(&image, "image/jpeg", b"bytes".as_slice().into()).await;
    put.expect("storage answers");

    for tokens in &tokens {
        let token = &tokens.authorized;
        let of_b = |below: &str| format!("/v1/batches/theirs{below}?namespace={b}");
        for (method, below) in [
            (Method::GET, ""),
            (Method::GET, "/output.csv"),
            (Method::GET, "/failed.csv"),
            (Method::GET, "/deliveries"),
            (Method::POST, "/retry"),
            (Method::POST, "/cancel"),
            (Method::POST, "/deliveries/redeliver"),
            (Method::POST, "/deliveries/test"),
        ] {
            let there = problem(ask(&gateway, method.clone(), &of_b(below), token).await, 404, "BatchNotFound").await;
            let absent = of_b(below).replace("theirs", "absent");
            let absent = problem(ask(&gateway, method, &absent, token).await, 404, "BatchNotFound").await;
            let there = there["detail"].as_str().expect("text").replace("theirs", "absent");
            assert_eq!(there, absent["detail"], "what exists is told as what does not");
        }
        problem(ask(&gateway, Method::GET, &format!("/images/{image}"), token).await, 404, "ImageNotFound").await;
        let upload = |path: String, kind: &'static str, body: Vec<u8>| {
            gateway.request(Method::POST, &path).bearer_auth(token).header("content-type", kind).body(body).send()
        };
        let refused = upload(format!("/v1/batches?namespace={b}"), "text/csv", CSV.into()).await;
        problem(refused.expect("an answer"), 403, "Forbidden").await;
        // The namespace that a form names is decided about as well.
        let parts = form(&[("namespace", b.as_bytes()), ("file", CSV.as_bytes())]);
        let refused = upload("/v1/batches".to_owned(), FORM, parts.to_vec()).await;
        problem(refused.expect("an answer"), 403, "Forbidden").await;
        let nowhere = upload("/v1/batches?namespace=nowhere".to_owned(), "text/csv", CSV.into()).await;
        problem(nowhere.expect("an answer"), 403, "Forbidden").await;

        let accepted = upload(format!("/v1/batches?namespace={a}"), "text/csv", CSV.into()).await.expect("an answer");
        assert_eq!(accepted.status(), 202);
        let location = accepted.headers()["location"].to_str().expect("text").to_owned();
        let shown = ask(&gateway, Method::GET, &location, token).await;
        assert_eq!(json(shown).await["namespace"], a);
    }
    let left = batches.list(&ListParams::default()).await.expect("the API server answers").items;
    assert_eq!(left.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["theirs"]);
    assert!(left[0].spec.cancel.is_none());
}

#[tokio::test]
async fn a_revoked_key_stops_working() {
    let world = World::start().await;
    let [_, _, tokens] = world.tokens().await;
    let (url, _gateway) = world.private_gateway().await;
    let gateway = Asker::new(&url);
    // It goes to the key's namespace.
    problem(ask(&gateway, Method::GET, "/v1/batches/absent", &tokens.authorized).await, 404, "BatchNotFound").await;
    world.revoke().await;
    until("the key is refused", async || {
        ask(&gateway, Method::GET, "/v1/batches/absent", &tokens.authorized).await.status() == 401
    })
    .await;
}

#[tokio::test]
async fn only_the_issuers_signature_counts() {
    let world = World::start().await;
    let [_, tokens, _] = world.tokens().await;
    let (url, _gateway) = world.private_gateway().await;
    let gateway = Asker::new(&url);
    let (issuer, path) = (&world.issuer, format!("/v1/batches/absent?namespace={}", world.harness.namespace));
    let claims = issuer.claims(&format!("shop-{}", world.harness.namespace), "imagebatch", 600);
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        issuer.token(&claims)
    };
    let foreign = KeyPair::generate().expect("a key");
    let header = jsonwebtoken::Header { kid: Some("first".to_owned()), ..jsonwebtoken::Header::default() };
    let symmetric = jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(b"first"));
    let (_, signed) = tokens.authorized.split_once('.').expect("three parts");
    let refused = [
        ("another's signature", Issuer::token_of(&claims, "first", &foreign)),
        ("an unknown key", Issuer::token_of(&claims, "second", &foreign)),
        ("a symmetric algorithm", symmetric.expect("a token")),
        // {"alg":"none"}
        ("no algorithm", format!("eyJhbGciOiJub25lIn0.{signed}")),
        ("another issuer", changed("iss", json!("https://issuer.example"))),
        ("no end", changed("exp", serde_json::Value::Null)),
        ("the future", changed("nbf", json!(4_000_000_000_i64))),
        ("no user", changed("sub", json!(""))),
    ];
    for (what, token) in refused {
        let response = ask(&gateway, Method::GET, &path, &token).await;
        assert_eq!(response.status(), 401, "{what}");
    }
    problem(ask(&gateway, Method::GET, &path, &tokens.authorized).await, 404, "BatchNotFound").await;
}
