//! What surrounds every request: its id, its problem document when it failed, and its one log line.

use std::sync::Arc;
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use futures::StreamExt;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::error::{ApiError, Code};
use crate::api::labels;
use crate::metrics::InFlight;
use crate::metrics::gateway::GatewayMetrics;
use crate::telemetry::trace::{self, LOG_ONLY};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Runs a request, writes its problem document, and logs it once the body is sent.
pub(crate) async fn observe(
    State(metrics): State<Arc<GatewayMetrics>>,
    mut request: Request,
    next: Next,
) -> Response<Body> {
    let RequestId(id) = RequestId::of(&request);
    request.extensions_mut().insert(RequestId(id.clone()));
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let span = if is_probe(&route) {
        tracing::error_span!(target: LOG_ONLY, "probe", request_id = id)
    } else {
        span_of(&request, &route, &id)
    };
    let mut line = LogLine {
        span: span.clone(),
        method: request.method().clone(),
        route,
        start: Instant::now(),
        status: None,
        bytes: 0,
        cause: None,
        _in_flight: InFlight::new(&metrics.requests_in_flight),
        metrics,
    };
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

/// Probes and scrapes come every few seconds, and are of interest only when they fail.
fn is_probe(route: &str) -> bool {
    matches!(route, "/livez" | "/readyz" | "/metrics")
}

/// Returns the span of a request, which goes on with the client's trace.
fn span_of(request: &Request, route: &str, id: &str) -> Span {
    let span = tracing::error_span!(
        "request",
        otel.name = format!("{} {route}", request.method()),
        otel.kind = "server",
        otel.status_code = Empty,
        request_id = id,
        client.address = Empty,
        batch.name = Empty,
        batch.namespace = Empty,
        batch.uid = Empty,
        user = Empty,
        decision = Empty,
    );
    trace::continue_from(&span, request.headers().get(TRACEPARENT).and_then(|it| it.to_str().ok()));
    span
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

/// The id of a request, which its handler finds among the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// Returns the client's id where it can be written to a log, else a new one.
    fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID).and_then(|it| it.to_str().ok());
        let given = given.filter(|it| labels::is_request_id(it));
        Self(given.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned))
    }
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

/// One request's log line and its count, written when it is dropped, so also when the client went away.
struct LogLine {
    span: Span,
    method: Method,
    route: String,
    start: Instant,
    status: Option<StatusCode>,
    bytes: u64,
    cause: Option<String>,
    metrics: Arc<GatewayMetrics>,
    _in_flight: InFlight,
}

impl LogLine {
    fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        // Its fields are the line's, the batch's among them.
        let _in = self.span.enter();
        let (method, bytes) = (self.method.as_str(), self.bytes);
        let route = self.route.as_str();
        let duration = self.start.elapsed();
        self.metrics.count_request(route, &self.method, self.status, duration);
        if let Some(status) = self.status {
            trace::set(&self.span, "http.response.status_code", i64::from(status.as_u16()));
        }
        let duration_ms = duration.as_millis() as u64;
        let error = self.cause.as_deref();
        match self.status {
            Some(status) if status.is_server_error() => {
                tracing::warn!(method, route, status = status.as_u16(), duration_ms, bytes, error, "request failed");
                self.span.record("otel.status_code", "ERROR");
            }
            Some(_) if is_probe(route) => {}
            Some(status) => {
                tracing::info!(method, route, status = status.as_u16(), duration_ms, bytes, error, "request");
            }
            None => tracing::info!(method, route, duration_ms, "request abandoned by the client"),
        }
    }
}
