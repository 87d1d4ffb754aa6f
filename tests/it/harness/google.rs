//! Google Cloud Storage's XML API, played by the tests' S3 server: both have the same paths, lists and uploads in parts.
//! What differs is done here as Google documents it: who asks is told by a token or a URL that a service account's key
//! signed, a create-only put has a header of its own, and an object that is not there cannot be deleted.

use std::process::Command;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use serde_json::json;

use super::Running;

/// The service; ends with the test.
pub(crate) struct Google {
    pub(crate) url: String,
    /// The key of its one service account, as Google hands it out.
    pub(crate) key: String,
    _serving: Running,
}

struct Service {
    key: RsaKeyPair,
    upstream: String,
    credential: AwsCredential,
    client: reqwest::Client,
}

/// What is handed on; all else is between the S3 server and this.
const PASSED: [&str; 6] = ["content-type", "cache-control", "range", "if-match", "if-none-match", "if-modified-since"];

impl Google {
    pub(crate) async fn start() -> Self {
        let variable = |name: &str| std::env::var(name).expect("tests/run it sets it");
        let pem = new_key();
        let service = Arc::new(Service {
            key: parse(&pem),
            upstream: variable("IMAGEBATCH_S3_ENDPOINT"),
            credential: AwsCredential {
                key_id: variable("IMAGEBATCH_S3_ACCESS_KEY_ID"),
                secret_key: variable("IMAGEBATCH_S3_SECRET_ACCESS_KEY"),
                token: None,
            },
            client: reqwest::Client::builder().no_proxy().build().expect("a client"),
        });
        let router =
            Router::new().fallback(answer).with_state(service).layer(axum::extract::DefaultBodyLimit::disable());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serve = async move { axum::serve(listener, router).await.expect("it serves") };
        Self { url, key: account(&pem), _serving: Running(tokio::spawn(serve)) }
    }
}

/// Returns the file of a service account with a new key.
pub(crate) fn strange_account() -> String {
    account(&new_key())
}

fn account(pem: &str) -> String {
    json!({ "type": "service_account", "client_email": "it@it.iam.example", "private_key_id": "1", "private_key": pem })
        .to_string()
}

fn new_key() -> String {
    let made = Command::new("openssl").args(["genrsa", "2048"]).output().expect("openssl");
    String::from_utf8(made.stdout).expect("PEM")
}

fn parse(pem: &str) -> RsaKeyPair {
    let text: String = pem.lines().filter(|it| !it.starts_with("-----")).collect();
    RsaKeyPair::from_pkcs8(&BASE64_STANDARD.decode(text).expect("Base64")).expect("a key")
}

async fn answer(
    State(service): State<Arc<Service>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if uri.path().starts_with("/computeMetadata/v1/instance/service-accounts/default/token") {
        return service.token(&headers);
    }
    if !service.admits(&method, &uri, &headers) {
        let body = "<Error><Code>AuthenticationRequired</Code><Message>Authentication required.</Message></Error>";
        return (StatusCode::UNAUTHORIZED, body).into_response();
    }
    let mut passed: HeaderMap = PASSED
        .into_iter()
        .filter_map(|name| Some((HeaderName::from_static(name), headers.get(name)?.clone())))
        .collect();
    match headers.get("x-goog-if-generation-match").map(HeaderValue::as_bytes) {
        None => {}
        Some(b"0") => drop(passed.insert("if-none-match", "*".parse().expect("a value"))),
        Some(_) => return StatusCode::NOT_IMPLEMENTED.into_response(),
    }
    let query: Vec<&str> =
        uri.query().unwrap_or_default().split('&').filter(|it| !it.is_empty() && !it.starts_with("X-Goog-")).collect();
    // Google's client encodes all that is no letter or digit, S3's signatures want these plain.
    let plain = [("%2F", "/"), ("%2D", "-"), ("%2E", "."), ("%5F", "_")];
    let path = plain.iter().fold(uri.path().to_owned(), |path, (code, plain)| path.replace(code, plain));
    let target = format!("{}{path}?{}", service.upstream, query.join("&"));
    let is_upload = query.iter().any(|it| it.starts_with("uploadId="));
    if method == Method::DELETE && !is_upload {
        let found = service.ask(Method::HEAD, &target, &HeaderMap::new(), Bytes::new()).await;
        if found.status() == StatusCode::NOT_FOUND {
            return StatusCode::NOT_FOUND.into_response();
        }
    }
    service.ask(method, &target, &passed, body).await
}

impl Service {
    /// The metadata server's answer to who the machine is.
    fn token(&self, headers: &HeaderMap) -> Response {
        assert_eq!(headers["metadata-flavor"], "Google");
        let message = b"machine";
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("a signature");
        let token = format!("machine.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
        axum::Json(json!({ "access_token": token, "expires_in": 3600 })).into_response()
    }

    /// Whether the request is signed by the service account.
    fn admits(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.key.public_key());
        if let Some((_, token)) =
            headers.get("authorization").and_then(|it| it.to_str().ok()).and_then(|it| it.split_once("Bearer "))
        {
            let Some((message, signature)) = token.rsplit_once('.') else { return false };
            let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).expect("Base64");
            return key.verify(message.as_bytes(), &signature).is_ok();
        }
        let mut query: Vec<&str> = uri.query().unwrap_or_default().split('&').collect();
        let value =
            |name: &str| query.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned);
        let (Some(signature), Some(date)) = (value("X-Goog-Signature"), value("X-Goog-Date")) else { return false };
        query.retain(|it| !it.starts_with("X-Goog-Signature="));
        query.sort_unstable();
        let (path, query) = (uri.path(), query.join("&"));
        // Signed URLs name Google's host, also where another one is asked.
        let asked = format!("{method}\n{path}\n{query}\nhost:storage.googleapis.com\n\nhost\nUNSIGNED-PAYLOAD");
        let hash = hex::encode(digest(&SHA256, asked.as_bytes()));
        let scope = format!("{}/auto/storage/goog4_request", &date[..8]);
        let signed = format!("GOOG4-RSA-SHA256\n{date}\n{scope}\n{hash}");
        key.verify(signed.as_bytes(), &hex::decode(signature).expect("hexadecimal")).is_ok()
    }

    async fn ask(&self, method: Method, url: &str, headers: &HeaderMap, body: Bytes) -> Response {
        let mut request = Request::builder().method(&method).uri(url);
        request.headers_mut().expect("a request").extend(headers.clone());
        let mut request = request.body(HttpRequestBody::from(body.clone())).expect("a request");
        AwsAuthorizer::new(&self.credential, "s3", "us-east-1").try_authorize(&mut request, None).expect("a signature");
        let request = self.client.request(method, url).headers(request.headers().clone()).body(body);
        let answer = request.send().await.expect("the S3 server answers");
        let mut response = Response::builder().status(answer.status());
        response.headers_mut().expect("a response").extend(answer.headers().clone());
        response.body(Body::from_stream(answer.bytes_stream())).expect("a response")
    }
}
