//! `multipart/form-data`: options as fields, then the CSV as the part `file`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::request::Parts;
use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::super::error::{ApiError, Code};
use super::super::options::SubmitOptions;
use super::{BodyError, CsvStream, FORM_HELD, FORM_OVERHEAD};

/// What a form consists of.
enum Part {
    /// An option and its value.
    Option(String, String),
    /// The part `file` begins.
    File,
    /// Bytes of it.
    Chunk(Bytes),
}

/// Longest value of an option.
const MAX_OPTION_BYTES: usize = 4 * 1024;

/// Reads the options up to the file, and returns the file.
pub(super) async fn open(
    parts: axum::http::request::Parts,
    content: CsvStream,
    max_bytes: u64,
    options: &mut SubmitOptions,
) -> Result<CsvStream, ApiError> {
    let taken = Arc::new(AtomicU64::new(0));
    let form = parse(parts, content, Arc::clone(&taken)).await?;
    let mut parts = read(form, max_bytes, taken).boxed();
    let mut problems = Vec::new();
    loop {
        match parts.next().await {
            Some(Ok(Part::Option(name, value))) => problems.extend(options.set(&name, &value).err()),
            Some(Ok(Part::File)) => break,
            Some(Ok(Part::Chunk(_))) => {}
            Some(Err(error)) => return Err(error.into()),
            None => return Err(BodyError::MissingPart.into()),
        }
    }
    let mut file = parts
        .map(|part| match part? {
            Part::Chunk(chunk) => Ok(chunk),
            Part::File => Err(BodyError::UnexpectedPart("file".to_owned())),
            Part::Option(name, _) => Err(BodyError::UnexpectedPart(name)),
        })
        .boxed();
    if let Err(error) = SubmitOptions::check(problems) {
        super::drain(&mut file).await;
        return Err(error);
    }
    Ok(file)
}

async fn parse(parts: Parts, content: CsvStream, taken: Arc<AtomicU64>) -> Result<Multipart, ApiError> {
    let mut request = Request::from_parts(parts, Body::from_stream(for_parser(content, taken)));
    DefaultBodyLimit::disable().apply(&mut request);
    Multipart::from_request(request, &()).await.map_err(|rejection| {
        ApiError::new(Code::MalformedRequest, format!("the form cannot be read: {}", rejection.body_text()))
    })
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
                super::drain(&mut chunks).await;
                Err(BodyError::MissingBoundary)?;
            }
            if taken == REFUSED {
                super::drain(&mut chunks).await;
                break;
            }
            given += chunk.len() as u64;
            yield chunk;
        }
    }
}

/// Returns the form's parts in their order, and counts what it took from the parser.
fn read(
    mut form: Multipart,
    max_bytes: u64,
    taken: Arc<AtomicU64>,
) -> impl Stream<Item = Result<Part, BodyError>> + Send {
    async_stream::try_stream! {
        let mut bytes = 0;
        let mut found = false;
        let mut refused = None;
        'form: while let Some(mut part) = form.next_field().await.map_err(form_error)? {
            let name = part.name().unwrap_or_default().to_owned();
            if found {
                refused = Some(BodyError::UnexpectedPart(name));
                break;
            }
            if name != "file" {
                let value = read_option(&mut part).await?;
                yield Part::Option(name, value);
                continue;
            }
            found = true;
            yield Part::File;
            while let Some(chunk) = part.chunk().await.map_err(form_error)? {
                bytes += chunk.len() as u64;
                taken.store(bytes, Ordering::Relaxed);
                if bytes > max_bytes {
                    refused = Some(BodyError::TooLarge(max_bytes));
                    break 'form;
                }
                yield Part::Chunk(chunk);
            }
        }
        if let Some(error) = refused {
            taken.store(REFUSED, Ordering::Relaxed);
            // The parser asks for more and gets nothing, but the rest is read before it is told so.
            while let Ok(Some(_)) = form.next_field().await {}
            Err(error)?;
        }
    }
}

/// Reads an option's value. What is too long for any option is cut, and refused by its name.
async fn read_option(part: &mut Field<'_>) -> Result<String, BodyError> {
    let mut value = Vec::new();
    while let Some(chunk) = part.chunk().await.map_err(form_error)? {
        if value.len() < MAX_OPTION_BYTES {
            value.extend_from_slice(&chunk);
        }
    }
    value.truncate(MAX_OPTION_BYTES);
    Ok(String::from_utf8_lossy(&value).into_owned())
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
            Some(BodyError::Compression(text)) => return BodyError::Compression(text.clone()),
            Some(_) | None => cause = current.source(),
        }
    }
    BodyError::Form(error)
}
