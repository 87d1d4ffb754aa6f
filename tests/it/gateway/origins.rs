//! What browsers and clients are let do beyond the gateway: calls from pages of other origins, and images
//! straight from storage.

use std::time::Duration;

use imagebatch::gateway::image::Delivery;
use imagebatch::gateway::state::Settings;
use imagebatch::storage::presign::Presigner;
use reqwest::{Client, Method, redirect};

use super::client::Asker;
use super::surroundings::serve;
use crate::harness::Harness;

#[tokio::test]
async fn pages_of_listed_origins_may_call() {
    let harness = Harness::start().await;
    let cors_origins = vec!["https://shop.example".parse().expect("an origin")];
    let (url, _gateway) = serve(harness.state(Settings { cors_origins, ..harness.settings() })).await;
    let (closed, _closed) = harness.gateway().await;
    for (url, origin, allowed) in [
        (&url, "https://shop.example", true),
        (&url, "https://shop.example.evil", false),
        (&url, "null", false),
        (&closed, "https://shop.example", false),
    ] {
        let gateway = Asker::new(url);
        let expected = allowed.then_some(origin);
        let asked = gateway.request(Method::OPTIONS, "/v1/batches").header("origin", origin);
        let asked = asked.header("access-control-request-method", "POST").send().await.expect("an answer");
        let header = |name: &str| asked.headers().get(name).map(|it| it.to_str().expect("text").to_owned());
        assert_eq!(header("access-control-allow-origin").as_deref(), expected, "{origin}");
        if allowed {
            assert!(header("access-control-allow-headers").is_some_and(|it| it.contains("idempotency-key")));
        }
        // Errors too, else a page could not say what is wrong.
        let missing = gateway.request(Method::GET, "/v1/batches/none").header("origin", origin);
        let missing = missing.send().await.expect("an answer");
        assert_eq!(missing.status(), 404);
        let allowed = missing.headers().get("access-control-allow-origin").map(|it| it.to_str().expect("text"));
        assert_eq!(allowed, expected, "{origin}");
        assert_eq!(missing.headers().get("access-control-allow-credentials"), None);
    }
}

#[tokio::test]
async fn images_may_come_straight_from_storage() {
    let harness = Harness::start().await;
    let args = harness.storage_args();
    let presigner = Presigner::new(&args, None, Duration::from_secs(600)).expect("storage arguments");
    let image_delivery = Delivery::Redirect(presigner);
    let (url, _gateway) = serve(harness.state(Settings { image_delivery, ..harness.settings() })).await;
    let bytes = b"\xff\xd8\xff\xe0 not quite a photograph";
    let sha256 = "0123456789abcdef".repeat(4);
    let key =
        harness.storage.keys().batch(&harness.namespace, "root").image(&sha256, "https://shop.example/1.jpg", "jpg");
    harness.storage.put_image(&key, "image/jpeg", bytes.to_vec().into()).await.expect("storage answers");

    let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().expect("a client");
    let sent = client.get(format!("{url}/images/{key}")).send().await.expect("the gateway answers");
    assert_eq!(sent.status(), 307);
    assert_eq!(sent.headers()["cache-control"], "private, max-age=300");
    let location = sent.headers()["location"].to_str().expect("text");
    assert!(
        location.starts_with(&harness.environment()["IMAGEBATCH_S3_ENDPOINT"])
            && location.contains("X-Amz-Expires=600"),
        "{location}"
    );
    let stored = client.get(location).send().await.expect("storage answers");
    assert_eq!(
        (stored.status().as_u16(), &stored.headers()["content-type"]),
        (200, &"image/jpeg".parse().expect("text"))
    );
    assert_eq!(stored.bytes().await.expect("a body"), &bytes[..]);
    let head = client.head(format!("{url}/images/{key}")).send().await.expect("the gateway answers");
    let location = head.headers()["location"].to_str().expect("text").to_owned();
    assert_eq!(client.head(location).send().await.expect("storage answers").status(), 200);

    // Nothing but images is signed.
    let source = harness.storage.keys().upload(&harness.namespace, "a");
    let refused = client.get(format!("{url}/images/{source}")).send().await.expect("the gateway answers");
    assert_eq!(refused.status(), 404);
    // A signature is for one object.
    let other = sent.headers()["location"].to_str().expect("text").replace("1.jpg", "2.jpg");
    assert_eq!(client.get(other).send().await.expect("storage answers").status(), 403);
}
