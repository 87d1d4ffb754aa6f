//! An upload's body as a stream of CSV bytes: plain or the part `file` of a form, within limits of
//! size and time whatever the client does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use axum::extract::multipart::MultipartError;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, HeaderName};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

use super::error::{ApiError, Code};

/// The CSV's bytes as they arrive.
pub(crate) type CsvStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Longest time between two chunks.
const IDLE: Duration = Duration::from_secs(30);
/// Slowest client that is waited for, on the average of the whole body.
const MIN_BYTES_PER_SECOND: u64 = 1024;
/// What a form may have besides the CSV: boundaries and the part's headers.
const FORM_OVERHEAD: u64 = 64 * 1024;
/// What the form's parser may hold: it keeps everything until it finds the boundary that it looks for.
const FORM_HELD: u64 = 1024 * 1024;
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
    #[error("the form cannot be read")]
    Form(#[source] MultipartError),
    #[error("the form has a part {0:?}; it may have one part, \"file\"")]
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
            BodyError::Form(_) | BodyError::UnexpectedPart(_) | BodyError::MissingPart | BodyError::MissingBoundary => {
                Code::MalformedRequest
            }
        };
        let detail = match &error {
            BodyError::Form(cause) => format!("{error}: {}", cause.body_text()),
            _ => error.to_string(),
        };
        Self::new(code, detail).caused_by(error)
    }
}

/// Returns the CSV of a request, or why its kind of body is not served.
/// The stream ends with an error when the gateway does.
pub(crate) async fn open(request: Request, max_bytes: u64, ending: CancellationToken) -> Result<CsvStream, ApiError> {
    let kind = match Kind::of(request.headers()) {
        Ok(kind) => kind,
        Err(error) => {
            refuse(request).await;
            return Err(error);
        }
    };
    let announced = header(request.headers(), &CONTENT_LENGTH).and_then(|it| it.parse::<u64>().ok());
    let overhead = match kind {
        Kind::Csv => 0,
        Kind::Form => FORM_OVERHEAD,
    };
    if announced.is_some_and(|it| it > max_bytes + overhead) {
        refuse(request).await;
        return Err(BodyError::TooLarge(max_bytes).into());
    }
    let (parts, body) = request.into_parts();
    match kind {
        Kind::Csv => Ok(bounded(body, max_bytes, ending).boxed()),
        Kind::Form => {
            let taken = Arc::new(AtomicU64::new(0));
            let chunks = bounded(body, max_bytes + overhead, ending).boxed();
            let body = Body::from_stream(for_parser(chunks, Arc::clone(&taken)));
            let mut request = Request::from_parts(parts, body);
            DefaultBodyLimit::disable().apply(&mut request);
            let form = Multipart::from_request(request, &()).await.map_err(|rejection| {
                ApiError::new(Code::MalformedRequest, format!("the form cannot be read: {}", rejection.body_text()))
            })?;
            Ok(form_file(form, max_bytes, taken).boxed())
        }
    }
}

/// Reads the body of a request that is refused by its head, for a while.
pub(crate) async fn refuse(request: Request) {
    // A client that asks first has sent nothing yet, and is told before it does.
    if !request.headers().contains_key(EXPECT) {
        drain_raw(&mut request.into_body().into_data_stream()).await;
    }
}

/// Reads what is left of a refused body, for a while.
pub(crate) async fn drain(stream: &mut CsvStream) {
    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = tokio::time::timeout(DRAIN, rest).await;
}

enum Kind {
    Csv,
    Form,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let refuse = |what: String| {
            let detail = format!("{what}; send text/csv in UTF-8, or multipart/form-data with a part \"file\"");
            Err(ApiError::new(Code::UnsupportedMediaType, detail))
        };
        if let Some(encoding) = header(headers, &CONTENT_ENCODING).filter(|it| !it.eq_ignore_ascii_case("identity")) {
            return refuse(format!("the body is encoded as {encoding:?}"));
        }
        let Some(value) = header(headers, &CONTENT_TYPE) else {
            return refuse("the request has no Content-Type".to_owned());
        };
        let mut pieces = value.split(';').map(str::trim);
        match pieces.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "multipart/form-data" => Ok(Self::Form),
            "text/csv" => {
                for parameter in pieces.filter(|it| !it.is_empty()) {
                    let known = parameter.to_ascii_lowercase().replace('"', "");
                    if !matches!(known.as_str(), "charset=utf-8" | "charset=us-ascii" | "header=present") {
                        return refuse(format!("the parameter {parameter:?} of text/csv is not supported"));
                    }
                }
                Ok(Self::Csv)
            }
            other => refuse(format!("the type {other:?} is not supported")),
        }
    }
}

