//! The decision about a request. Every route says the right that it needs, and is behind this; its handler gets
//! the decision as a `Scope`, and has no other way to a namespace.

use std::panic::resume_unwind;
use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use tracing::{Instrument, Span};
use url::form_urlencoded;

use super::principal::Principal;
use super::review::Right;
use crate::gateway::error::{ApiError, Code};
use crate::gateway::rate::{self, Caller};
use crate::gateway::state::AppState;
use crate::gateway::{batch, body};

/// Target of the lines that say who changed what; they are written whatever the log's filter.
pub(crate) const AUDIT: &str = "audit";

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Public,
    /// Who has this right: a verb on `imagebatches` in the batch's namespace.
    Verb(&'static str),
    /// Everybody, unless images are private: then who has this right in the namespace of the key.
    Image(&'static str),
}

/// What was decided: who asks, and in which namespace they may do what the route does.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    principal: Arc<Principal>,
    namespace: String,
    verb: &'static str,
}

impl Scope {
    /// Returns the namespace of the request.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns the name of who asks.
    pub(crate) fn user(&self) -> &str {
        &self.principal.user
    }

    /// Returns the same right in a namespace that the request's body names, if the principal has it there.
    pub(crate) async fn in_namespace(self, state: &AppState, named: Option<&str>) -> Result<Self, ApiError> {
        match named {
            Some(named) if named != self.namespace => {
                let scope = Self { namespace: named.to_owned(), ..self };
                scope.check(state, None).await?;
                Ok(scope)
            }
            _ => Ok(self),
        }
    }

    /// Checks the right on all batches of the namespace, or on the one of that name. Who may not get a batch is
    /// told what they would be told if there were none.
    async fn check(&self, state: &AppState, name: Option<&str>) -> Result<(), ApiError> {
        let Self { principal, namespace, verb } = self;
        let right = |verb, name| state.auth.grants(principal, Right { verb, namespace, name });
        if let Some(name) = name
            && (!batch::is_batch_name(name) || !right("get", Some(name)).await?)
        {
            return Err(batch::missing(namespace, name));
        }
        // Who gets a batch has been found to have the right; what is created has no name yet.
        let is_known = *verb == "get" && name.is_some();
        if !is_known && !right(verb, name.filter(|_| *verb != "create")).await? {
            let detail = format!("{:?} may not {verb} imagebatches in namespace {namespace:?}", principal.user);
            return Err(ApiError::new(Code::Forbidden, detail));
        }
        state.settings.check_namespace(namespace)
    }
}

impl<S: Sync> FromRequestParts<S> for Scope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let scope = parts.extensions.get::<Self>().cloned();
        scope.ok_or_else(|| ApiError::new(Code::Internal, "nothing was decided about this request"))
    }
}

/// Puts the decision before a route.
pub(crate) fn guarded(state: &AppState, access: Access, route: MethodRouter<AppState>) -> MethodRouter<AppState> {
    route.route_layer(from_fn_with_state((state.clone(), access), decide))
}

async fn decide(
    State((state, access)): State<(AppState, Access)>,
    params: Result<RawPathParams, RawPathParamsRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let parameter = |name| params.iter().flatten().find(|(it, _)| *it == name).map(|(_, value)| value.to_owned());
    let (id, key) = (parameter("id"), parameter("key"));
    let action = action(&request, access);
    let (method, headers, query) = (request.method(), request.headers(), request.uri().query());
    let asked = Asked { method, headers, query, id: id.as_deref(), key: key.as_deref() };
    match scope(&state, access, asked).await {
        Ok(None) => {
            note("", "public");
            rate::by_caller(&state.rate, request, next).await
        }
        Ok(Some(scope)) => {
            note(scope.user(), "allowed");
            request.extensions_mut().insert(scope.clone());
            if state.settings.authenticated {
                // Else everybody is one, and is counted by address.
                request.extensions_mut().insert(Caller(format!("user {}", scope.user())));
            }
            let Some(action) = action else { return rate::by_caller(&state.rate, request, next).await };
            // A change runs to its end though its client goes away, so the line tells how it ended.
            let submissions = state.submissions.clone();
            let change = async move {
                let response = rate::by_caller(&state.rate, request, next).await;
                audit(action, &scope, id.as_deref(), response.status());
                response
            };
            let changed = submissions.spawn(change.in_current_span()).await;
            match changed.map_err(tokio::task::JoinError::try_into_panic) {
                Ok(response) => response,
                Err(Ok(panic)) => resume_unwind(panic),
                Err(Err(error)) => {
                    ApiError::new(Code::Internal, "the change broke off").caused_by(error).into_response()
                }
            }
        }
        Err((principal, error)) => {
            let user = principal.map(|it| it.user.clone()).unwrap_or_default();
            let decision = if error.status() == StatusCode::UNAUTHORIZED { "unauthenticated" } else { "refused" };
            note(&user, decision);
            if let Some(action) = action {
                let status = error.status().as_u16();
                tracing::info!(target: AUDIT, action, user, id, decision, status, "audit");
                body::refuse(request).await;
            }
            error.into_response()
        }
    }
}

