//! A large CSV to the gateway, with its progress. A repeat after a broken connection finds the batch of the first
//! try by its Idempotency-Key.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use backon::{ExponentialBuilder, Retryable};
use futures::TryStreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::{Body, Method, Response};
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::connection::Connection;

/// Tries of an upload.
const REPEATS: usize = 3;
/// Longest time for one try. The gateway ends one that is too slow long before.
const TRY: Duration = Duration::from_secs(3600);
const BAR: &str = "  uploading {bar:40.cyan/blue} {bytes}/{total_bytes} {bytes_per_sec}";

#[derive(Deserialize)]
struct Accepted {
    id: String,
}

/// Uploads a file; returns the batch's name.
pub(crate) async fn upload(connection: &Connection, file: &Path, size: u64, query: &str) -> anyhow::Result<String> {
    let key = uuid::Uuid::now_v7().to_string();
    // Hidden where standard error is no terminal.
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(size).with_style(style);
    let send = || try_once(connection, file, size, query, &key, &bar);
    let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_secs(1)).with_max_times(REPEATS);
    let result = send.retry(pauses).when(|error| matches!(error, Fault::Passing(_))).await;
    bar.finish_and_clear();
    let answer = match result {
        Ok(answer) => answer,
        Err(Fault::Passing(error) | Fault::Final(error)) => return Err(error),
    };
    if answer.status() != reqwest::StatusCode::ACCEPTED {
        bail!("the gateway answered {} to an upload", answer.status());
    }
    let accepted: Accepted = answer.json().await.context("the gateway's answer cannot be read")?;
    Ok(accepted.id)
}

/// Why a try failed: whether the next may do better.
enum Fault {
    Passing(anyhow::Error),
    Final(anyhow::Error),
}

async fn try_once(
    connection: &Connection,
    path: &Path,
    size: u64,
    query: &str,
    key: &str,
    bar: &ProgressBar,
) -> Result<Response, Fault> {
    let file = tokio::fs::File::open(path).await;
    let file = file.with_context(|| format!("failed to read {}", path.display())).map_err(Fault::Final)?;
    bar.set_position(0);
    let shown = bar.clone();
    let body = ReaderStream::new(file).inspect_ok(move |chunk| shown.inc(chunk.len() as u64));
    let request = connection
        .request_with_query(Method::POST, "/v1/batches", query)
        .header(CONTENT_TYPE, "text/csv")
        .header(CONTENT_LENGTH, size)
        .header("idempotency-key", key)
        .body(Body::wrap_stream(body))
        .timeout(TRY);
    let answer = request.send().await.map_err(|error| Fault::Passing(connection.unreachable(error)))?;
    match answer.status() {
        status if status.is_success() => Ok(answer),
        status if status.is_server_error() => Err(Fault::Passing(connection.refused(answer).await)),
        _ => Err(Fault::Final(connection.refused(answer).await)),
    }
}
