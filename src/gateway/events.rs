//! `GET /v1/batches/{id}/events`: a batch's states as server-sent events, until it has ended.
//!
//! Each event is the whole state, so one that was missed is made up for by the next, and to resume means to be
//! spared the state that was seen last. Streams end after a while: a right that was taken away ends with them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;

use super::auth::guard::Scope;
use super::error::{ApiError, Code, chain};
use super::follow::Follow;
use super::options::parse_query;
use super::state::AppState;
use super::status::Shown;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies that buffer answers would hold events back; nginx heeds this.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Pause between comments that keep the connection: below the idle time-out of usual proxies.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a client waits before it comes again.
const RETRY: Duration = Duration::from_secs(2);
/// Longest time of a stream.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Longest id of an event.
const MAX_EVENT_ID: usize = 128;

/// Answers `GET /v1/batches/{id}/events`.
pub(crate) async fn events(
    State(state): State<AppState>,
    scope: Scope,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut seen = None;
    parse_query(query.as_deref(), &["namespace", "lastEventId"], |name, value| {
        match name {
            // Decided about already.
            "namespace" => {}
            _ if value.len() <= MAX_EVENT_ID => seen = Some(value.to_owned()),
            _ => return Err(format!("may have {MAX_EVENT_ID} characters")),
        }
        Ok(())
    })?;
    let namespace = scope.namespace().to_owned();
    // What a browser says when it comes again holds, and not the address that it began with.
    let seen = headers.get(LAST_EVENT_ID).and_then(|it| it.to_str().ok()).map(str::to_owned).or(seen);
    let permit = state.streams.clone().try_acquire_owned().map_err(|_| {
        let limit = state.settings.max_event_streams;
        ApiError::new(Code::TooManyStreams, format!("{limit} clients are told of changes, as many as allowed; poll"))
    })?;
    let mut follow = Follow::new(&state, namespace.clone(), id.clone());
    let first = follow.now().await?;
    if first.finished && seen.as_deref() == Some(event_id(&first)) {
        // Browsers come again until they are told this.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let watched = Watched { state, follow, uid: first.uid.clone(), id, namespace, _permit: permit };
    let stream = Sse::new(watched.stream(first, seen)).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let headers = [(CACHE_CONTROL, "no-store"), (ACCEL_BUFFERING, "no")];
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    Ok((headers, stream).into_response())
}

/// A batch that somebody is told of.
struct Watched {
    state: AppState,
    follow: Follow,
    uid: String,
    id: String,
    namespace: String,
    _permit: OwnedSemaphorePermit,
}

impl Watched {
    fn stream(mut self, first: Arc<Shown>, seen: Option<String>) -> impl Stream<Item = Result<Event, Infallible>> {
        async_stream::stream! {
            let end = tokio::time::Instant::now() + LIFETIME;
            let (mut shown, mut seen) = (first, seen.unwrap_or_default());
            loop {
                if event_id(&shown) != seen {
                    event_id(&shown).clone_into(&mut seen);
                    let kind = if shown.finished { "finished" } else { "status" };
                    yield Ok(Event::default().event(kind).id(&seen).retry(RETRY).data(&shown.json));
                }
                if shown.finished {
                    return;
                }
                tokio::select! {
                    () = self.follow.changed() => {}
                    () = self.state.stopping.cancelled() => return,
                    () = tokio::time::sleep_until(end) => return,
                }
                match self.look().await {
                    Ok(Some(next)) => shown = next,
                    Ok(None) => {
                        let data = json!({ "id": self.id, "namespace": self.namespace });
                        yield Ok(Event::default().event("deleted").data(data.to_string()));
                        return;
                    }
                    // The client comes again, and is told by its status what is wrong if it still is.
                    Err(error) => {
                        tracing::warn!(error = error.cause().unwrap_or_else(|| chain(&error)), "events end early");
                        return;
                    }
                }
            }
        }
    }

    /// Returns what there is to tell; none when the batch is gone.
    async fn look(&mut self) -> Result<Option<Arc<Shown>>, ApiError> {
        match self.follow.now().await {
            // Another batch of the name is none that this client asked for.
            Ok(shown) if shown.uid != self.uid => Ok(None),
            Ok(shown) => Ok(Some(shown)),
            Err(error) if error.status() == StatusCode::NOT_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the id of the event that tells a state.
fn event_id(shown: &Shown) -> &str {
    shown.etag.trim_matches('"')
}
