//! `GET /v1/batches/{id}`: what became of a batch so far; at once, or when there is something new.

use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::auth::guard::Scope;
use super::batch::{self, Batch};
use super::error::{ApiError, Code};
use super::follow::Follow;
use super::object::match_etag;
use super::state::{AppState, Settings};
use super::view::BatchView;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const REVALIDATE: HeaderValue = HeaderValue::from_static("private, no-cache");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// Longest wait that is granted, in seconds: below what proxies allow for an answer.
const MAX_WAIT: u64 = 30;

/// Answers `GET /v1/batches/{id}`.
pub(crate) async fn show(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    batch::check_query(query.as_deref())?;
    let namespace = scope.namespace().to_owned();
    let asked = headers.get(IF_NONE_MATCH).and_then(|it| it.to_str().ok());
    let mut follow = Follow::new(&state, namespace, id);
    let mut shown = follow.now().await?;
    let mut applied = None;
    // A preference may be passed over, for example where too many wait already.
    if let Some(seconds) = wait_of(&headers)
        && let Ok(_permit) = state.streams.clone().try_acquire_owned()
    {
        applied = Some(seconds);
        let end = tokio::time::sleep(Duration::from_secs(seconds));
        tokio::pin!(end);
        while !shown.finished && asked.is_none_or(|it| match_etag(it, &shown.etag)) {
            tokio::select! {
                () = follow.changed() => shown = follow.now().await?,
                () = &mut end => break,
                () = state.stopping.cancelled() => break,
            }
        }
    }
    let same = asked.is_some_and(|it| match_etag(it, &shown.etag));
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, JSON)], shown.json.clone()).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, REVALIDATE);
    if let Ok(etag) = HeaderValue::try_from(&shown.etag) {
        headers.insert(ETAG, etag);
    }
    if let Some(value) = applied.and_then(|it| HeaderValue::try_from(format!("wait={it}")).ok()) {
        headers.insert(PREFERENCE_APPLIED, value);
    }
    Ok(response)
}

/// A batch's JSON, and what tells it from that of another moment.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) uid: String,
    pub(crate) json: String,
    pub(crate) etag: String,
    pub(crate) finished: bool,
}

impl Shown {
    pub(crate) fn of(settings: &Settings, batch: Batch) -> Result<Self, ApiError> {
        let (uid, finished) = (batch.uid.clone(), batch.status.is_finished());
        let json = serde_json::to_string(&BatchView::of(settings, batch))
            .map_err(|error| ApiError::new(Code::Internal, "the batch cannot be written").caused_by(error))?;
        // By its content, so that all replicas agree, whether they know it from the cluster or from the records.
        let etag = format!("\"{}\"", &hex::encode(Sha256::digest(&json))[..32]);
        Ok(Self { uid, json, etag, finished })
    }
}

/// Returns the seconds that `Prefer: wait=` asks for, as far as they are granted.
fn wait_of(headers: &HeaderMap) -> Option<u64> {
    let preferences = headers.get_all(PREFER).into_iter().filter_map(|it| it.to_str().ok());
    let mut waits = preferences.flat_map(|it| it.split([',', ';'])).filter_map(|it| {
        let (name, value) = it.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then_some(value.trim().trim_matches('"'))
    });
    let seconds: u64 = waits.next()?.parse().ok()?;
    Some(seconds.min(MAX_WAIT))
}
