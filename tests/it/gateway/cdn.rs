//! The examples of `docs/cdn.md`, run by nginx in front of the bucket and of a gateway: what they let through, what
//! they say of it, and that they ask once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Uri;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use imagebatch::gateway;
use imagebatch::storage::presign::Presigner;
use reqwest::{Client, Method};

use super::nginx::Nginx;
use super::surroundings::serve_router;
use crate::harness::{Harness, Running};

const PAGE: &str = include_str!("../../../docs/cdn.md");
const BATCH: &str = "0193f4a2-7c1e-7c39-9d43-0d8a54a9f6f1";
const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const BYTES: &[u8] = b"\xff\xd8\xff\xe0 not quite a photograph";

/// How often each path and query was asked for.
type Asked = Arc<Mutex<HashMap<String, usize>>>;

/// Returns the example below that heading, complete, with words of it replaced by those of the test.
fn example(heading: &str, replaced: &[(&str, &str)], folder: &str, address: &str) -> String {
    let (_, section) = PAGE.split_once(&format!("## {heading}\n")).expect("the heading");
    let (_, block) = section.split_once("```nginx tested-by=tests/it/gateway/cdn.rs\n").expect("the example");
    let (block, _) = block.split_once("```").expect("its end");
    let cache = format!("{folder}/images");
    let listen = format!("listen {address};");
    let own = [("/var/cache/nginx", cache.as_str()), ("listen 443 ssl;", listen.as_str())];
    let block = own.iter().chain(replaced).fold(block.to_owned(), |block, (word, by)| {
        assert!(block.contains(word), "{word} is no longer in the example");
        block.replace(word, by)
    });
    let scratch = ["client_body", "proxy", "fastcgi", "scgi", "uwsgi"];
    let scratch = scratch.map(|it| format!("{it}_temp_path {folder}/{it};")).join("\n");
    format!("pid {folder}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{scratch}\n{block}}}\n")
}

async fn count(State(asked): State<Asked>, request: Request, next: Next) -> Response {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    *asked.lock().expect("not poisoned").entry(path).or_default() += 1;
    next.run(request).await
}

/// Serves a bucket as one that nginx may read: the answers are storage's own.
async fn bucket(harness: &Harness, asked: &Asked) -> (String, Running) {
    let args = harness.storage_args();
    let presigner = Presigner::new(&args, None, Duration::from_secs(60)).expect("storage arguments");
    let answer = move |uri: Uri, method: Method| {
        let presigner = presigner.clone();
        async move {
            let url = presigner.url(method.clone(), uri.path().trim_start_matches('/'), None).await.expect("a URL");
            let client = Client::builder().no_proxy().build().expect("a client");
            let answer = client.request(method, url).send().await.expect("storage answers");
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            *response.headers_mut() = answer.headers().clone();
            *response.body_mut() = Body::from(answer.bytes().await.expect("a body"));
            response
        }
    };
    serve_router(Router::new().fallback(answer).layer(from_fn_with_state(Arc::clone(asked), count))).await
}

/// Stores an image, a report and an upload; returns the keys.
async fn store(harness: &Harness) -> [String; 3] {
    let keys = harness.storage.keys();
    let batch = keys.batch(&harness.namespace, BATCH);
    let image = batch.image(SHA, "https://shop.example/Red%20Shoe.jpg", "jpg");
    harness.storage.put_image(&image, "image/jpeg", BYTES.into()).await.expect("storage answers");
    let others = [batch.output_csv(), keys.upload(&harness.namespace, "upload")];
    for key in &others {
        harness.storage.put_new(key, "secret".into()).await.expect("storage answers");
    }
    let [report, upload] = others;
    [image, report, upload]
}

