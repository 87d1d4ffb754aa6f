//! What went wrong with a request, as the client sees it: one code, one status, one problem document.
//!
//! An [`ApiError`] carries the public text and, apart from it, the cause for the log. It becomes a
//! response without a body; `request` writes the body, for these as for the errors of axum itself.

use std::sync::Arc;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

pub(crate) use crate::telemetry::chain;

/// The stable code of a problem. The words are part of the API.
#[derive(Serialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[schemars(rename = "ErrorCode")]
pub enum Code {
    /// An option is unknown, repeated or out of its bounds.
    InvalidParameter,
    /// The request cannot be understood.
    MalformedRequest,
    /// The body ended before its announced end.
    BodyIncomplete,
    /// The body came slower than the minimum.
    BodyTooSlow,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The body's type, charset or encoding is not one that is served.
    UnsupportedMediaType,
    /// The CSV has rows that cannot be worked on.
    InvalidSource,
    /// The API server found the ImageBatch invalid, or a policy of the cluster does not want it.
    InvalidBatch,
    /// The Idempotency-Key belongs to a batch of another request.
    IdempotencyKeyReused,
    /// The batch that is meant, or that the Idempotency-Key belongs to, is being deleted.
    BatchDeleting,
    /// The request says not who sends it, or not in a way that is accepted.
    Unauthenticated,
    /// Who sends the request has not the right that it needs.
    Forbidden,
    /// A change that a browser sends does not come from the gateway's own page.
    CsrfRejected,
    /// The OIDC issuer's keys cannot be read.
    IssuerUnavailable,
    /// The installation does not work in this namespace.
    NamespaceNotEnabled,
    /// There is no batch of that name.
    BatchNotFound,
    /// There is no such image.
    ImageNotFound,
    /// The batch is not finished, so there is no report yet, and nothing to retry.
    NotFinished,
    /// The batch is finished: nothing is left to cancel.
    AlreadyFinished,
    /// The batch has no images that could be fetched again.
    NothingToRetry,
    /// The batch was retried before.
    AlreadyRetried,
    /// The batch ended without a report.
    NoReport,
    /// There is nothing under this path.
    NotFound,
    /// The path does not know the method.
    MethodNotAllowed,
    /// The range lies outside of the object.
    RangeNotSatisfiable,
    /// The caller asked more than it may in a minute.
    TooManyRequests,
    /// The namespace has as many rows in flight as it may have.
    TooManyRowsInFlight,
    /// The namespace has as many ImageBatches as its quota allows.
    TooManyBatches,
    /// As many requests as can be worked on are under way.
    Overloaded,
    /// The batch has no webhook, or nothing was told to it yet.
    NoWebhook,
    /// The batch's webhook was called by hand as often as allowed.
    TooManyDeliveries,
    /// As many uploads as allowed are running.
    TooManyUploads,
    /// As many clients as allowed are told of changes.
    TooManyStreams,
    /// Object storage cannot be reached.
    StorageUnavailable,
    /// MongoDB cannot be reached.
    RecordsUnavailable,
    /// The API server cannot be reached or refuses the gateway.
    ClusterUnavailable,
    /// The gateway is not ready for requests.
    NotReady,
    /// A fault of the gateway.
    Internal,
}

impl Code {
    /// All codes, for the test that compares them with their documentation.
    pub const ALL: [Self; 38] = [
        Self::InvalidParameter,
        Self::MalformedRequest,
        Self::BodyIncomplete,
        Self::BodyTooSlow,
        Self::BodyTooLarge,
        Self::UnsupportedMediaType,
        Self::InvalidSource,
        Self::InvalidBatch,
        Self::IdempotencyKeyReused,
        Self::BatchDeleting,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::CsrfRejected,
        Self::IssuerUnavailable,
        Self::NamespaceNotEnabled,
        Self::BatchNotFound,
        Self::ImageNotFound,
        Self::NotFinished,
        Self::AlreadyFinished,
        Self::NothingToRetry,
        Self::AlreadyRetried,
        Self::NoReport,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RangeNotSatisfiable,
        Self::TooManyRequests,
        Self::TooManyRowsInFlight,
        Self::TooManyBatches,
        Self::Overloaded,
        Self::NoWebhook,
        Self::TooManyDeliveries,
        Self::TooManyUploads,
        Self::TooManyStreams,
        Self::StorageUnavailable,
        Self::RecordsUnavailable,
        Self::ClusterUnavailable,
        Self::NotReady,
        Self::Internal,
    ];

