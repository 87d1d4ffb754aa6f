//! `GET /` and its assets: small, kept by browsers as long as they are right, and under a policy that runs nothing
//! but its own files.

use std::collections::BTreeSet;

use reqwest::{Method, Response};

use super::client::Asker;
use crate::harness::Harness;

/// Most bytes of the whole page as it is sent.
const MAX_BYTES: usize = 100 * 1024;

async fn ask(gateway: &Asker, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = gateway.request(method, path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("the gateway answers")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("absent", |it| it.to_str().expect("text"))
}

/// Returns the values of `src` and `href` in a page.
fn links(page: &str) -> BTreeSet<&str> {
    let of = |attribute| page.split(attribute).skip(1).filter_map(|it| it.split('"').next());
    of(" src=\"").chain(of(" href=\"")).collect()
}

#[tokio::test]
async fn the_page_is_small_and_cached() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let gateway = Asker::new(&url);
    let page = gateway.get("/").await.text().await.expect("text");
    let assets: Vec<&str> = links(&page).into_iter().filter(|it| it.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");

    let mut sent = 0;
    for path in assets.iter().copied().chain(["/"]) {
        let plain = gateway.get(path).await;
        let (plain_tag, kind) = (header(&plain, "etag").to_owned(), header(&plain, "content-type").to_owned());
        assert_eq!((plain.status().as_u16(), header(&plain, "content-encoding")), (200, "absent"), "{path}");
        let plain = plain.bytes().await.expect("a body");

        let compressed = ask(&gateway, Method::GET, path, &[("accept-encoding", "gzip, br")]).await;
        assert_eq!(header(&compressed, "content-encoding"), "gzip", "{path}");
        assert_eq!(header(&compressed, "vary"), "accept-encoding", "{path}");
        assert_eq!(header(&compressed, "content-type"), kind, "{path}");
        assert_eq!(header(&compressed, "x-content-type-options"), "nosniff", "{path}");
        let caching = if path == "/" { "no-cache" } else { "public, max-age=31536000, immutable" };
        assert_eq!(header(&compressed, "cache-control"), caching, "{path}");
        let etag = header(&compressed, "etag").to_owned();
        assert_ne!(etag, plain_tag, "{path}");
        let bytes = compressed.bytes().await.expect("a body");
        sent += bytes.len();
        let mut decoded = Vec::new();
        std::io::copy(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut decoded).expect("gzip");
        assert_eq!(decoded, plain, "{path}");

        let known = [("accept-encoding", "gzip"), ("if-none-match", etag.as_str())];
        let same = ask(&gateway, Method::GET, path, &known).await;
        assert_eq!((same.status().as_u16(), header(&same, "etag")), (304, etag.as_str()), "{path}");
        assert_eq!(same.bytes().await.expect("no body"), "");
        let head = ask(&gateway, Method::HEAD, path, &[]).await;
        assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, plain.len().to_string().as_str()));
    }
    assert!(sent < MAX_BYTES, "{sent} bytes");
    assert_eq!(gateway.get("/assets/app.js").await.status(), 404);
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_files() {
    let harness = Harness::start().await;
    let (url, _gateway) = harness.gateway().await;
    let response = Asker::new(&url).get("/").await;
    let policy = header(&response, "content-security-policy").to_owned();
    assert_eq!(header(&response, "referrer-policy"), "no-referrer");
    let directives: Vec<&str> = policy.split(';').map(str::trim).collect();
    for directive in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
        assert!(directives.contains(&directive), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // Only images may come from elsewhere.
    let foreign: Vec<&&str> = directives.iter().filter(|it| it.contains("http")).collect();
    assert_eq!(foreign, [&"img-src 'self' https: http:"]);

    let page = response.text().await.expect("text");
    assert_eq!((page.matches("<script").count(), page.matches("<script type=\"module\" src=\"/").count()), (1, 1));
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="), "{page}");
    let outside: Vec<&str> = links(&page).into_iter().filter(|it| !it.starts_with(['/', '#'])).collect();
    assert_eq!(outside, [""; 0]);
}
