//! Private images: for those alone who may get the batches of their namespace, and kept by no cache on the way.

use std::time::Duration;

use imagebatch::gateway::image::Delivery;
use imagebatch::gateway::state::Settings;
use imagebatch::storage::presign::Presigner;
use reqwest::{Client, Method, Response, redirect};

use super::surroundings::World;
use crate::gateway::caching::image_cache;
use crate::gateway::client::problem;

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const BYTES: &[u8] = b"\xff\xd8\xff\xe0 not quite a photograph";
const PRIVATE: &str = "private, max-age=31536000, immutable";

/// Stores an image of the first namespace and returns its path.
async fn store(world: &World) -> String {
    let storage = &world.harness.storage;
    let key = storage.keys().batch(&world.harness.namespace, "root").image(SHA, "https://shop.example/1.jpg", "jpg");
    storage.put_image(&key, "image/jpeg", BYTES.into()).await.expect("storage answers");
    format!("/images/{key}")
}

async fn ask(method: Method, url: &str, token: Option<&str>, range: Option<&str>) -> Response {
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().expect("a client");
    let mut request = client.request(method, url);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if let Some(range) = range {
        request = request.header("range", range);
    }
    request.send().await.expect("an answer")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("absent", |it| it.to_str().expect("text"))
}

#[tokio::test]
async fn private_images_are_kept_by_no_cache() {
    let world = World::start().await;
    let [_, _, tokens] = world.tokens().await;
    let (gateway, _gateway) = world.private_gateway().await;
    let nginx = image_cache(&gateway).await;
    let path = store(&world).await;
    // nginx cuts ranges of what it keeps, and passes on the whole of what it does not.
    for (url, ranged) in [(format!("{gateway}{path}"), 206), (format!("{}{path}", nginx.url), 200)] {
        // The same several times: what somebody was given is not given to the next.
        for _ in 0..2 {
            for (method, range, status) in
                [(Method::GET, None, 200), (Method::GET, Some("bytes=0-3"), ranged), (Method::HEAD, None, 200)]
            {
                let given = ask(method.clone(), &url, Some(&tokens.authorized), range).await;
                assert_eq!(given.status(), status, "{method} {range:?}");
                assert_eq!(header(&given, "cache-control"), PRIVATE);
                assert!(["absent", "MISS"].contains(&header(&given, "x-cache-status")), "{:?}", given.headers());
                let expected = match (method, status) {
                    (Method::HEAD, _) => &BYTES[..0],
                    (_, 206) => &BYTES[..4],
                    _ => BYTES,
                };
                assert_eq!(given.bytes().await.expect("a body"), expected);
            }
            problem(ask(Method::GET, &url, None, None).await, 401, "Unauthenticated").await;
            problem(ask(Method::GET, &url, Some(&tokens.unauthorized), None).await, 404, "ImageNotFound").await;
        }
    }
}

#[tokio::test]
async fn private_images_come_from_storage_as_private_ones() {
    let world = World::start().await;
    let [_, _, tokens] = world.tokens().await;
    let args = world.harness.storage_args();
    let presigner = Presigner::new(&args, None, Duration::from_secs(600)).expect("storage arguments");
    let settings = Settings { image_delivery: Delivery::Redirect(presigner), ..world.harness.settings() };
    let (gateway, _gateway) = world.private_gateway_with(settings).await;
    let url = format!("{gateway}{}", store(&world).await);
    problem(ask(Method::GET, &url, None, None).await, 401, "Unauthenticated").await;
    problem(ask(Method::GET, &url, Some(&tokens.unauthorized), None).await, 404, "ImageNotFound").await;
    for (method, body) in [(Method::GET, BYTES), (Method::HEAD, &[])] {
        let sent = ask(method.clone(), &url, Some(&tokens.authorized), None).await;
        assert_eq!(sent.status(), 307);
        assert_eq!(header(&sent, "cache-control"), "private, max-age=300");
        let stored = ask(method, header(&sent, "location"), None, None).await;
        assert_eq!((stored.status().as_u16(), header(&stored, "cache-control")), (200, PRIVATE));
        assert_eq!(stored.bytes().await.expect("a body"), body);
        // It cannot be made a public one: the signature is of the whole URL.
        let changed =
            header(&sent, "location").replace("response-cache-control=private", "response-cache-control=public");
        assert_ne!(changed, header(&sent, "location"));
        assert_eq!(ask(Method::GET, &changed, None, None).await.status(), 403);
    }
}