    /// Returns the HTTP status and the title, which is the same for every occurrence.
    #[must_use]
    pub fn status_and_title(self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidParameter => (StatusCode::BAD_REQUEST, "A parameter is not valid"),
            Self::MalformedRequest => (StatusCode::BAD_REQUEST, "The request is malformed"),
            Self::BodyIncomplete => (StatusCode::BAD_REQUEST, "The body is incomplete"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "The body came too slowly"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Self::UnsupportedMediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "The body's type is not supported"),
            Self::InvalidSource => (StatusCode::UNPROCESSABLE_ENTITY, "The CSV is not valid"),
            Self::InvalidBatch => (StatusCode::UNPROCESSABLE_ENTITY, "The batch is not valid"),
            Self::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "The Idempotency-Key was used before"),
            Self::BatchDeleting => (StatusCode::CONFLICT, "The batch is being deleted"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "The caller is not authenticated"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "The caller may not do this"),
            Self::CsrfRejected => (StatusCode::FORBIDDEN, "The change does not come from the page"),
            Self::IssuerUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "The issuer is not available"),
            Self::NamespaceNotEnabled => (StatusCode::NOT_FOUND, "The namespace is not enabled"),
            Self::BatchNotFound => (StatusCode::NOT_FOUND, "There is no such batch"),
            Self::ImageNotFound => (StatusCode::NOT_FOUND, "There is no such image"),
            Self::NotFinished => (StatusCode::CONFLICT, "The batch is not finished"),
            Self::AlreadyFinished => (StatusCode::CONFLICT, "The batch is finished"),
            Self::NothingToRetry => (StatusCode::CONFLICT, "There is nothing to retry"),
            Self::AlreadyRetried => (StatusCode::CONFLICT, "The batch was retried before"),
            Self::NoReport => (StatusCode::NOT_FOUND, "The batch has no report"),
            Self::NotFound => (StatusCode::NOT_FOUND, "There is nothing here"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "The method is not allowed"),
            Self::RangeNotSatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, "The range is not satisfiable"),
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Self::TooManyRowsInFlight => (StatusCode::TOO_MANY_REQUESTS, "The namespace has too many rows in flight"),
            Self::TooManyBatches => (StatusCode::TOO_MANY_REQUESTS, "The namespace has too many batches"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "The gateway is overloaded"),
            Self::NoWebhook => (StatusCode::NOT_FOUND, "There is no webhook to call"),
            Self::TooManyDeliveries => (StatusCode::TOO_MANY_REQUESTS, "The webhook was called too often"),
            Self::TooManyUploads => (StatusCode::SERVICE_UNAVAILABLE, "Too many uploads are running"),
            Self::TooManyStreams => (StatusCode::SERVICE_UNAVAILABLE, "Too many clients are told of changes"),
            Self::StorageUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "Object storage is not available"),
            Self::RecordsUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "The records are not available"),
            Self::ClusterUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "The cluster is not available"),
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "The gateway is not ready"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "The gateway failed"),
        }
    }
}

/// A request's failure: what the client reads, and the cause that only the log gets.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.detail)]
pub struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// A problem document by RFC 9457. Members beside these depend on the code.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemDocument<'a> {
    /// A URI for the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened, and how to mend it.
    detail: &'a str,
    /// The path that was asked for.
    instance: &'a str,
    code: Code,
    /// By which the logs of all roles find the request.
    request_id: &'a str,
    #[serde(flatten)]
    members: &'a Map<String, Value>,
}

/// Seconds after which a client may try again when a dependency is away.
const RETRY_SECONDS: u64 = 5;

impl ApiError {
    /// Returns an error with a sentence for the client.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let headers = match code.status_and_title().0 {
            StatusCode::SERVICE_UNAVAILABLE => vec![(RETRY_AFTER, HeaderValue::from(RETRY_SECONDS))],
            _ => Vec::new(),
        };
        Self(Box::new(Parts { code, detail: detail.into(), members: Map::new(), headers, cause: None }))
    }

    /// Adds the cause: logged, never sent.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Adds a member to the problem document.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Serialize) -> Self {
        // Only maps with keys that are no strings cannot be written; there are none here.
        self.0.members.insert(member.to_owned(), json!(value));
        self
    }

    /// Adds a header to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// Returns the HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.code.status_and_title().0
    }

    /// Returns the problem document for the request of that path and id.
    #[must_use]
    pub(crate) fn document(&self, path: &str, request_id: &str) -> Value {
        let (status, title) = self.0.code.status_and_title();
        json!(ProblemDocument {
            kind: format!("tag:imagebatch.io,2026:problem:{:?}", self.0.code),
            title,
            status: status.as_u16(),
            detail: &self.0.detail,
            instance: path,
            code: self.0.code,
            request_id,
            members: &self.0.members,
        })
    }

    /// Returns the cause on one line, for the log.
    pub(crate) fn cause(&self) -> Option<String> {
        self.0.cause.as_deref().map(|it| chain(it))
    }
}

impl IntoResponse for ApiError {
    fn into_response(mut self) -> Response {
        let mut response = self.status().into_response();
        response.headers_mut().extend(self.0.headers.drain(..));
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}
