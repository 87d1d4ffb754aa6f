//! Two namespaces, in the first of which a user has all rights and a stranger none; the tokens of both for each
//! way to authenticate.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use imagebatch::gateway::auth::Auth;
use imagebatch::gateway::auth::api_key::{self, Owner, PEPPER, Pepper};
use imagebatch::gateway::auth::args::AuthArgs;
use imagebatch::gateway::state::{AppState, Settings};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use rcgen::KeyPair;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::gateway::surroundings::{serve, serve_router};
use crate::harness::{Harness, Running};

/// What is sent instead of a token.
pub(super) const MALFORMED: &str = "not.a.token";
const AUDIENCE: &str = "imagebatch";
const PEPPER_TEXT: &str = "0123456789abcdef0123456789abcdef";
/// Entry of the Secret that is revoked by [`World::revoke`].
const SHOP: &str = "shop";

/// One caller's tokens, or what looks like one.
pub(crate) struct Tokens {
    pub(super) mode: &'static str,
    pub(super) expired: String,
    pub(super) wrong_audience: String,
    pub(super) unauthorized: String,
    pub(crate) authorized: String,
}

/// Everything around the gateways of a test.
pub(crate) struct World {
    pub(crate) harness: Harness,
    /// The other namespace.
    pub(super) other: String,
    pub(super) issuer: Issuer,
}

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    auth: AuthArgs,
}

