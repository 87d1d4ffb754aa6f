//! A stored object as a response: streamed, with validators, conditional requests and one range.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    LAST_MODIFIED, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use object_store::{Attribute, GetOptions, GetRange, GetResult, ObjectMeta};

use super::error::{ApiError, Code};
use crate::storage::Storage;

/// Longest time until storage begins its answer.
const OPEN: Duration = Duration::from_secs(10);

/// Answers a GET or HEAD with an object, or returns `None` where there is none.
pub(crate) async fn respond(
    storage: &Storage,
    key: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Option<Response>, ApiError> {
    let mut options = GetOptions::default();
    let mut status = StatusCode::OK;
    let conditions = [&IF_NONE_MATCH, &IF_MODIFIED_SINCE, &RANGE];
    if method == Method::HEAD || conditions.iter().any(|it| headers.contains_key(*it)) {
        // What the answer is depends on the object's validators and size: ask for these first.
        let Some(found) = open(storage, key, GetOptions { head: true, ..GetOptions::default() }).await? else {
            return Ok(None);
        };
        let validators = Validators::of(&found.meta);
        if validators.match_condition(headers) {
            return Ok(Some(with_headers(StatusCode::NOT_MODIFIED, &found, Body::empty())));
        }
        if method == Method::HEAD {
            let mut response = with_headers(StatusCode::OK, &found, Body::empty());
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(found.meta.size));
            return Ok(Some(response));
        }
        if let Some(range) = validators.range(headers, found.meta.size)? {
            options.range = Some(GetRange::Bounded(range));
            status = StatusCode::PARTIAL_CONTENT;
        }
    }
    let Some(found) = open(storage, key, options).await? else { return Ok(None) };
    let (range, size) = (found.range.clone(), found.meta.size);
    let mut response = with_headers(status, &found, Body::empty());
    *response.body_mut() = Body::from_stream(found.into_stream());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let value = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        insert(response.headers_mut(), CONTENT_RANGE, &value);
    }
    Ok(Some(response))
}

/// Opens an object, or returns `None` where there is none.
pub(crate) async fn open(storage: &Storage, key: &str, options: GetOptions) -> Result<Option<GetResult>, ApiError> {
    let unavailable = || ApiError::new(Code::StorageUnavailable, "object storage could not be read; try again");
    match tokio::time::timeout(OPEN, storage.open(key, options)).await {
        Ok(Ok(found)) => Ok(Some(found)),
        Ok(Err(error)) if error.is_not_found() => Ok(None),
        Ok(Err(error)) => Err(unavailable().caused_by(error)),
        Err(elapsed) => Err(unavailable().caused_by(elapsed)),
    }
}

fn with_headers(status: StatusCode, found: &GetResult, body: Body) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    let validators = Validators::of(&found.meta);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(headers, LAST_MODIFIED, &validators.last_modified);
    if let Some(etag) = &validators.etag {
        insert(headers, ETAG, etag);
    }
    if let Some(content_type) = found.attributes.get(&Attribute::ContentType) {
        insert(headers, CONTENT_TYPE, content_type.as_ref());
    }
    response
}

/// Inserts a header unless storage gave a value that no header can have.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// What tells one version of an object from another.
struct Validators {
    etag: Option<String>,
    last_modified: String,
}

impl Validators {
    fn of(meta: &ObjectMeta) -> Self {
        let quoted = |etag: &String| if etag.ends_with('"') { etag.clone() } else { format!("\"{etag}\"") };
        Self {
            etag: meta.e_tag.as_ref().map(quoted),
            last_modified: meta.last_modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        }
    }

    /// Returns whether the client has this version already.
    fn match_condition(&self, headers: &HeaderMap) -> bool {
        if let Some(asked) = text(headers, &IF_NONE_MATCH) {
            return asked.trim() == "*" || self.etag.as_deref().is_some_and(|it| match_etag(asked, it));
        }
        // Dates come back as they were sent, so no date has to be parsed.
        text(headers, &IF_MODIFIED_SINCE).is_some_and(|it| it == self.last_modified)
    }

    /// Returns the bytes that the client asks for, where it asks for one valid range of this version.
    fn range(&self, headers: &HeaderMap, size: u64) -> Result<Option<std::ops::Range<u64>>, ApiError> {
        let Some(asked) = text(headers, &RANGE) else { return Ok(None) };
        let same = text(headers, &IF_RANGE)
            .is_none_or(|it| self.etag.as_deref() == Some(it) && !it.starts_with("W/") || it == self.last_modified);
        if !same {
            return Ok(None);
        }
        match parse_range(asked, size) {
            Asked::Everything => Ok(None),
            Asked::Part(range) => Ok(Some(range)),
            Asked::Outside => {
                let error = ApiError::new(Code::RangeNotSatisfiable, format!("the object has {size} bytes"));
                let value = HeaderValue::try_from(format!("bytes */{size}"));
                Err(match value {
                    Ok(value) => error.header(CONTENT_RANGE, value),
                    Err(_) => error,
                })
            }
        }
    }
}

/// Returns whether a header `If-None-Match` names this version.
pub(crate) fn match_etag(asked: &str, etag: &str) -> bool {
    fn strong(tag: &str) -> &str {
        tag.trim().trim_start_matches("W/")
    }
    asked.trim() == "*" || asked.split(',').any(|it| strong(it) == strong(etag))
}

/// What a header `Range` asks for.
#[derive(Debug, PartialEq)]
enum Asked {
    /// Not one range of bytes: the whole object is a correct answer.
    Everything,
    Part(std::ops::Range<u64>),
    Outside,
}

fn parse_range(value: &str, size: u64) -> Asked {
    let Some((first, last)) = value.strip_prefix("bytes=").and_then(|it| it.trim().split_once('-')) else {
        return Asked::Everything;
    };
    let digits = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Asked::Everything;
    }
    // Digits alone, so a number that cannot be parsed is empty or larger than any object.
    let number = |it: &str| it.parse::<u64>().unwrap_or(u64::MAX);
    let range = match (first, last) {
        ("", "") => return Asked::Everything,
        ("", suffix) => size.saturating_sub(number(suffix))..if number(suffix) == 0 { 0 } else { size },
        (first, "") => number(first)..size,
        (first, last) if number(first) > number(last) => return Asked::Everything,
        (first, last) => number(first)..number(last).saturating_add(1).min(size),
    };
    if range.is_empty() { Asked::Outside } else { Asked::Part(range) }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|it| it.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood() {
        let cases = [
            ("bytes=0-3", Asked::Part(0..4)),
            ("bytes=4-", Asked::Part(4..10)),
            ("bytes=-4", Asked::Part(6..10)),
            ("bytes=-40", Asked::Part(0..10)),
            ("bytes=8-99999999999999999999999", Asked::Part(8..10)),
            ("bytes=10-", Asked::Outside),
            ("bytes=-0", Asked::Outside),
            ("bytes=5-4", Asked::Everything),
            ("bytes=0-1,4-5", Asked::Everything),
            ("bytes=-", Asked::Everything),
            ("rows=0-1", Asked::Everything),
        ];
        for (value, expected) in cases {
            assert_eq!(parse_range(value, 10), expected, "{value}");
        }
    }
}
