//! `GET /images/{key}`: stored images, for browsers or as a CDN's origin. Nothing else of the bucket
//! is served.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::Response;

use super::error::{ApiError, Code};
use super::object;
use super::state::AppState;

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// For images that not everybody may see: no cache on the way keeps them.
const PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Answers `GET` and `HEAD /images/{key}`.
pub(crate) async fn image(
    State(state): State<AppState>,
    key: Result<Path<String>, PathRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let missing = || ApiError::new(Code::ImageNotFound, "no image has this key");
    let Path(key) = key.map_err(|_| missing())?;
    if !state.storage.keys().is_image(&key) {
        return Err(missing());
    }
    let mut response = object::respond(&state.storage, &key, &method, &headers).await?.ok_or_else(missing)?;
    let headers = response.headers_mut();
    // Whatever wrote the object: a browser shall never take it for a page.
    if !headers.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"image/")) {
        headers.insert(CONTENT_TYPE, BINARY);
    }
    headers.insert(CACHE_CONTROL, if state.auth.private_images() { PRIVATE } else { IMMUTABLE });
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    Ok(response)
}