impl World {
    pub(crate) async fn start() -> Self {
        let harness = Harness::start().await;
        let other = format!("{}-b", harness.namespace);
        let namespace: Namespace = object(json!({ "metadata": { "name": other } }));
        create(Api::all(harness.client.clone()), &namespace).await;
        let world = Self { harness, other, issuer: Issuer::start().await };
        let rules = json!([{
            "apiGroups": ["imagebatch.io"],
            "resources": ["imagebatches"],
            "verbs": ["create", "delete", "get", "list", "patch"],
        }]);
        let a = world.harness.namespace.clone();
        let role: Role = object(json!({ "metadata": { "name": "user" }, "rules": rules }));
        create(world.api(&a), &role).await;
        let user = |name: String| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name });
        let binding: RoleBinding = object(json!({
            "metadata": { "name": "user" },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "user" },
            "subjects": [
                { "kind": "ServiceAccount", "name": "shop", "namespace": a },
                user(format!("oidc:shop-{a}")),
                user(format!("key-shop-{a}")),
            ],
        }));
        create(world.api(&a), &binding).await;
        for (namespace, name) in [(&a, "shop"), (&world.other, "stranger")] {
            let account: ServiceAccount = object(json!({ "metadata": { "name": name } }));
            create(world.api(namespace), &account).await;
        }
        world
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.harness.client.clone(), namespace)
    }

    /// Runs a gateway of both namespaces with further arguments.
    pub(super) async fn gateway(&self, arguments: &[&str]) -> (String, Running) {
        let arguments = ["test"].iter().chain(arguments);
        let args = Arguments::parse_from(arguments).auth;
        let a = &self.harness.namespace;
        let auth = Auth::connect(&args, &self.harness.client, a).await.expect("valid arguments");
        serve(self.state(auth)).await
    }

    /// Returns the arguments of a gateway that knows all ways.
    pub(super) fn arguments(&self) -> Vec<String> {
        vec![
            "--authentication=kubernetes,oidc,api-key".to_owned(),
            format!("--oidc-issuer={}", self.issuer.url),
            format!("--oidc-audience={AUDIENCE}"),
            "--api-keys-secret=keys".to_owned(),
            "--session-key=0123456789abcdef0123456789abcdef".to_owned(),
        ]
    }

    /// Runs a gateway that knows all ways, and has private images.
    pub(super) async fn private_gateway(&self) -> (String, Running) {
        let mut arguments = self.arguments();
        arguments.push("--private-images".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.gateway(&arguments).await
    }

    fn state(&self, auth: Arc<Auth>) -> AppState {
        let Harness { namespace, storage, records, client, .. } = &self.harness;
        let namespaces = vec![namespace.clone(), self.other.clone()];
        let settings = Settings { namespaces, ..self.harness.settings() };
        AppState::new(settings, auth, storage.clone(), records.clone(), client.clone())
    }

    /// Returns the tokens of each way.
    pub(super) async fn tokens(&self) -> [Tokens; 3] {
        [self.kubernetes().await, self.oidc(), self.api_keys().await]
    }

    async fn kubernetes(&self) -> Tokens {
        let a = &self.harness.namespace;
        let authorized = self.token(a, "shop", AUDIENCE).await;
        Tokens {
            mode: "kubernetes",
            expired: expired(&authorized),
            wrong_audience: self.token(a, "shop", "another").await,
            unauthorized: self.token(&self.other, "stranger", AUDIENCE).await,
            authorized,
        }
    }

    /// Asks the API server for a token of a ServiceAccount.
    async fn token(&self, namespace: &str, name: &str, audience: &str) -> String {
        let spec = TokenRequestSpec { audiences: vec![audience.to_owned()], ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let accounts = self.api::<ServiceAccount>(namespace);
        let made = accounts.create_token_request(name, &PostParams::default(), &request).await;
        made.expect("the API server makes tokens").status.expect("a token").token
    }

    fn oidc(&self) -> Tokens {
        let shop = format!("shop-{}", self.harness.namespace);
        let of = |sub: &str, aud: &str, seconds: i64| self.issuer.token(&self.issuer.claims(sub, aud, seconds));
        Tokens {
            mode: "oidc",
            expired: of(&shop, AUDIENCE, -600),
            wrong_audience: of(&shop, "another", 600),
            unauthorized: of("stranger", AUDIENCE, 600),
            authorized: of(&shop, AUDIENCE, 600),
        }
    }

    /// Makes the Secret of API keys.
    pub(crate) async fn api_keys(&self) -> Tokens {
        let (pepper, foreign) = (Pepper::new(PEPPER_TEXT.as_bytes()), Pepper::new(&[7; 32]));
        let (pepper, foreign) = (pepper.expect("a pepper"), foreign.expect("a pepper"));
        let a = &self.harness.namespace;
        let mut data = BTreeMap::from([(PEPPER.to_owned(), PEPPER_TEXT.to_owned())]);
        let mut key = |id: &str, user: String, hours: i64, pepper: &Pepper| {
            let expires = Timestamp::now() + SignedDuration::from_hours(hours);
            let owner = Owner { user, groups: Vec::new(), namespace: Some(a.clone()), expires };
            let (key, entry) = api_key::create(id, owner, pepper).expect("a key");
            data.insert(id.to_owned(), serde_json::to_string(&entry).expect("JSON"));
            key.expose_secret().to_owned()
        };
        let shop = format!("key-shop-{a}");
        let tokens = Tokens {
            mode: "api-key",
            expired: key("old", shop.clone(), -1, &pepper),
            // Keys have no audience: this one is of another installation.
            wrong_audience: key("foreign", shop.clone(), 1, &foreign),
            unauthorized: key("stranger", "key-stranger".to_owned(), 1, &pepper),
            authorized: key(SHOP, shop, 1, &pepper),
        };
        let secret: Secret = object(json!({ "metadata": { "name": "keys" }, "stringData": data }));
        create(self.api(a), &secret).await;
        tokens
    }

    /// Takes the authorized API key away.
    pub(super) async fn revoke(&self) {
        let patch = kube::api::Patch::Merge(json!({ "data": { SHOP: null } }));
        let secrets = self.api::<Secret>(&self.harness.namespace);
        secrets.patch("keys", &kube::api::PatchParams::default(), &patch).await.expect("the Secret is there");
    }
}

/// An OpenID Connect issuer on the loopback.
pub(crate) struct Issuer {
    pub(super) url: String,
    key: KeyPair,
    _server: Running,
}

impl Issuer {
    async fn start() -> Self {
        let key = KeyPair::generate().expect("a key");
        let [_, point @ ..] = key.public_key_raw() else { panic!("a point") };
        let (x, y) = point.split_at(point.len() / 2);
        let keys = json!({ "keys": [
            { "kty": "unknown", "kid": "other" },
            { "kty": "EC", "crv": "P-256", "kid": "first", "alg": "ES256", "use": "sig", "x": base64(x), "y": base64(y) },
        ] });
        // The document names the address, which is known once there is a server.
        let address = Arc::new(std::sync::OnceLock::<String>::new());
        let own = Arc::clone(&address);
        let discovery = move || {
            let url = own.get().cloned().unwrap_or_default();
            async move { Json(json!({ "issuer": url, "jwks_uri": format!("{url}/keys") })) }
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(|| async { Json(keys) }));
        let (url, server) = serve_router(router).await;
        address.set(url.clone()).expect("it is set once");
        Self { url, key, _server: server }
    }

    pub(super) fn claims(&self, sub: &str, aud: &str, seconds: i64) -> Value {
        let now = Timestamp::now().as_second();
        json!({ "iss": self.url, "sub": sub, "aud": aud, "exp": now + seconds, "nbf": now - 3_600 })
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        Self::token_of(claims, "first", &self.key)
    }

    pub(super) fn token_of(claims: &Value, kid: &str, key: &KeyPair) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &EncodingKey::from_ec_der(&key.serialize_der())).expect("a token")
    }
}

/// Returns a token of the API server as it was hours ago, signed by its key.
fn expired(token: &str) -> String {
    let mut claims: Value = jsonwebtoken::dangerous::insecure_decode_claims(token).expect("claims");
    let header = jsonwebtoken::decode_header(token).expect("a header");
    for claim in ["exp", "iat", "nbf"] {
        claims[claim] = (claims[claim].as_i64().expect("a time") - 24 * 3_600).into();
    }
    let state = PathBuf::from(std::env::var("KUBECONFIG").expect("a kubeconfig"));
    let pem = std::fs::read_to_string(state.with_file_name("pki/service-account.key")).expect("the services' key");
    let der = pem.lines().filter(|it| !it.starts_with('-')).collect::<String>();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, der).expect("PEM");
    let key = match header.alg {
        Algorithm::ES256 => EncodingKey::from_ec_der(&der),
        _ => EncodingKey::from_rsa_der(&der),
    };
    encode(&header, &claims, &key).expect("a token")
}

fn base64(bytes: &[u8]) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes)
}

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

async fn create<K>(api: Api<K>, object: &K)
where
    K: kube::Resource + Clone + serde::Serialize + DeserializeOwned + std::fmt::Debug,
{
    api.create(&PostParams::default(), object).await.expect("the API server accepts it");
}
