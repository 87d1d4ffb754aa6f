//! An upload's body as a stream of CSV bytes: a CSV, the part `file` of a form, or JSON, plain or
//! compressed, within limits of size and time whatever the client does.
//!
//! ```text
//! body -> limits (bytes, time) -> encoding (gzip, zstd; bytes again) -> CSV | form | JSON -> CSV bytes
//! ```

mod encoding;
mod form;
mod json;
mod limits;

use std::time::Duration;

use axum::extract::Request;
use axum::extract::multipart::MultipartError;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use super::error::{ApiError, Code};
use super::options::SubmitOptions;
use encoding::Encoding;
use limits::{IDLE, MIN_BYTES_PER_SECOND};

/// The CSV's bytes as they arrive.
pub(crate) type CsvStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// What a form may have besides the CSV: boundaries, the parts' headers and the options.
const FORM_OVERHEAD: u64 = 64 * 1024;
/// What the form's parser may hold: it keeps everything until it finds the boundary that it looks for.
const FORM_HELD: u64 = 1024 * 1024;
/// Most bytes of a JSON body, which is held in memory.
const MAX_JSON_BYTES: u64 = 4 * 1024 * 1024;
/// How long the rest of a refused body is read. A connection that is closed on unread bytes is
/// reset, and the client would lose the answer.
const DRAIN: Duration = Duration::from_secs(5);

/// Why the body is no complete CSV.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is larger than the limit of {0} bytes")]
    TooLarge(u64),
    #[error("the body came slower than {MIN_BYTES_PER_SECOND} bytes a second, or paused for {} seconds", IDLE.as_secs())]
    TooSlow,
    #[error("the gateway is shutting down; nothing of the upload is kept, send it again")]
    Ending,
    #[error("the body broke off")]
    Incomplete(#[source] axum::Error),
    #[error("the body cannot be decompressed: {0}")]
    Compression(String),
    #[error("the form cannot be read")]
    Form(#[source] MultipartError),
    #[error("the form has a part {0:?} behind the part \"file\"; options come before it")]
    UnexpectedPart(String),
    #[error("the form has no part \"file\"")]
    MissingPart,
    #[error("the form has more than {FORM_HELD} bytes where its boundary should be")]
    MissingBoundary,
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        let code = match &error {
            BodyError::TooLarge(_) => Code::BodyTooLarge,
            BodyError::TooSlow => Code::BodyTooSlow,
            BodyError::Ending => Code::NotReady,
            BodyError::Incomplete(_) => Code::BodyIncomplete,
            BodyError::Compression(_)
            | BodyError::Form(_)
            | BodyError::UnexpectedPart(_)
            | BodyError::MissingPart
            | BodyError::MissingBoundary => Code::MalformedRequest,
        };
        let detail = match &error {
            BodyError::Form(cause) => format!("{error}: {}", cause.body_text()),
            _ => error.to_string(),
        };
        Self::new(code, detail).caused_by(error)
    }
}

/// Returns the CSV of a request and completes the options by those in its body, or says why its kind
/// of body is not served. The stream ends with an error when the gateway does.
pub(crate) async fn open(
    request: Request,
    max_bytes: u64,
    options: &mut SubmitOptions,
    ending: CancellationToken,
) -> Result<CsvStream, ApiError> {
    let (kind, encoding) = match Kind::of(request.headers()).and_then(|it| Ok((it, Encoding::of(request.headers())?))) {
        Ok(understood) => understood,
        Err(error) => {
            refuse(request).await;
            return Err(error);
        }
    };
    let max_bytes = kind.max_bytes(max_bytes);
    let announced = header(request.headers(), &CONTENT_LENGTH).and_then(|it| it.parse::<u64>().ok());
    if announced.is_some_and(|it| it > max_bytes + kind.overhead()) {
        refuse(request).await;
        return Err(BodyError::TooLarge(max_bytes).into());
    }
    let (parts, body) = request.into_parts();
    let content =
        encoding.decode(limits::bounded(body, max_bytes + kind.overhead(), ending), max_bytes + kind.overhead());
    match kind {
        Kind::Csv => Ok(content),
        Kind::Form => form::open(parts, content, max_bytes, options).await,
        Kind::Json => json::open(content, options).await,
    }
}

/// Reads the body of a request that is refused by its head, for a while.
pub(crate) async fn refuse(request: Request) {
    // A client that asks first has sent nothing yet, and is told before it does.
    if !request.headers().contains_key(EXPECT) {
        limits::drain(&mut request.into_body().into_data_stream()).await;
    }
}

/// Reads what is left of a refused body, for a while.
pub(crate) async fn drain(stream: &mut CsvStream) {
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = tokio::time::timeout(DRAIN, rest).await;
}

#[derive(Clone, Copy)]
enum Kind {
    Csv,
    Form,
    Json,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(value) = header(headers, &CONTENT_TYPE) else {
            return Err(unsupported("the request has no Content-Type"));
        };
        let mut pieces = value.split(';').map(str::trim);
        match pieces.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "multipart/form-data" => Ok(Self::Form),
            "application/json" => Ok(Self::Json),
            "text/csv" => {
                for parameter in pieces.filter(|it| !it.is_empty()) {
                    let known = parameter.to_ascii_lowercase().replace('"', "");
                    let served = ["charset=utf-8", "charset=us-ascii", "charset=utf-16", "header=present"];
                    if !served.contains(&known.as_str()) {
                        return Err(unsupported(&format!("the parameter {parameter:?} of text/csv is not supported")));
                    }
                }
                Ok(Self::Csv)
            }
            other => Err(unsupported(&format!("the type {other:?} is not supported"))),
        }
    }

    fn max_bytes(self, max_bytes: u64) -> u64 {
        match self {
            Self::Csv | Self::Form => max_bytes,
            Self::Json => max_bytes.min(MAX_JSON_BYTES),
        }
    }

    fn overhead(self) -> u64 {
        match self {
            Self::Csv | Self::Json => 0,
            Self::Form => FORM_OVERHEAD,
        }
    }
}

fn unsupported(what: &str) -> ApiError {
    let served = "send text/csv in UTF-8, multipart/form-data with a part \"file\", or application/json";
    ApiError::new(Code::UnsupportedMediaType, format!("{what}; {served}"))
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|it| it.to_str().ok())
}

fn content_encoding(headers: &HeaderMap) -> &str {
    header(headers, &CONTENT_ENCODING).map_or("identity", str::trim)
}
