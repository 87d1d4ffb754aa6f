//! Two namespaces, in the first of which a user has all rights and a stranger none; the tokens of both for each
//! way to authenticate.

pub(super) mod issuer;

use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use imagebatch::api::api_key::{self, Owner};
use imagebatch::gateway::auth::Auth;
use imagebatch::gateway::auth::args::AuthArgs;
use imagebatch::gateway::state::{AppState, Settings};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, EncodingKey, encode};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::PostParams;
use reqwest::{Method, Response};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use issuer::Issuer;

use crate::gateway::client::Asker;
use crate::gateway::surroundings::serve;
use crate::harness::{Harness, Running};

/// What is sent instead of a token.
pub(super) const MALFORMED: &str = "not.a.token";
const AUDIENCE: &str = "imagebatch";
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
        self.gateway_with(self.harness.settings(), arguments).await
    }

    async fn gateway_with(&self, settings: Settings, arguments: &[&str]) -> (String, Running) {
        let arguments = ["test"].iter().chain(arguments);
        let args = Arguments::parse_from(arguments).auth;
        let a = &self.harness.namespace;
        let auth = Auth::connect(&args, &self.harness.client, a).await.expect("valid arguments");
        serve(self.state(auth, settings)).await
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
        self.private_gateway_with(self.harness.settings()).await
    }

    /// Runs the same with other settings.
    pub(super) async fn private_gateway_with(&self, settings: Settings) -> (String, Running) {
        let mut arguments = self.arguments();
        arguments.push("--private-images".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        self.gateway_with(settings, &arguments).await
    }

    fn state(&self, auth: Arc<Auth>, settings: Settings) -> AppState {
        let Harness { namespace, storage, records, client, .. } = &self.harness;
        let namespaces = vec![namespace.clone(), self.other.clone()];
        let settings = Settings { namespaces, ..settings };
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
        let a = &self.harness.namespace;
        let (mut ours, mut foreign) = (Secret::default(), Secret::default());
        ours.metadata.name = Some("keys".to_owned());
        let key = |secret: &mut Secret, id: &str, user: &str, hours: i64| {
            let expires = Timestamp::now() + SignedDuration::from_hours(hours);
            let owner = Owner { user: user.to_owned(), groups: Vec::new(), namespace: Some(a.clone()), expires };
            api_key::add(secret, id, owner).expect("a key").expose_secret().to_owned()
        };
        let shop = format!("key-shop-{a}");
        key(&mut ours, "foreign", &shop, 1);
        let tokens = Tokens {
            mode: "api-key",
            expired: key(&mut ours, "old", &shop, -1),
            // Keys have no audience: this one is of another installation, with the id of one of ours.
            wrong_audience: key(&mut foreign, "foreign", &shop, 1),
            unauthorized: key(&mut ours, "stranger", "key-stranger", 1),
            authorized: key(&mut ours, SHOP, &shop, 1),
        };
        create(self.api(a), &ours).await;
        tokens
    }

    /// Takes the authorized API key away.
    pub(super) async fn revoke(&self) {
        let secrets = self.api::<Secret>(&self.harness.namespace);
        let mut keys = secrets.get("keys").await.expect("the Secret is there");
        assert!(api_key::remove(&mut keys, SHOP));
        secrets.replace("keys", &PostParams::default(), &keys).await.expect("nobody else writes it");
    }
}

/// Asks a gateway with a token.
pub(super) async fn ask(gateway: &Asker, method: Method, path: &str, token: &str) -> Response {
    gateway.request(method, path).bearer_auth(token).send().await.expect("the gateway answers")
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

fn object<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("an object")
}

async fn create<K>(api: Api<K>, object: &K)
where
    K: kube::Resource + Clone + serde::Serialize + DeserializeOwned + std::fmt::Debug,
{
    api.create(&PostParams::default(), object).await.expect("the API server accepts it");
}
