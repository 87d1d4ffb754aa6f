//! `/v1/session`: signing in and out of the web page, and who is signed in.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::args::Mode;
use super::principal::Principal;
use super::seal::{Seal, SealError, Session};
use super::{MAX_TOKEN, csrf, guard};
use crate::gateway::error::{ApiError, Code};
use crate::gateway::state::AppState;

/// Longest body: a token and what is around it.
const MAX_BODY: usize = MAX_TOKEN + 1024;
/// Longest time for it.
const BODY: Duration = Duration::from_secs(10);
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// What a browser signs in with.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignIn {
    /// A Kubernetes token, an OIDC JWT or an API key.
    token: String,
}

/// Who is signed in.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionView {
    authentication: Vec<Mode>,
    signed_in: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    expires_at: Option<Timestamp>,
}

impl SessionView {
    fn of(state: &AppState, principal: Option<Principal>, session: Option<Session>) -> Self {
        let namespace = |it: &Principal| it.namespace.clone().unwrap_or_else(|| state.settings.namespace.clone());
        Self {
            authentication: state.auth.modes.clone(),
            signed_in: principal.is_some(),
            namespace: principal.as_ref().map(namespace),
            user: principal.as_ref().map(|it| it.user.clone()),
            groups: principal.map(|it| it.groups),
            expires_at: session.as_ref().map(|it| it.expires),
            csrf_token: session.map(|it| it.csrf),
        }
    }
}

/// Answers `GET /v1/session`.
pub(crate) async fn show(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, ApiError> {
    let auth = &state.auth;
    if !auth.is_on() {
        return Ok(answer(StatusCode::OK, SessionView::of(&state, Some(Principal::anonymous()), None)));
    }
    let session = auth.seal.session(&headers);
    let principal = match &session {
        Some(session) => match auth.identify(&session.token).await {
            Ok(principal) => Some(principal),
            Err(error) if error.status() == StatusCode::UNAUTHORIZED => None,
            Err(error) => return Err(error),
        },
        None => None,
    };
    let is_over = principal.is_none() && auth.seal.has_cookie(&headers);
    let session = session.filter(|_| principal.is_some());
    let mut response = answer(StatusCode::OK, SessionView::of(&state, principal, session));
    if is_over {
        response.headers_mut().insert(SET_COOKIE, auth.seal.clear_cookie().map_err(unsealed)?);
    }
    Ok(response)
}

/// Answers `POST /v1/session`.
pub(crate) async fn sign_in(State(state): State<AppState>, request: Request) -> Result<Response, ApiError> {
    let auth = &state.auth;
    if !auth.is_on() {
        return Err(ApiError::new(
            Code::NotFound,
            "this gateway authenticates nobody, so there is nothing to sign in to",
        ));
    }
    let (parts, body) = request.into_parts();
    csrf::check_site(&parts.headers)?;
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok()).unwrap_or_default();
    // A form of another site could be of any other type.
    if !content_type.split(';').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::new(Code::UnsupportedMediaType, "send the token as application/json"));
    }
    let SignIn { token } = read(body).await?;
    let principal = auth.identify(token.trim()).await?;
    guard::note(&principal.user, "signed-in");
    tracing::info!(target: guard::AUDIT, action = "sign-in", user = principal.user, "audit");
    let session = Seal::start(token.trim().to_owned()).map_err(unsealed)?;
    let cookie = auth.seal.set_cookie(&session).map_err(unsealed)?;
    let mut response = answer(StatusCode::CREATED, SessionView::of(&state, Some(principal), Some(session)));
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

/// Answers `DELETE /v1/session`.
pub(crate) async fn sign_out(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(session) = state.auth.seal.session(&headers) {
        csrf::check_token(&headers, &session)?;
    }
    let cookie = state.auth.seal.clear_cookie().map_err(unsealed)?;
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie), (CACHE_CONTROL, NO_STORE)]).into_response())
}

fn answer(status: StatusCode, view: SessionView) -> Response {
    (status, [(CACHE_CONTROL, NO_STORE)], Json(view)).into_response()
}

/// Reads a body. What it holds is in no error: a parser's text would show a part of it.
async fn read(body: Body) -> Result<SignIn, ApiError> {
    let read = tokio::time::timeout(BODY, to_bytes(body, MAX_BODY)).await;
    let read = read.map_err(|_| ApiError::new(Code::BodyTooSlow, "the body did not come in time"))?;
    let body = read.map_err(|_| {
        ApiError::new(Code::BodyTooLarge, format!("the body is larger than {MAX_BODY} bytes, or ended early"))
    })?;
    serde_json::from_slice(&body)
        .map_err(|_| ApiError::new(Code::InvalidParameter, "the body is not {\"token\": \"...\"} and nothing else"))
}

fn unsealed(error: SealError) -> ApiError {
    match error {
        SealError::TooLong => ApiError::new(
            Code::InvalidParameter,
            "the token is too long for a cookie: sign in with an API key, or ask the issuer for fewer claims",
        ),
        SealError::Cipher => ApiError::new(Code::Internal, "the session cannot be sealed").caused_by(error),
    }
}
