//! `GET /v1/batches`: the batches of a namespace, the youngest first. Those that run come from the cache, the
//! others from the records; both have the same time of creation, so they make one order, and a place in it is
//! the cursor.

use std::collections::HashSet;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::guard::Scope;
use super::batch::{self, Batch};
use super::error::ApiError;
use super::options::parse_query;
use super::options::value::{parse_integer, parse_word};
use super::state::AppState;
use super::view::Summary;
use crate::records::request::RequestQuery;

/// Batches of a page, where the request does not say.
const LIMIT: usize = 50;
/// Most batches of a page.
pub(crate) const MAX_LIMIT: i32 = 200;
/// Longest beginning of a name.
const MAX_NAME: usize = 128;
/// Most states that are asked for.
const MAX_STATES: usize = 20;

/// Batches, the youngest first.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchList {
    batches: Vec<Summary>,
    /// What `cursor` takes to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Answers `GET /v1/batches`.
pub(crate) async fn list(
    State(state): State<AppState>,
    scope: Scope,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let mut query = parse(query.as_deref())?;
    scope.namespace().clone_into(&mut query.namespace);
    let limit = query.limit;
    // One more tells whether there is a next page.
    query.limit += 1;
    let records = batch::read_records(state.records.list_requests(&query)).await?;
    let running = state.cache.list(&query.namespace);
    let mut batches: Vec<Batch> = running.iter().map(|it| Batch::from_cluster(&it.batch)).collect();
    batches.retain(|it| is_wanted(it, &query));
    let known: HashSet<String> = batches.iter().map(|it| it.uid.clone()).collect();
    for record in records.into_iter().filter(|it| !known.contains(&it.id)) {
        batches.push(Batch::from_record(record, query.namespace.clone())?);
    }
    batches.sort_unstable_by(|one, other| place(other).cmp(&place(one)));
    let next_cursor = (batches.len() > limit).then(|| cursor(&batches[limit - 1]));
    batches.truncate(limit);
    batches.retain(|it| is_in_state(it, &query));
    let body = Json(BatchList { batches: batches.into_iter().map(Summary::from).collect(), next_cursor });
    Ok(([(CACHE_CONTROL, HeaderValue::from_static("private, no-store"))], body).into_response())
}

fn parse(query: Option<&str>) -> Result<RequestQuery, ApiError> {
    let mut asked = RequestQuery { limit: LIMIT, ..RequestQuery::default() };
    let known = ["namespace", "limit", "cursor", "state", "finished", "name", "createdSince"];
    parse_query(query, &known, |name, value| {
        match name {
            // Decided about already.
            "namespace" => {}
            "limit" => asked.limit = parse_integer(value, &(1..=MAX_LIMIT))? as usize,
            "cursor" => asked.after = Some(parse_cursor(value).ok_or("is no cursor that a list gave")?),
            "state" => asked.states = parse_states(value)?,
            "finished" => asked.finished = Some(parse_word(value, &[("true", true), ("false", false)])?),
            "name" => asked.name = Some(parse_name(value)?),
            _ => {
                let since: Timestamp =
                    value.parse().map_err(|_| "must be a time such as 2026-01-31T12:00:00Z".to_owned())?;
                asked.created_since = Some(since.as_millisecond());
            }
        }
        Ok(())
    })?;
    Ok(asked)
}

fn parse_states(value: &str) -> Result<Vec<String>, String> {
    let states: Vec<String> = value.split(',').map(str::to_owned).collect();
    let word = |it: &String| (1..=64).contains(&it.len()) && it.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if states.len() > MAX_STATES || !states.iter().all(word) {
        return Err(format!("must be 1 to {MAX_STATES} words, separated by commas, such as Running,Completed"));
    }
    Ok(states)
}

fn parse_name(value: &str) -> Result<String, String> {
    if value.is_empty() || value.chars().count() > MAX_NAME || value.chars().any(char::is_control) {
        return Err(format!("must have 1 to {MAX_NAME} characters"));
    }
    Ok(value.to_owned())
}

/// What the records are asked for by a query, for a batch that the cache knows.
fn is_wanted(batch: &Batch, query: &RequestQuery) -> bool {
    let place = place(batch);
    let begins = |text: &str, name: &str| text.to_lowercase().starts_with(&name.to_lowercase());
    let named =
        |name: &String| begins(&batch.name, name) || batch.display_name.as_deref().is_some_and(|it| begins(it, name));
    is_in_state(batch, query)
        && query.finished.is_none_or(|it| it == batch.status.is_finished())
        && query.name.as_ref().is_none_or(named)
        && query.created_since.is_none_or(|it| place.0 >= it)
        && query.after.as_ref().is_none_or(|(created, uid)| place < (*created, uid.as_str()))
}

fn is_in_state(batch: &Batch, query: &RequestQuery) -> bool {
    query.states.is_empty() || query.states.iter().any(|it| it == batch.state())
}

/// Time of creation and uid: a batch's place in the list.
fn place(batch: &Batch) -> (i64, &str) {
    (batch.created.map_or(0, Timestamp::as_millisecond), &batch.uid)
}

fn cursor(batch: &Batch) -> String {
    let (created, uid) = place(batch);
    format!("{created}.{uid}")
}

fn parse_cursor(cursor: &str) -> Option<(i64, String)> {
    let (created, uid) = cursor.split_once('.')?;
    let fits = uid.len() <= 64 && uid.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    // Bounded, so that it is a date for every server.
    let created = created.parse().ok().filter(|it| (0..=253_402_300_799_999).contains(it))?;
    fits.then(|| (created, uid.to_owned()))
}
