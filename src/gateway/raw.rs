//! A report without the escaping of formulas, made while it is sent.
//!
//! What is stored is safe to open whoever hands it on, and the escaping can be undone exactly, so the
//! raw report needs neither a second object nor a choice before the batch runs. It has no validators
//! and ranges: its bytes are not those of the object.

use axum::body::Body;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::{TryStreamExt, stream};
use object_store::GetOptions;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::error::ApiError;
use super::object;
use crate::manifest::report::unescape_report;
use crate::storage::Storage;

/// Pieces that may wait for the client.
const PIECES_WAITING: usize = 2;

/// Answers with a report, or returns `None` where there is none.
pub(crate) async fn respond(storage: &Storage, key: &str, method: &Method) -> Result<Option<Response>, ApiError> {
    let options = GetOptions { head: method == Method::HEAD, ..GetOptions::default() };
    let Some(found) = object::open(storage, key, options).await? else { return Ok(None) };
    if method == Method::HEAD {
        return Ok(Some(Body::empty().into_response()));
    }
    let report = SyncIoBridge::new(StreamReader::new(found.into_stream().map_err(std::io::Error::from)));
    let (pieces, waiting) = mpsc::channel::<std::io::Result<Bytes>>(PIECES_WAITING);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = unescape_report(report, Pieces(pieces.clone())) {
            // A client that is gone needs no error.
            let _ = pieces.blocking_send(Err(error));
        }
    });
    let body = stream::unfold(waiting, async |mut waiting| Some((waiting.recv().await?, waiting)));
    Ok(Some(Body::from_stream(body).into_response()))
}

/// Writes into the body of a response.
struct Pieces(mpsc::Sender<std::io::Result<Bytes>>);

impl std::io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