/// Returns the body's chunks; ends with an error at the first limit that is passed.
fn bounded(
    body: Body,
    max_bytes: u64,
    ending: CancellationToken,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    async_stream::try_stream! {
        let mut chunks = body.into_data_stream();
        let mut bytes = 0;
        // Only the client's time counts: while storage is slow, nobody asks for the next chunk.
        let mut waited = Duration::ZERO;
        loop {
            let start = Instant::now();
            let next = tokio::select! {
                next = tokio::time::timeout(IDLE, chunks.next()) => next.map_err(|_| BodyError::TooSlow),
                () = ending.cancelled() => Err(BodyError::Ending),
            }?;
            let Some(chunk) = next else { break };
            let chunk = chunk.map_err(BodyError::Incomplete)?;
            waited += start.elapsed();
            bytes += chunk.len() as u64;
            if bytes > max_bytes {
                drain_raw(&mut chunks).await;
                Err(BodyError::TooLarge(max_bytes))?;
            }
            if waited > IDLE + Duration::from_secs(bytes / MIN_BYTES_PER_SECOND) {
                Err(BodyError::TooSlow)?;
            }
            yield chunk;
            // The form's parser takes whatever is ready at once; a pause keeps that to one chunk.
            tokio::task::yield_now().await;
        }
    }
}

async fn drain_raw(chunks: &mut BodyDataStream) {
    let rest = async { while let Some(Ok(_)) = chunks.next().await {} };
    let _ = tokio::time::timeout(DRAIN, rest).await;
}

/// Stands for the bytes taken from a form of which no more are wanted.
const REFUSED: u64 = u64::MAX;

/// Returns the chunks for the form's parser; ends with an error when it holds too many bytes, that is
/// when too few of them were taken from it.
fn for_parser(mut chunks: CsvStream, taken: Arc<AtomicU64>) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    async_stream::try_stream! {
        let mut given = 0;
        while let Some(chunk) = chunks.next().await.transpose()? {
            let taken = taken.load(Ordering::Relaxed);
            if given > taken.saturating_add(FORM_HELD) {
                drain(&mut chunks).await;
                Err(BodyError::MissingBoundary)?;
            }
            if taken == REFUSED {
                drain(&mut chunks).await;
                break;
            }
            given += chunk.len() as u64;
            yield chunk;
        }
    }
}

/// Returns the bytes of the form's only part, and counts what it took from the parser.
fn form_file(
    mut form: Multipart,
    max_bytes: u64,
    taken: Arc<AtomicU64>,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    async_stream::try_stream! {
        let mut bytes = 0;
        let mut found = false;
        let mut refused = None;
        'form: while let Some(mut part) = form.next_field().await.map_err(form_error)? {
            let name = part.name().unwrap_or_default();
            if found || name != "file" {
                refused = Some(BodyError::UnexpectedPart(name.to_owned()));
                break;
            }
            found = true;
            while let Some(chunk) = part.chunk().await.map_err(form_error)? {
                bytes += chunk.len() as u64;
                taken.store(bytes, Ordering::Relaxed);
                if bytes > max_bytes {
                    refused = Some(BodyError::TooLarge(max_bytes));
                    break 'form;
                }
                yield chunk;
            }
        }
        if let Some(error) = refused {
            taken.store(REFUSED, Ordering::Relaxed);
            // The parser asks for more and gets nothing, but the rest is read before it is told so.
            while let Ok(Some(_)) = form.next_field().await {}
            Err(error)?;
        }
        if !found {
            Err(BodyError::MissingPart)?;
        }
    }
}

/// Returns the limit that the form's parser ran into, where it did, else its own complaint.
fn form_error(error: MultipartError) -> BodyError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        match current.downcast_ref::<BodyError>() {
            Some(BodyError::TooLarge(limit)) => return BodyError::TooLarge(limit.saturating_sub(FORM_OVERHEAD)),
            Some(BodyError::TooSlow) => return BodyError::TooSlow,
            Some(BodyError::Ending) => return BodyError::Ending,
            Some(BodyError::MissingBoundary) => return BodyError::MissingBoundary,
            Some(_) | None => cause = current.source(),
        }
    }
    BodyError::Form(error)
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|it| it.to_str().ok())
}
