//! What surrounds every request: its id, its problem document when it failed, and its one log line.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use futures::StreamExt;
use tracing::Instrument;

use super::error::{ApiError, Code};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Runs a request, writes its problem document, and logs it once the body is sent.
pub(crate) async fn observe(request: Request, next: Next) -> Response<Body> {
    let id = request_id(&request);
    let path = request.uri().path().to_owned();
    let mut line = LogLine {
        request_id: id.clone(),
        method: request.method().clone(),
        route: request.extensions().get::<MatchedPath>().map(|it| it.as_str().to_owned()),
        start: Instant::now(),
        status: None,
        bytes: 0,
        cause: None,
    };
    let span = tracing::info_span!("request", request_id = id);
    let mut response = next.run(request).instrument(span).await;
    let status = response.status();
    line.status = Some(status);
    if status.is_client_error() || status.is_server_error() {
        let error =
            response.extensions_mut().remove::<Arc<ApiError>>().unwrap_or_else(|| Arc::new(plain_error(status)));
        line.cause = error.cause();
        let document = error.document(&path, &id).to_string();
        *response.status_mut() = error.status();
        line.status = Some(response.status());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(document.len()));
        if line.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        } else {
            *response.body_mut() = Body::from(document);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response.map(|body| counted(body, line))
}

/// Returns the error of a status that no handler gave: axum's own rejections, 404, 405, a panic.
fn plain_error(status: StatusCode) -> ApiError {
    match status {
        StatusCode::NOT_FOUND => ApiError::new(Code::NotFound, "no resource has this path"),
        StatusCode::METHOD_NOT_ALLOWED => ApiError::new(Code::MethodNotAllowed, "the header Allow names the methods"),
        status if status.is_client_error() => ApiError::new(Code::MalformedRequest, "the request cannot be understood"),
        _ => ApiError::new(Code::Internal, "the gateway failed; its log says more under this request id"),
    }
}

/// Returns the client's id of a request where it can be written to a log, else a new one.
fn request_id(request: &Request) -> String {
    let sane = |id: &&str| {
        !id.is_empty() && id.len() <= 64 && id.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_.".contains(&it))
    };
    request
        .headers()
        .get(REQUEST_ID)
        .and_then(|it| it.to_str().ok())
        .filter(sane)
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

/// Returns the body with its bytes counted; the log line of a stream is written when it ends.
fn counted(body: Body, mut line: LogLine) -> Body {
    // As a stream a body would lose its size, and with it the header Content-Length.
    if let Some(size) = body.size_hint().exact() {
        line.bytes = size;
        return body;
    }
    Body::from_stream(body.into_data_stream().inspect(move |chunk| {
        if let Ok(chunk) = chunk {
            line.count(chunk.len());
        }
    }))
}

/// One request's log line, written when it is dropped, so also when the client went away.
struct LogLine {
    request_id: String,
    method: Method,
    route: Option<String>,
    start: Instant,
    status: Option<StatusCode>,
    bytes: u64,
    cause: Option<String>,
}

impl LogLine {
    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let Self { request_id, method, bytes, .. } = self;
        let route = self.route.as_deref().unwrap_or("none");
        let duration_ms = self.start.elapsed().as_millis() as u64;
        let error = self.cause.as_deref();
        match self.status {
            Some(status) if status.is_server_error() => {
                tracing::warn!(%method, route, status = status.as_u16(), duration_ms, bytes, request_id, error, "request failed");
            }
            // Probes come every few seconds, and are of interest only when they fail.
            Some(_) if matches!(route, "/livez" | "/readyz") => {}
            Some(status) => {
                tracing::info!(%method, route, status = status.as_u16(), duration_ms, bytes, request_id, error, "request");
            }
            None => tracing::info!(%method, route, duration_ms, request_id, "request abandoned by the client"),
        }
    }
}
