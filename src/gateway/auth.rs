//! Who asks, and what they may do: every route of the API passes here before its handler runs.
//!
//! ```text
//! guard      route's right -> authenticate -> namespace -> authorize -> handler (gets a Scope), audit line
//! authenticate   Authorization: Bearer | session's cookie -> token -> Principal
//!   ib_...                    keyring   its hash in a watched Secret
//!   JWT of the OIDC issuer    oidc      the issuer's published keys
//!   else                      review    TokenReview
//! authorize      review   SubjectAccessReview: Kubernetes' RBAC decides
//! ```

pub mod args;
pub mod guard;

mod cache;
mod csrf;
mod jwks;
mod keyring;
mod oidc;
mod principal;
mod review;
mod seal;
pub(crate) mod session;

use std::sync::Arc;

use anyhow::Context;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method};
use kube::Client;

use super::error::{ApiError, Code};
use crate::api::api_key;
use args::{AuthArgs, Mode};
use keyring::Keyring;
use oidc::Oidc;
pub(crate) use principal::Principal;
use review::{Reviews, Right};
use seal::Seal;

/// Longest token: what Kubernetes and issuers make has a few KiB.
const MAX_TOKEN: usize = 16 * 1024;

/// Decides about requests.
pub struct Auth {
    modes: Vec<Mode>,
    reviews: Option<Reviews>,
    oidc: Option<Oidc>,
    api_keys: Option<Keyring>,
    private_images: bool,
    seal: Seal,
}

impl Auth {
    /// Returns what lets everybody do everything.
    #[must_use]
    pub fn none() -> Arc<Self> {
        let (modes, seal) = (vec![Mode::None], Seal::of_this_process(false));
        Arc::new(Self { modes, reviews: None, oidc: None, api_keys: None, private_images: false, seal })
    }

    /// Sets up the modes that are asked for; `namespace` is the one that the Secret of API keys is in.
    pub async fn connect(args: &AuthArgs, client: &Client, namespace: &str) -> anyhow::Result<Arc<Self>> {
        args.check()?;
        if args.authentication == [Mode::None] {
            return Ok(Self::none());
        }
        let has = |mode| args.authentication.contains(&mode);
        let oidc = if has(Mode::Oidc) { Some(Oidc::new(&args.oidc)?) } else { None };
        let namespace = args.api_keys_namespace.as_deref().unwrap_or(namespace);
        let api_keys = match &args.api_keys_secret {
            Some(secret) if has(Mode::ApiKey) => Some(Keyring::watch(client.clone(), namespace, secret).await),
            _ => None,
        };
        Ok(Arc::new(Self {
            modes: args.authentication.clone(),
            reviews: Some(Reviews::new(client.clone(), args.token_audience.clone())),
            oidc,
            api_keys,
            private_images: args.private_images,
            seal: args.seal().context("--session-key")?,
        }))
    }

    /// Returns whether images are for those alone who may read the batches of their namespace.
    pub(crate) fn private_images(&self) -> bool {
        self.private_images
    }

    /// Returns whether callers are told apart.
    pub(crate) fn is_on(&self) -> bool {
        self.reviews.is_some()
    }

    fn has(&self, mode: Mode) -> bool {
        self.modes.contains(&mode)
    }

    /// Returns who sends a request. A cookie alone does not prove that its owner meant a change.
    async fn authenticate(&self, method: &Method, headers: &HeaderMap) -> Result<Principal, ApiError> {
        if !self.is_on() {
            return Ok(Principal::anonymous());
        }
        if headers.contains_key(AUTHORIZATION) {
            return self.identify(bearer(headers)?).await;
        }
        let Some(session) = self.seal.session(headers) else {
            return Err(unauthenticated("sign in, or send the header Authorization: Bearer TOKEN", false));
        };
        if !method.is_safe() {
            csrf::check_token(headers, &session)?;
        }
        self.identify(&session.token).await
    }

    /// Returns who a token is of. Its form alone says who answers for it, so that what one refuses is not
    /// asked of another.
    async fn identify(&self, token: &str) -> Result<Principal, ApiError> {
        let refused = || unauthenticated("the token or key is not valid, or not any more", true);
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(refused());
        }
        if api_key::is_api_key(token) {
            let Some(api_keys) = &self.api_keys else { return Err(refused()) };
            return api_keys.principal(token)?.ok_or_else(refused);
        }
        if let Some(oidc) = &self.oidc
            && (oidc.is_issuer_of(token) || !self.has(Mode::Kubernetes))
        {
            return oidc.principal(token).await?.ok_or_else(refused);
        }
        match &self.reviews {
            Some(reviews) if self.has(Mode::Kubernetes) => reviews.principal(token).await?.ok_or_else(refused),
            _ => Err(refused()),
        }
    }

    /// Returns whether Kubernetes grants a right.
    async fn grants(&self, principal: &Principal, right: Right<'_>) -> Result<bool, ApiError> {
        match &self.reviews {
            Some(reviews) => reviews.grants(principal, right).await,
            None => Ok(true),
        }
    }
}

/// Returns the token of the one header Authorization.
fn bearer(headers: &HeaderMap) -> Result<&str, ApiError> {
    let mut values = headers.get_all(AUTHORIZATION).into_iter();
    let value = values.next().and_then(|it| it.to_str().ok());
    let token = value.and_then(|it| it.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let visible = |it: &&str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_graphic());
    match (token.map(|(_, token)| token.trim()).filter(visible), values.next()) {
        (Some(token), None) => Ok(token),
        _ => Err(unauthenticated("the header Authorization is not one \"Bearer TOKEN\"", true)),
    }
}

fn unauthenticated(detail: &str, was_tried: bool) -> ApiError {
    let challenge =
        if was_tried { "Bearer realm=\"imagebatch\", error=\"invalid_token\"" } else { "Bearer realm=\"imagebatch\"" };
    ApiError::new(Code::Unauthenticated, detail).header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_one_bearer_token() {
        let of = |values: &[&str]| {
            let pairs = values.iter().map(|it| (AUTHORIZATION, it.parse().expect("a header's value")));
            bearer(&pairs.collect::<HeaderMap>()).map(str::to_owned).ok()
        };
        assert_eq!(of(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(of(&["bearer  abc"]).as_deref(), Some("abc"));
        for wrong in
            [&["Bearer"][..], &["Bearer "], &["Basic abc"], &["abc"], &["Bearer a b"], &["Bearer a", "Bearer b"]]
        {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
