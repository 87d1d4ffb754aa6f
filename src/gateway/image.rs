//! `GET /images/{key}`: stored images, for browsers or as a CDN's origin. Nothing else of the bucket
//! is served. The bytes go through the gateway, or the client is sent to storage by a URL that is signed for it.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::error::{ApiError, Code};
use super::object;
use super::state::AppState;
use crate::storage::StorageError;
use crate::storage::presign::Presigner;

const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// For images that not everybody may see: no cache on the way keeps them.
const PRIVATE: &str = "private, max-age=31536000, immutable";
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// How stored images are handed out.
#[derive(Debug, Clone, Default)]
pub enum Delivery {
    /// The gateway streams them.
    #[default]
    Stream,
    /// The gateway redirects to storage, by URLs that are valid for a while.
    Redirect(Presigner),
}

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
    let is_private = state.auth.private_images();
    if let Delivery::Redirect(presigner) = &state.settings.image_delivery {
        // Objects are stored as public ones.
        return redirect(presigner, method, &key, is_private.then_some(PRIVATE)).await;
    }
    let mut response = object::respond(&state.storage, &key, &method, &headers).await?.ok_or_else(missing)?;
    let headers = response.headers_mut();
    // Whatever wrote the object: a browser shall never take it for a page.
    if !headers.get(CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"image/")) {
        headers.insert(CONTENT_TYPE, BINARY);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(if is_private { PRIVATE } else { IMMUTABLE }));
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    Ok(response)
}

/// Sends the client to storage. A cache may repeat that for half of the time that the URL is valid.
async fn redirect(
    presigner: &Presigner,
    method: Method,
    key: &str,
    cache_control: Option<&str>,
) -> Result<Response, ApiError> {
    let failed = |error: StorageError| {
        ApiError::new(Code::StorageUnavailable, "no URL of the image could be signed").caused_by(error)
    };
    let url = presigner.url(method, key, cache_control).await.map_err(failed)?;
    let cached = format!("private, max-age={}", presigner.valid().as_secs() / 2);
    Ok((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, url.to_string()), (CACHE_CONTROL, cached)]).into_response())
}