/// Asserts that an image is served once from behind, however it is asked for, and nothing else at all.
async fn check(nginx: &Nginx, image: &str, closed: &[String], asked: &Asked) {
    let client = Client::builder().no_proxy().build().expect("a client");
    let ask = async |method: Method, path: &str, headers: &[(&str, &str)]| {
        let request = client.request(method, format!("{}{path}", nginx.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.expect("nginx answers")
    };
    let length = BYTES.len().to_string();
    // Whoever comes first may ask for something else than the image by a parameter.
    let first = ask(Method::HEAD, &format!("{image}?acl"), &[]).await;
    assert_eq!((first.status().as_u16(), first.headers()["content-length"].to_str().ok()), (200, Some(&length[..])));
    let etag = first.headers()["etag"].to_str().expect("text").to_owned();
    for (path, headers, status, bytes) in [
        (image.to_owned(), &[][..], 200, BYTES),
        (format!("{image}?v=2"), &[], 200, BYTES),
        (image.to_owned(), &[("range", "bytes=0-3")], 206, &BYTES[..4]),
        (image.to_owned(), &[("if-none-match", etag.as_str())], 304, &[]),
    ] {
        let answer = ask(Method::GET, &path, headers).await;
        assert_eq!(answer.status(), status, "{path} {headers:?}");
        let header = |name: &str| answer.headers().get(name).map_or("absent", |it| it.to_str().expect("text"));
        assert_eq!(header("cache-control"), "public, max-age=31536000, immutable", "{headers:?}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{headers:?}");
        assert_eq!(header("etag"), etag, "{headers:?}");
        if status != 304 {
            assert_eq!(header("content-type"), "image/jpeg", "{headers:?}");
        }
        assert_eq!(answer.bytes().await.expect("a body"), bytes, "{headers:?}");
    }
    for path in closed {
        assert_eq!(ask(Method::GET, path, &[]).await.status(), 404, "{path}");
    }
    let images = asked
        .lock()
        .expect("not poisoned")
        .iter()
        .filter(|(path, _)| path.contains(SHA))
        .map(|(_, it)| *it)
        .sum::<usize>();
    assert_eq!(images, 1, "requests for the image that reached the other side");
    let posted = ask(Method::POST, image, &[]).await.status();
    assert!(posted == 403 || posted == 405, "{posted}");
}

#[tokio::test]
async fn the_example_in_front_of_the_bucket_serves_images_alone() {
    let harness = Harness::start().await;
    let asked = Asked::default();
    let (bucket, _bucket) = bucket(&harness, &asked).await;
    let [image, report, upload] = store(&harness).await;
    let prefix = format!("^/{}/", harness.environment()["IMAGEBATCH_STORAGE_PREFIX"]);
    let host = "https://images.s3.eu-central-1.amazonaws.com";
    let replaced = [("^/imagebatch/", prefix.as_str()), (host, &bucket)];
    let nginx =
        Nginx::start(|folder, address| example("A CDN in front of the bucket", &replaced, folder, address)).await;
    let folder = image.rsplit_once('/').expect("a folder").0;
    let closed = [report, upload, format!("{folder}/"), String::new(), "?list-type=2".to_owned()];
    check(&nginx, &format!("/{image}"), &closed.map(|it| format!("/{it}")), &asked).await;
    assert_eq!(*asked.lock().expect("not poisoned"), HashMap::from([(format!("/{image}"), 1)]));
}

#[tokio::test]
async fn the_example_in_front_of_the_gateway_serves_images_alone() {
    let harness = Harness::start().await;
    let asked = Asked::default();
    let router = gateway::router(harness.state(harness.settings()));
    let (gateway, _gateway) = serve_router(router.layer(from_fn_with_state(Arc::clone(&asked), count))).await;
    let [image, report, upload] = store(&harness).await;
    let replaced = [("http://imagebatch-gateway.imagebatch.svc:8080", gateway.as_str())];
    let heading = "A CDN in front of the gateway";
    let nginx = Nginx::start(|folder, address| example(heading, &replaced, folder, address)).await;
    let closed = [format!("images/{report}"), format!("images/{upload}"), "v1/batches".to_owned(), String::new()];
    check(&nginx, &format!("/images/{image}"), &closed.map(|it| format!("/{it}")), &asked).await;
}
