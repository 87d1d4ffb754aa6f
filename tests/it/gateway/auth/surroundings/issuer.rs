//! An OpenID Connect issuer on the loopback, which does what a test says.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::gateway::surroundings::serve_router;
use crate::harness::Running;

/// What an issuer does when it is asked for its keys.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::gateway::auth) enum Behaviour {
    Serves,
    Fails,
    Hangs,
}

/// An issuer.
pub(in crate::gateway::auth) struct Issuer {
    pub(in crate::gateway::auth) url: String,
    pub(in crate::gateway::auth) key: KeyPair,
    published: Arc<Mutex<Published>>,
    _server: Running,
}

/// What an issuer answers.
struct Published {
    keys: Vec<Value>,
    behaviour: Behaviour,
    times_asked: usize,
}

impl Issuer {
    pub(super) async fn start() -> Self {
        let published = Published { keys: Vec::new(), behaviour: Behaviour::Serves, times_asked: 0 };
        let published = Arc::new(Mutex::new(published));
        // The document names the address, which is known once there is a server.
        let address = Arc::new(std::sync::OnceLock::<String>::new());
        let own = Arc::clone(&address);
        let discovery = move || {
            let url = own.get().cloned().unwrap_or_default();
            async move { Json(json!({ "issuer": url, "jwks_uri": format!("{url}/keys") })) }
        };
        let source = Arc::clone(&published);
        let keys = move || {
            let (behaviour, keys) = {
                let mut published = source.lock().expect("it is not poisoned");
                published.times_asked += 1;
                (published.behaviour, Json(json!({ "keys": published.keys })))
            };
            async move {
                match behaviour {
                    Behaviour::Serves => Ok(keys),
                    Behaviour::Fails => Err(StatusCode::SERVICE_UNAVAILABLE),
                    Behaviour::Hangs => std::future::pending().await,
                }
            }
        };
        let router = Router::new().route("/.well-known/openid-configuration", get(discovery)).route("/keys", get(keys));
        let (url, server) = serve_router(router).await;
        address.set(url.clone()).expect("it is set once");
        let issuer = Self { url, key: KeyPair::generate().expect("a key"), published, _server: server };
        issuer.publish(&[("first", &issuer.key)]);
        issuer
    }

    /// Has these keys be its own, by their ids, and one of a kind that is not known.
    pub(in crate::gateway::auth) fn publish(&self, keys: &[(&str, &KeyPair)]) {
        let jwk = |(kid, key): &(&str, &KeyPair)| {
            let [_, point @ ..] = key.public_key_raw() else { panic!("a point") };
            let (x, y) = point.split_at(point.len() / 2);
            let (x, y) = (base64(x), base64(y));
            json!({ "kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "use": "sig", "x": x, "y": y })
        };
        let unknown = json!({ "kty": "unknown", "kid": "other" });
        self.published().keys = std::iter::once(unknown).chain(keys.iter().map(jwk)).collect();
    }

    pub(in crate::gateway::auth) fn set(&self, behaviour: Behaviour) {
        self.published().behaviour = behaviour;
    }

    /// Returns how often it was asked for its keys.
    pub(in crate::gateway::auth) fn times_asked(&self) -> usize {
        self.published().times_asked
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().expect("it is not poisoned")
    }

    pub(in crate::gateway::auth) fn claims(&self, sub: &str, aud: &str, seconds: i64) -> Value {
        let now = Timestamp::now().as_second();
        json!({ "iss": self.url, "sub": sub, "aud": aud, "exp": now + seconds, "nbf": now - 3_600 })
    }

    pub(in crate::gateway::auth) fn token(&self, claims: &Value) -> String {
        Self::token_of(claims, "first", &self.key)
    }

    pub(in crate::gateway::auth) fn token_of(claims: &Value, kid: &str, key: &KeyPair) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &EncodingKey::from_ec_der(&key.serialize_der())).expect("a token")
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}
