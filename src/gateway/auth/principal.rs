//! Who sends a request, in Kubernetes' words.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everybody, where nobody is authenticated.
const ANONYMOUS: &str = "anonymous";
/// The group of everybody who is authenticated, which the API server adds to those that it authenticates.
pub(super) const AUTHENTICATED: &str = "system:authenticated";

/// Who sends a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Principal {
    pub(crate) user: String,
    pub(crate) uid: Option<String>,
    pub(crate) groups: Vec<String>,
    /// What Kubernetes' authenticators know besides; authorizers may ask for it.
    pub(crate) extra: BTreeMap<String, Vec<String>>,
    /// Where its requests go that name no namespace.
    pub(crate) namespace: Option<String>,
}

impl Principal {
    pub(super) fn anonymous() -> Self {
        Self { user: ANONYMOUS.to_owned(), ..Self::default() }
    }

    /// Returns a user whom the API server has not seen.
    pub(super) fn foreign(user: String, mut groups: Vec<String>, namespace: Option<String>) -> Self {
        groups.push(AUTHENTICATED.to_owned());
        Self { user, groups, namespace, ..Self::default() }
    }
}
