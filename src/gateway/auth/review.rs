//! What the API server is asked: who a token is of (TokenReview), and whether somebody has a right
//! (SubjectAccessReview).

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use serde::Serialize;

use super::cache::{self, Decisions};
use super::principal::Principal;
use crate::gateway::error::{ApiError, Code};

/// Longest time for one review.
const REVIEW: Duration = Duration::from_secs(5);
/// What the users of ServiceAccounts begin with, before their namespace.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A verb on one ImageBatch of a namespace, or on all of them.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Right<'a> {
    pub(super) verb: &'a str,
    pub(super) namespace: &'a str,
    pub(super) name: Option<&'a str>,
}

/// Asks the API server, and remembers its answers for seconds.
pub(super) struct Reviews {
    tokens: Api<TokenReview>,
    access: Api<SubjectAccessReview>,
    audience: String,
    principals: Decisions<Principal>,
    rights: Decisions<()>,
}

impl Reviews {
    pub(super) fn new(client: Client, audience: String) -> Self {
        Self {
            tokens: Api::all(client.clone()),
            access: Api::all(client),
            audience,
            principals: Decisions::new(),
            rights: Decisions::new(),
        }
    }

    /// Returns who a token is of, if it is valid for this audience.
    pub(super) async fn principal(&self, token: &str) -> Result<Option<Principal>, ApiError> {
        self.principals.decide(cache::key(token.as_bytes()), self.review_token(token)).await
    }

    async fn review_token(&self, token: &str) -> Result<Option<Principal>, ApiError> {
        let spec = TokenReviewSpec { audiences: Some(vec![self.audience.clone()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let status = bounded(self.tokens.create(&PostParams::default(), &review)).await?.status.unwrap_or_default();
        // An authenticator that knows no audiences names none: its tokens are made for anybody.
        let is_ours = status.audiences.is_some_and(|it| it.contains(&self.audience));
        let user = status.user.filter(|_| status.authenticated == Some(true) && is_ours);
        Ok(user.and_then(|user| {
            let name = user.username.filter(|it| !it.is_empty())?;
            let account = name.strip_prefix(SERVICE_ACCOUNT).and_then(|it| it.split_once(':'));
            Some(Principal {
                namespace: account.map(|(namespace, _)| namespace.to_owned()),
                user: name,
                uid: user.uid,
                groups: user.groups.unwrap_or_default(),
                extra: user.extra.unwrap_or_default(),
            })
        }))
    }

    /// Returns whether somebody has a right.
    pub(super) async fn grants(&self, principal: &Principal, right: Right<'_>) -> Result<bool, ApiError> {
        let text = serde_json::to_vec(&(principal, right))
            .map_err(|error| ApiError::new(Code::Internal, "the right cannot be asked for").caused_by(error))?;
        let granted = self.rights.decide(cache::key(&text), self.review_access(principal, right)).await?;
        Ok(granted.is_some())
    }

    async fn review_access(&self, principal: &Principal, right: Right<'_>) -> Result<Option<()>, ApiError> {
        let attributes = ResourceAttributes {
            group: Some("imagebatch.io".to_owned()),
            version: Some("v1alpha1".to_owned()),
            resource: Some("imagebatches".to_owned()),
            verb: Some(right.verb.to_owned()),
            namespace: Some(right.namespace.to_owned()),
            name: right.name.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let Principal { user, uid, groups, extra, .. } = principal.clone();
        let spec = SubjectAccessReviewSpec {
            user: Some(user),
            uid,
            groups: Some(groups),
            extra: Some(extra),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let status = bounded(self.access.create(&PostParams::default(), &review)).await?.status;
        Ok(status.filter(|it| it.allowed && it.denied != Some(true)).map(|_| ()))
    }
}

/// Waits for a review as long as somebody may be kept waiting. Its error may hold what was sent, so only its
/// kind is logged.
async fn bounded<T>(review: impl Future<Output = kube::Result<T>>) -> Result<T, ApiError> {
    let unavailable = || {
        let detail = "the cluster's API server could not be asked who this is and what they may do; try again";
        ApiError::new(Code::ClusterUnavailable, detail)
    };
    match tokio::time::timeout(REVIEW, review).await {
        Ok(Ok(review)) => Ok(review),
        Ok(Err(kube::Error::Api(status))) => {
            Err(unavailable().caused_by(format!("the API server refused a review: {} {}", status.code, status.reason)))
        }
        Ok(Err(_)) => Err(unavailable().caused_by("failed to call the API server for a review")),
        Err(elapsed) => Err(unavailable().caused_by(elapsed)),
    }
}
