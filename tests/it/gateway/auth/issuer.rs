//! The OIDC issuer: what it signed counts and nothing else; its keys come and go, and so does the issuer itself.

use rcgen::KeyPair;
use reqwest::Method;
use serde_json::json;

use super::surroundings::issuer::{Behaviour, Issuer};
use super::surroundings::{World, ask};
use crate::gateway::client::{Asker, problem};
use crate::gateway::surroundings::until;
use crate::harness::Running;

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

/// Starts a gateway that reads the issuer's keys every second.
async fn impatient_gateway(world: &World) -> (String, Running) {
    let arguments = world.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--oidc-keys-seconds=1"]).collect();
    world.gateway(&arguments).await
}

#[tokio::test]
async fn keys_that_the_issuer_changes_are_followed() {
    let world = World::start().await;
    let [_, tokens, _] = world.tokens().await;
    let (url, _gateway) = impatient_gateway(&world).await;
    let gateway = Asker::new(&url);
    let path = format!("/v1/batches/absent?namespace={}", world.harness.namespace);
    let status = async |token: &str| ask(&gateway, Method::GET, &path, token).await.status().as_u16();
    let claims = world.issuer.claims(&format!("shop-{}", world.harness.namespace), "imagebatch", 600);
    let (second, third) = (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
    let of_second = Issuer::token_of(&claims, "second", &second);
    assert_eq!((status(&tokens.authorized).await, status(&of_second).await), (404, 401));

    world.issuer.publish(&[("first", &world.issuer.key), ("second", &second)]);
    until("the new key counts", async || status(&of_second).await == 404).await;
    assert_eq!(status(&tokens.authorized).await, 404, "the old one is still published");
    world.issuer.publish(&[("second", &second)]);
    until("the old key counts no longer", async || status(&tokens.authorized).await == 401).await;
    assert_eq!(status(&of_second).await, 404);

    // While the issuer is away its keys stay good though they are not fresh any more, and no others are.
    world.issuer.publish(&[("second", &second), ("third", &third)]);
    world.issuer.set(Behaviour::Fails);
    let of_third = Issuer::token_of(&claims, "third", &third);
    let forged = Issuer::token_of(&claims, "second", &third);
    let before = world.issuer.times_asked();
    until("the issuer was asked in vain, twice", async || {
        let statuses = (status(&of_second).await, status(&of_third).await, status(&forged).await);
        assert_eq!(statuses, (404, 401, 401));
        world.issuer.times_asked() >= before + 2
    })
    .await;
    let (url, _late) = impatient_gateway(&world).await;
    let late = ask(&Asker::new(&url), Method::GET, &path, &of_second).await;
    problem(late, 503, "IssuerUnavailable").await;
    world.issuer.set(Behaviour::Serves);
    until("the issuer's new key counts", async || status(&of_third).await == 404).await;
}

#[tokio::test]
async fn an_issuer_that_hangs_holds_up_nobody_whose_key_is_known() {
    let world = World::start().await;
    let [_, tokens, _] = world.tokens().await;
    let (url, _gateway) = impatient_gateway(&world).await;
    let gateway = Asker::new(&url);
    let path = format!("/v1/batches/absent?namespace={}", world.harness.namespace);
    let status = async |token: &str| ask(&gateway, Method::GET, &path, token).await.status().as_u16();
    assert_eq!(status(&tokens.authorized).await, 404);
    let claims = world.issuer.claims("stranger", "imagebatch", 600);
    let unknown = Issuer::token_of(&claims, "unknown", &KeyPair::generate().expect("a key"));
    world.issuer.set(Behaviour::Hangs);
    let before = world.issuer.times_asked();
    let strangers = async {
        // Each is refused at once, but for the first that has the gateway ask the issuer.
        while world.issuer.times_asked() == before {
            assert_eq!(status(&unknown).await, 401);
        }
    };
    let known = async {
        until("the issuer is asked", async || world.issuer.times_asked() > before).await;
        assert_eq!(status(&tokens.authorized).await, 404);
    };
    tokio::select! {
        () = known => {}
        () = strangers => panic!("whose key is known waited for the issuer"),
    }
}
