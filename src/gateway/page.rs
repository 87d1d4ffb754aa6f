//! `GET /` and `GET /assets/{name}`: the web page, which is part of the executable.
//!
//! Its files are bundled from `web/src` into `web/dist`. They are compressed once, and all but the page itself
//! have names that change with their content, so that browsers keep them for good and still never show an old
//! one.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::error::{ApiError, Code};

const INDEX: &str = include_str!("../../web/dist/index.html");
/// Names as the page's source has them, their type and content.
const ASSETS: [(&str, &str, HeaderValue, &str); 3] = [
    ("app", "js", HeaderValue::from_static("text/javascript; charset=utf-8"), include_str!("../../web/dist/app.js")),
    ("style", "css", HeaderValue::from_static("text/css; charset=utf-8"), include_str!("../../web/dist/style.css")),
    ("icon", "svg", HeaderValue::from_static("image/svg+xml"), include_str!("../../web/dist/icon.svg")),
];
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Scripts and styles are the page's own files. Only images come from elsewhere: those before compression from
/// the hosts that the CSV names, those after it from the CDN.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' https: http:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
     trusted-types 'none'",
);
/// Those hosts do not learn where their images are looked at.
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Digits of a hash in a name.
const DIGITS: usize = 16;

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

/// Answers `GET` and `HEAD /`.
pub(crate) async fn index(headers: HeaderMap) -> Response {
    let mut response = PAGE.index.respond(&headers);
    let added = response.headers_mut();
    added.insert(CACHE_CONTROL, REVALIDATE);
    added.insert(CONTENT_SECURITY_POLICY, POLICY);
    added.insert(REFERRER_POLICY, NO_REFERRER);
    response
}

/// Answers `GET` and `HEAD /assets/{name}`.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let missing = || ApiError::new(Code::NotFound, "the page has no such file; load the page again");
    let file = PAGE.assets.get(&name).ok_or_else(missing)?;
    let mut response = file.respond(&headers);
    response.headers_mut().insert(CACHE_CONTROL, IMMUTABLE);
    Ok(response)
}

struct Page {
    index: File,
    assets: BTreeMap<String, File>,
}

impl Page {
    fn new() -> Self {
        let mut index = INDEX.to_owned();
        let mut assets = BTreeMap::new();
        for (stem, extension, content_type, content) in ASSETS {
            let file = File::new(content_type, content);
            let name = format!("{stem}.{}.{extension}", file.hash);
            index = index.replace(&format!("/assets/{stem}.{extension}"), &format!("/assets/{name}"));
            assets.insert(name, file);
        }
        Self { index: File::new(HTML, &index), assets }
    }
}

/// A file, plain and compressed.
struct File {
    content_type: HeaderValue,
    hash: String,
    plain: Bytes,
    gzip: Bytes,
}

impl File {
    fn new(content_type: HeaderValue, content: &str) -> Self {
        let mut hash = hex::encode(Sha256::digest(content));
        hash.truncate(DIGITS);
        Self { content_type, hash, plain: content.to_owned().into(), gzip: gzip(content.as_bytes()).into() }
    }

    fn respond(&self, headers: &HeaderMap) -> Response {
        let compressed = accepts_gzip(headers);
        // Bytes that differ have validators that differ.
        let etag = if compressed { format!("\"{}-gzip\"", self.hash) } else { format!("\"{}\"", self.hash) };
        let known = headers.get(IF_NONE_MATCH).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let mut response = if known.split(',').any(|it| it.trim().trim_start_matches("W/") == etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else if compressed {
            ([(CONTENT_ENCODING, HeaderValue::from_static("gzip"))], self.gzip.clone()).into_response()
        } else {
            self.plain.clone().into_response()
        };
        let added = response.headers_mut();
        added.insert(CONTENT_TYPE, self.content_type.clone());
        added.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        added.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(value) = HeaderValue::try_from(etag) {
            added.insert(ETAG, value);
        }
        response
    }
}

/// Returns whether a client takes gzip: it names it, and not with a weight of 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|it| it.to_str().ok());
    accepted.flat_map(|it| it.split(',')).any(|coding| {
        let mut pieces = coding.split(';').map(str::trim);
        let named = pieces.next().is_some_and(|it| it.eq_ignore_ascii_case("gzip"));
        let refused = |weight: &str| weight.strip_prefix("q=").and_then(|it| it.parse().ok()) == Some(0.0_f32);
        named && !pieces.any(refused)
    })
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).and_then(|()| encoder.finish()).expect("memory takes every byte")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        let cases = [
            (Some("gzip, deflate, br, zstd"), true),
            (Some("br;q=1.0, GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("br"), false),
            (None, false),
        ];
        for (value, expected) in cases {
            let headers = value.map(|it| (ACCEPT_ENCODING, HeaderValue::from_static(it)));
            assert_eq!(accepts_gzip(&headers.into_iter().collect()), expected, "{value:?}");
        }
    }
}
