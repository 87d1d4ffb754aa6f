//! `GET /images/{key}`: images for browsers and CDNs, and nothing else of the bucket.

use reqwest::{Method, Response};

use super::client::{Asker, CSV, Wire, check_problem, problem};
use crate::harness::Harness;

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const BYTES: &[u8] = b"\xff\xd8\xff\xe0 not quite a photograph";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";

/// Stores an image and returns its path at the gateway.
async fn store(harness: &Harness, source: &str, content_type: &'static str) -> String {
    let key = harness.storage.keys().batch(&harness.namespace, "root").image(SHA, source, "jpg");
    harness.storage.put_image(&key, content_type, BYTES.into()).await.expect("storage answers");
    format!("/images/{key}")
}

async fn ask(gateway: &Asker, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = gateway.request(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.expect("the gateway answers")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("absent", |it| it.to_str().expect("text"))
}

#[tokio::test]
async fn images_are_served_for_caches() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let path = store(&harness, "https://shop.example/Red%20Shoe.jpg", "image/jpeg").await;
    assert!(path.ends_with(&format!("/{SHA}/Red-20Shoe.jpg")), "{path}");

    let whole = gateway.get(&path).await;
    assert_eq!(whole.status(), 200);
    let (etag, modified) = (header(&whole, "etag").to_owned(), header(&whole, "last-modified").to_owned());
    assert!(etag.len() > 2 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    assert!(modified.ends_with(" GMT"), "{modified}");
    let length = BYTES.len().to_string();
    let common = [
        ("content-type", "image/jpeg"),
        ("cache-control", IMMUTABLE),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("etag", &etag),
    ];
    let check = |response: &Response, status: u16, length: Option<&str>| {
        assert_eq!(response.status(), status);
        for (name, value) in common {
            assert_eq!(header(response, name), value, "{name} of {status}");
        }
        if let Some(length) = length {
            assert_eq!(header(response, "content-length"), length, "of {status}");
        }
    };
    check(&whole, 200, Some(&length));
    assert_eq!(whole.bytes().await.expect("a body"), BYTES);

    let head = ask(&gateway, Method::HEAD, &path, &[]).await;
    check(&head, 200, Some(&length));
    assert_eq!(head.bytes().await.expect("no body"), "");

    let weak = format!("\"other\", W/{etag}");
    for (name, value) in [
        ("if-none-match", etag.as_str()),
        ("if-none-match", &weak),
        ("if-none-match", "*"),
        ("if-modified-since", &modified),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let same = ask(&gateway, method, &path, &[(name, value)]).await;
            check(&same, 304, None);
            assert_eq!(same.bytes().await.expect("no body"), "");
        }
    }
    let other = ask(&gateway, Method::GET, &path, &[("if-none-match", "\"other\"")]).await;
    check(&other, 200, Some(&length));
    assert_eq!(other.bytes().await.expect("a body"), BYTES);
}

#[tokio::test]
async fn parts_of_images_are_served() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let path = store(&harness, "https://shop.example/1.jpg", "image/jpeg").await;
    let etag = header(&gateway.get(&path).await, "etag").to_owned();
    let size = BYTES.len();
    for (asked, range) in
        [("bytes=0-3", 0..4), ("bytes=4-", 4..size), ("bytes=-6", size - 6..size), ("bytes=2-9999", 2..size)]
    {
        for conditions in [&[("range", asked)][..], &[("range", asked), ("if-range", &etag)]] {
            let part = ask(&gateway, Method::GET, &path, conditions).await;
            assert_eq!(part.status(), 206, "{conditions:?}");
            assert_eq!(header(&part, "content-range"), format!("bytes {}-{}/{size}", range.start, range.end - 1));
            assert_eq!(header(&part, "content-length"), range.len().to_string());
            assert_eq!((header(&part, "content-type"), header(&part, "cache-control")), ("image/jpeg", IMMUTABLE));
            assert_eq!(part.bytes().await.expect("a body"), BYTES[range.clone()], "{conditions:?}");
        }
    }
    for outside in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
        let refused = ask(&gateway, Method::GET, &path, &[("range", &outside)]).await;
        assert_eq!(header(&refused, "content-range"), format!("bytes */{size}"));
        assert_ne!(header(&refused, "cache-control"), IMMUTABLE, "a failure is not for ever");
        problem(refused, 416, "RangeNotSatisfiable").await;
    }
    for conditions in [&[("range", "bytes=0-3"), ("if-range", "\"other\"")][..], &[("range", "bytes=0-1,4-5")]] {
        let whole = ask(&gateway, Method::GET, &path, conditions).await;
        assert_eq!(whole.status(), 200, "{conditions:?}");
        assert_eq!(whole.bytes().await.expect("a body"), BYTES);
    }
}

#[tokio::test]
async fn what_is_no_image_is_never_a_page() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let path = store(&harness, "https://shop.example/page.jpg", "text/html").await;
    let response = Asker::new(&url).get(&path).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "application/octet-stream");
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn nothing_but_images_is_served() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let id = gateway.submit(CSV).await;
    let keys = harness.storage.keys();
    let batch = keys.batch(&harness.namespace, "root");
    for key in [batch.manifest(), batch.shard(0), batch.part(0), batch.output_csv()] {
        harness.storage.put_new(&key, "secret".into()).await.expect("storage answers");
    }
    let image = store(&harness, "https://shop.example/1.jpg", "image/jpeg").await;
    let folder = image.trim_end_matches("/1.jpg");
    let root = batch.root();
    let missing = [
        format!("/images/{}", batch.manifest()),
        format!("/images/{}", batch.shard(0)),
        format!("/images/{}", batch.part(0)),
        format!("/images/{}", batch.output_csv()),
        format!("/images/{}", keys.upload(&harness.namespace, &id)),
        format!("{folder}/2.jpg"),
        format!("{folder}/"),
        folder.to_owned(),
        format!("/images//{root}/{SHA}/1.jpg"),
        format!("/images/other/{root}/{SHA}/1.jpg"),
        // Paths that would lead to the manifest, or out of the prefix, if anything resolved them.
        format!("{folder}/..%2F..%2Fbatch%2Fmanifest.json"),
        format!("{folder}/%2E%2E"),
        format!("{folder}/..%2f1.jpg"),
        format!("/images/{root}/../root/{SHA}/1.jpg"),
        format!("/images/{}/../{SHA}/1.jpg", root.trim_end_matches("/root")),
        format!("{folder}/../../batch/manifest.json"),
        format!("{folder}/%00"),
        format!("{folder}/%FF"),
    ];
    for path in missing {
        // Over the wire as it is: a client library would resolve the dots itself.
        let answer = Wire::open(&url, &format!("GET {path}"), &[]).await.answer().await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.body);
        check_problem(&answer.headers, &answer.body, &path, "ImageNotFound");
        assert!(!answer.headers.contains_key("cache-control"), "{path}: an image may come later");
    }
    assert_eq!(gateway.get(&image).await.status(), 200);
}
