//! Content-Encoding: gzip and zstd, with a bound on what comes out. A few kilobytes can expand to the
//! limit of an upload and no further, and never into more memory than a decoder's window.

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::http::HeaderMap;
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use super::super::error::ApiError;
use super::{BodyError, CsvStream, content_encoding, unsupported};

/// How the body is compressed, if it is.
pub(super) struct Encoding(Option<Compression>);

enum Compression {
    Gzip,
    Zstd,
}

/// Window of zstd frames that is granted: 8 MiB, what RFC 8878 asks of every decoder.
const WINDOW_LOG: u32 = 23;
/// Bytes that are decompressed at once.
const CHUNK: usize = 64 * 1024;

impl Encoding {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let name = content_encoding(headers);
        match name.to_ascii_lowercase().as_str() {
            "identity" => Ok(Self(None)),
            "gzip" | "x-gzip" => Ok(Self(Some(Compression::Gzip))),
            "zstd" => Ok(Self(Some(Compression::Zstd))),
            _ => Err(unsupported(&format!("the body is encoded as {name:?}, and gzip and zstd are supported"))),
        }
    }

    /// Returns the content, of at most that many bytes.
    pub(super) fn decode(
        self,
        body: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static,
        max_bytes: u64,
    ) -> CsvStream {
        let Some(compression) = self.0 else { return body.boxed() };
        let compressed = StreamReader::new(Box::pin(body.map_err(std::io::Error::other)));
        match compression {
            Compression::Gzip => {
                let mut decoder = GzipDecoder::new(compressed);
                decoder.multiple_members(true);
                bounded(decoder, max_bytes).boxed()
            }
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::with_params(compressed, &[DParameter::window_log_max(WINDOW_LOG)]);
                decoder.multiple_members(true);
                bounded(decoder, max_bytes).boxed()
            }
        }
    }
}

fn bounded(
    decoder: impl AsyncRead + Send + 'static,
    max_bytes: u64,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static {
    async_stream::try_stream! {
        let mut chunks = Box::pin(ReaderStream::with_capacity(decoder, CHUNK));
        let mut bytes = 0;
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(decoding_error)?;
            bytes += chunk.len() as u64;
            if bytes > max_bytes {
                Err(BodyError::TooLarge(max_bytes))?;
            }
            yield chunk;
        }
    }
}

/// Returns the limit that the body ran into, where it did, else the decoder's complaint.
fn decoding_error(error: std::io::Error) -> BodyError {
    match error.downcast::<BodyError>() {
        Ok(body) => body,
        Err(error) => BodyError::Compression(error.to_string()),
    }
}
