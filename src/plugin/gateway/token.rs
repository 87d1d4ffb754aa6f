//! As whom the gateway is spoken to. It takes a token of the cluster only where that is made for its audience, and a
//! client certificate, which kind and minikube give, not at all: a ServiceAccount's token takes its place.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use kube::client::{Body, ConfigExt};
use secrecy::SecretString;
use serde::Deserialize;
use tower::{BoxError, Layer, ServiceExt, service_fn};
use url::{Host, Url};

use super::GatewayArgs;
use super::find::Found;
use crate::plugin::cluster::{Cluster, bounded};

/// Seconds that a token is valid which is made here; Kubernetes makes none for less.
const VALID: i64 = 600;
/// Longest time for a program that the kubeconfig names to give a token; it may ask its user.
const PROGRAM: Duration = Duration::from_secs(300);
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// What is sent to a gateway, and what it is, for hints.
pub(crate) struct Token {
    pub(crate) token: SecretString,
    pub(crate) of: String,
}

/// Returns what a gateway is sent that its pods tell of.
pub(super) async fn for_pods(cluster: &Cluster, args: &GatewayArgs, found: &Found) -> anyhow::Result<Option<Token>> {
    if found.modes.iter().any(|it| it == "none") {
        return Ok(None);
    }
    if let Some(token) = given(cluster, args, &found.audience).await? {
        return Ok(Some(token));
    }
    let knows = |mode: &str| found.modes.iter().any(|it| it == mode);
    let own = from_kubeconfig(cluster).await?;
    match own {
        Some(token) if knows("oidc") && !is_of_service_account(&token) => Ok(Some(own_token(token))),
        Some(token) if knows("kubernetes") => match account_to_ask_for(&token, &found.audience) {
            Some((namespace, name)) => request(cluster, &namespace, &name, &found.audience).await.map(Some),
            None => Ok(Some(own_token(token))),
        },
        None if knows("kubernetes") => request(cluster, &cluster.namespace, "default", &found.audience).await.map(Some),
        _ => bail!(
            "the gateway knows its callers by {}, for which the kubeconfig has nothing: give a token or an API key by \
             --gateway-token-file",
            found.modes.join(" and ")
        ),
    }
}

/// Returns what is sent to a URL. The kubeconfig's token goes out encrypted, or to this machine alone.
pub(super) async fn for_url(cluster: &Cluster, args: &GatewayArgs, url: &Url) -> anyhow::Result<Option<Token>> {
    if let Some(token) = given(cluster, args, &args.gateway_audience).await? {
        return Ok(Some(token));
    }
    let is_loopback = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() != "https" && !is_loopback {
        return Ok(None);
    }
    Ok(from_kubeconfig(cluster).await?.map(own_token))
}

/// Returns what the options name.
async fn given(cluster: &Cluster, args: &GatewayArgs, audience: &str) -> anyhow::Result<Option<Token>> {
    if let Some(path) = &args.gateway_token_file {
        return read(path).map(Some);
    }
    match &args.gateway_service_account {
        Some(name) => request(cluster, &cluster.namespace, name, audience).await.map(Some),
        None => Ok(None),
    }
}

fn read(path: &Path) -> anyhow::Result<Token> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).with_context(|| format!("--gateway-token-file: failed to read {shown}"))?;
    let token = text.trim();
    if token.is_empty() {
        bail!("--gateway-token-file: {shown} is empty");
    }
    Ok(Token { token: token.to_owned().into(), of: format!("the token in {shown}") })
}

fn own_token(token: String) -> Token {
    Token { token: token.into(), of: "the kubeconfig's token".to_owned() }
}

/// Has the API server make a token of a ServiceAccount for the gateway alone.
async fn request(cluster: &Cluster, namespace: &str, name: &str, audience: &str) -> anyhow::Result<Token> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client.clone(), namespace);
    let spec = TokenRequestSpec {
        audiences: vec![audience.to_owned()],
        expiration_seconds: Some(VALID),
        ..TokenRequestSpec::default()
    };
    let asked = TokenRequest { spec, ..TokenRequest::default() };
    let what = format!(
        "make a token of ServiceAccount {name:?} in namespace {namespace:?} for the gateway; name another by \
         --gateway-service-account, or give a token by --gateway-token-file"
    );
    let made = bounded(&what, accounts.create_token_request(name, &PostParams::default(), &asked)).await?;
    let token = made.status.map(|it| it.token).filter(|it| !it.is_empty());
    let token = token.with_context(|| format!("the API server made no token of ServiceAccount {name:?}"))?;
    Ok(Token { token: token.into(), of: format!("ServiceAccount {name:?} of namespace {namespace:?}") })
}

/// Returns the token that the kubeconfig sends to the API server, if it sends one.
async fn from_kubeconfig(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    let failed = "the kubeconfig's token cannot be had";
    let Some(layer) = cluster.config.auth_layer().context(failed)? else { return Ok(None) };
    // The layer that signs requests knows all ways to a token; what it writes is read from a request that goes nowhere.
    let echo = service_fn(async |request: Request<Body>| {
        let header = request.headers().get(AUTHORIZATION).cloned();
        let mut response = Response::new(());
        response.extensions_mut().insert(header);
        Ok::<_, BoxError>(response)
    });
    let signed = layer.layer(echo).oneshot(Request::new(Body::empty()));
    let response = tokio::time::timeout(PROGRAM, signed).await.context(failed)?;
    let response = response.map_err(|error| anyhow::anyhow!("{failed}: {error}"))?;
    let header = response.extensions().get::<Option<http::HeaderValue>>().cloned().flatten();
    let header = header.as_ref().and_then(|it| it.to_str().ok()).unwrap_or_default();
    Ok(header.strip_prefix("Bearer ").map(str::to_owned))
}

/// What a JSON web token says of itself.
#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: serde_json::Value,
}

/// Reads a token's claims; whoever it is sent to checks them.
fn claims(token: &str) -> Option<Claims> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&payload).ok()
}

fn is_of_service_account(token: &str) -> bool {
    claims(token).is_some_and(|it| it.sub.starts_with(SERVICE_ACCOUNT))
}

/// Returns namespace and name of a token's ServiceAccount, where the token is not made for the audience.
fn account_to_ask_for(token: &str, audience: &str) -> Option<(String, String)> {
    let Claims { sub, aud } = claims(token)?;
    let is_ours = match &aud {
        serde_json::Value::String(one) => one == audience,
        serde_json::Value::Array(all) => all.iter().any(|it| it == audience),
        _ => false,
    };
    let (namespace, name) = sub.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (!is_ours).then(|| (namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &serde_json::Value) -> String {
        format!("e30.{}.signature", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn a_service_account_asks_for_a_token_of_the_gateways_audience() {
        let sub = "system:serviceaccount:shop:uploader";
        let account = Some(("shop".to_owned(), "uploader".to_owned()));
        for (claims, expected) in [
            (serde_json::json!({ "sub": sub, "aud": ["https://kubernetes.default.svc"] }), account.clone()),
            (serde_json::json!({ "sub": sub }), account),
            (serde_json::json!({ "sub": sub, "aud": ["a", "imagebatch"] }), None),
            (serde_json::json!({ "sub": sub, "aud": "imagebatch" }), None),
            (serde_json::json!({ "sub": "jane", "aud": "kubernetes" }), None),
        ] {
            assert_eq!(account_to_ask_for(&token(&claims), "imagebatch"), expected, "{claims}");
        }
        assert!(account_to_ask_for("no-jwt", "imagebatch").is_none());
    }
}
