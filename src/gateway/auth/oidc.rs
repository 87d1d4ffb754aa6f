//! JWTs of an OpenID Connect issuer, verified here: signature, issuer, audience and times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::args::OidcArgs;
use super::jwks::Jwks;
use super::principal::Principal;
use crate::gateway::error::ApiError;

/// What signatures may be of. Keys are public: a symmetric algorithm would let everybody sign.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// Seconds by which clocks may differ.
const LEEWAY: u64 = 30;
/// Names that only the API server gives.
const SYSTEM: &str = "system:";

type Claims = BTreeMap<String, Value>;

/// Verifies the JWTs of one issuer.
pub(super) struct Oidc {
    issuer: String,
    audience: String,
    username: Named,
    groups: Named,
    jwks: Arc<Jwks>,
}

/// A claim, and what is put before its value.
struct Named {
    claim: String,
    prefix: String,
}

#[derive(Deserialize)]
struct Issued {
    iss: String,
}

impl Oidc {
    pub(super) fn new(args: &OidcArgs) -> anyhow::Result<Self> {
        let issuer = args.oidc_issuer.clone().context("--oidc-issuer is missing")?;
        let fresh = Duration::from_secs(args.oidc_keys_seconds.into());
        // As tokens name it: a URL without a path is written without a slash mostly.
        let name = issuer.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            jwks: Arc::new(Jwks::new(&issuer, args.oidc_ca_file.as_deref(), fresh)?),
            issuer: name,
            audience: args.oidc_audience.clone().context("--oidc-audience is missing")?,
            username: Named { claim: args.oidc_username_claim.clone(), prefix: args.oidc_username_prefix.clone() },
            groups: Named { claim: args.oidc_groups_claim.clone(), prefix: args.oidc_groups_prefix.clone() },
        })
    }

    /// Returns whether a token says that it is of this issuer; nothing of it is verified.
    pub(super) fn is_issuer_of(&self, token: &str) -> bool {
        let issued = jsonwebtoken::dangerous::insecure_decode_claims::<Issued>(token);
        issued.is_ok_and(|it| it.iss.trim_end_matches('/') == self.issuer)
    }

    /// Returns who a token is of, if it is valid.
    pub(super) async fn principal(&self, token: &str) -> Result<Option<Principal>, ApiError> {
        let Ok(header) = decode_header(token) else { return Ok(None) };
        if !ALGORITHMS.contains(&header.alg) {
            return Ok(None);
        }
        let Some(jwk) = self.jwks.find(header.kid.as_deref()).await? else { return Ok(None) };
        if !fits(&jwk, header.alg) {
            return Ok(None);
        }
        let Ok(key) = DecodingKey::from_jwk(&jwk) else { return Ok(None) };
        let claims = decode::<Claims>(token, &key, &self.validation(header.alg));
        Ok(claims.ok().and_then(|it| self.principal_of(&it.claims)))
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[self.issuer.clone(), format!("{}/", self.issuer)]);
        validation.set_audience(&[&self.audience]);
        validation
    }

    fn principal_of(&self, claims: &Claims) -> Option<Principal> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str).filter(|it| !it.is_empty());
        let name = text(&self.username.claim)?;
        // Whoever may write any address in their profile would be anybody.
        if self.username.claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true)) {
            return None;
        }
        let user = format!("{}{name}", self.username.prefix);
        let groups = match claims.get(&self.groups.claim) {
            Some(Value::String(group)) => vec![group.clone()],
            Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let groups = groups.into_iter().map(|it| format!("{}{it}", self.groups.prefix));
        let groups = groups.filter(|it| !it.starts_with(SYSTEM)).collect();
        (!user.starts_with(SYSTEM)).then(|| Principal::foreign(user, groups, None))
    }
}

/// Returns whether a key is for signatures of that algorithm, as far as it says so.
fn fits(jwk: &Jwk, algorithm: Algorithm) -> bool {
    let same = |it: KeyAlgorithm| it.to_string() == format!("{algorithm:?}");
    jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
        && jwk.common.key_algorithm.is_none_or(same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn oidc(claim: &str, prefix: &str) -> Oidc {
        let named = |claim: &str| Named { claim: claim.to_owned(), prefix: prefix.to_owned() };
        let issuer = "https://issuer.example".parse().expect("a URL");
        Oidc {
            issuer: "https://issuer.example".to_owned(),
            audience: "imagebatch".to_owned(),
            username: named(claim),
            groups: named("groups"),
            jwks: Arc::new(Jwks::new(&issuer, None, Duration::MAX).expect("an issuer")),
        }
    }

    #[tokio::test]
    async fn nobody_takes_a_name_of_the_system() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let claims: Claims = serde_json::from_value(json!({
            "sub": "system:admin", "groups": ["system:masters", "shops"], "email": "a@shop.example",
        }))
        .expect("claims");
        assert_eq!(oidc("sub", "").principal_of(&claims), None);
        let principal = oidc("sub", "oidc:").principal_of(&claims).expect("a principal");
        assert_eq!(principal.user, "oidc:system:admin");
        assert_eq!(principal.groups, ["oidc:system:masters", "oidc:shops", "system:authenticated"]);
        assert_eq!(oidc("email", "").principal_of(&claims), None, "the address is not verified");
        assert_eq!(oidc("absent", "").principal_of(&claims), None);
        let verified: Claims = claims.into_iter().chain([("email_verified".to_owned(), Value::Bool(true))]).collect();
        let principal = oidc("email", "").principal_of(&verified).expect("a principal");
        assert_eq!((principal.user.as_str(), principal.groups[0].as_str()), ("a@shop.example", "shops"));
    }
}
