//! The chart's cache of images: nginx with the chart's configuration in front of a gateway. What it keeps is not
//! asked for again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use imagebatch::gateway;
use reqwest::{Client, Response};

use super::nginx::Nginx;
use super::surroundings::serve_router;
use crate::harness::Harness;

const CONFIG: &str = include_str!("../../../charts/imagebatch/files/image-cache.conf");

/// Starts the chart's cache in front of a gateway.
pub(super) async fn image_cache(gateway: &str) -> Nginx {
    Nginx::start(|folder, address| {
        let config = CONFIG.replace("SCRATCH", folder).replace("MEGABYTES", "16");
        config.replace("LISTEN", address).replace("UPSTREAM", gateway)
    })
    .await
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("absent", |it| it.to_str().expect("text"))
}

#[tokio::test]
async fn a_second_request_does_not_reach_storage() {
    let harness = Harness::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let count = from_fn(move |request: Request, next: Next| {
        counter.fetch_add(1, Ordering::Relaxed);
        next.run(request)
    });
    let state = harness.state(harness.settings());
    let (gateway, _gateway) = serve_router(gateway::router(state).layer(count)).await;
    let client = Client::builder().no_proxy().build().expect("a client");
    let nginx = image_cache(&gateway).await;
    let health = client.get(format!("{}/healthz", nginx.url)).send().await.expect("nginx answers");
    assert_eq!(health.status(), 204);
    let image: Vec<u8> = (0..300_000_u32).map(|it| (it % 251) as u8).collect();
    let keys = harness.storage.keys().batch(&harness.namespace, "root");
    for (round, first_range) in [(1, None), (2, Some("bytes=10-19"))] {
        asked.store(0, Ordering::Relaxed);
        let sha256 = format!("{round:064}");
        let key = keys.image(&sha256, "https://shop.example/1.jpg", "jpg");
        harness.storage.put_image(&key, "image/jpeg", image.clone().into()).await.expect("storage answers");
        let ask = async |query: &str, range: Option<&str>| {
            let mut request = client.get(format!("{}/images/{key}{query}", nginx.url));
            if let Some(range) = range {
                request = request.header("range", range);
            }
            request.send().await.expect("nginx answers")
        };
        let first = ask("", first_range).await;
        assert_eq!(header(&first, "x-cache-status"), "MISS");
        let etag = header(&first, "etag").to_owned();
        let body = first.bytes().await.expect("a body");
        assert!(body == if first_range.is_some() { &image[10..20] } else { &image[..] }, "{} bytes", body.len());

        for (query, range, status, expected) in [
            ("", None, 200, &image[..]),
            ("?v=2", None, 200, &image[..]),
            ("", Some("bytes=0-99"), 206, &image[..100]),
            ("", Some("bytes=-50"), 206, &image[image.len() - 50..]),
        ] {
            let again = ask(query, range).await;
            assert_eq!(
                (again.status().as_u16(), header(&again, "x-cache-status")),
                (status, "HIT"),
                "{query} {range:?}"
            );
            assert_eq!(header(&again, "content-type"), "image/jpeg");
            assert_eq!(header(&again, "x-content-type-options"), "nosniff");
            assert_eq!(header(&again, "cache-control"), "public, max-age=31536000, immutable");
            assert_eq!(header(&again, "etag"), etag);
            assert!(again.bytes().await.expect("a body") == expected, "{query} {range:?}");
        }
        let outside = ask("", Some("bytes=900000-")).await;
        assert_eq!(outside.status(), 416);
        assert_eq!(asked.load(Ordering::Relaxed), 1, "requests for one image");
    }

    // Nothing else goes through, and what the gateway refuses is not kept.
    for path in ["/v1/batches", "/", "/openapi.json"] {
        let closed = client.get(format!("{}{path}", nginx.url)).send().await.expect("nginx answers");
        assert_eq!(closed.status(), 404, "{path}");
    }
    let missing = keys.image(&"f".repeat(64), "https://shop.example/2.jpg", "jpg");
    for _ in 0..2 {
        let missing = client.get(format!("{}/images/{missing}", nginx.url)).send().await.expect("nginx answers");
        assert_eq!((missing.status().as_u16(), header(&missing, "x-cache-status")), (404, "MISS"));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}