/// What a decision depends on.
struct Asked<'r> {
    method: &'r Method,
    headers: &'r HeaderMap,
    query: Option<&'r str>,
    id: Option<&'r str>,
    key: Option<&'r str>,
}

/// Who asked, as far as that is known, and why they may not.
type Refusal = (Option<Arc<Principal>>, ApiError);

async fn scope(state: &AppState, access: Access, asked: Asked<'_>) -> Result<Option<Scope>, Refusal> {
    let auth = &state.auth;
    let verb = match access {
        Access::Verb(verb) => verb,
        Access::Image(verb) if auth.private_images() => verb,
        Access::Public | Access::Image(_) => return Ok(None),
    };
    let authenticated = auth.authenticate(asked.method, asked.headers).await;
    let principal = authenticated.map_err(|error| (None, error))?;
    let namespace = if let Access::Image(_) = access {
        // A key that is none is the handler's to refuse; no image of it is served.
        asked.key.and_then(|it| state.storage.keys().namespace_of_image(it)).unwrap_or_default().to_owned()
    } else {
        let named = named(asked.query).or_else(|| principal.namespace.clone());
        named.unwrap_or_else(|| state.settings.namespace.clone())
    };
    let scope = Scope { principal: Arc::new(principal), namespace, verb };
    match (access, scope.check(state, asked.id).await) {
        (_, Ok(())) => Ok(Some(scope)),
        (Access::Image(_), Err(error)) if error.status().is_client_error() => {
            Err((Some(scope.principal), ApiError::new(Code::ImageNotFound, "no image has this key")))
        }
        (_, Err(error)) => Err((Some(scope.principal), error)),
    }
}

/// Returns the namespace of a query. One that names two is the handler's to refuse, with whatever else is wrong.
fn named(query: Option<&str>) -> Option<String> {
    let mut values = form_urlencoded::parse(query?.as_bytes()).filter(|(name, _)| name == "namespace");
    let (_, value) = values.next()?;
    values.next().is_none().then(|| value.into_owned())
}

/// Returns the word for what a request changes: the last of its path.
fn action(request: &Request, access: Access) -> Option<&'static str> {
    let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)?;
    if request.method().is_safe() || access == Access::Public {
        return None;
    }
    Some(match path.rsplit('/').next() {
        _ if request.method() == Method::DELETE => "delete",
        Some("batches") => "upload",
        Some("retry") => "retry",
        Some("cancel") => "cancel",
        Some("redeliver") => "redeliver",
        Some("test") => "test-webhook",
        _ => "change",
    })
}

/// Gives the request's line who asked, and what was decided.
pub(super) fn note(user: &str, decision: &str) {
    let span = Span::current();
    if !user.is_empty() {
        span.record("user", user);
    }
    span.record("decision", decision);
}

/// Says that something was changed, or was not. `id` is the batch of the path; one that was made is among the
/// fields of the request, where it is not a dry run.
fn audit(action: &str, scope: &Scope, id: Option<&str>, status: StatusCode) {
    let (namespace, status) = (scope.namespace(), status.as_u16());
    tracing::info!(target: AUDIT, action, user = scope.user(), namespace, id, decision = "allowed", status, "audit");
}
