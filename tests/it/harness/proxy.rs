//! A proxy between a controller and the API server: it counts the requests, and fails in the ways that an API
//! server, or what stands before it, fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use imagebatch::controller::client;
use kube::{Client, Config};
use tokio::sync::watch;

use super::Running;

/// What the API server says when a watch asks for a past that it has forgotten.
const GONE: &str = concat!(
    r#"{"type":"ERROR","object":{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);
const OVERLOADED: &str = r#"{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","message":"overloaded","reason":"TooManyRequests","code":429}"#;
const UNAVAILABLE: &str = r#"{"apiVersion":"v1","kind":"Status","metadata":{},"status":"Failure","message":"starting","reason":"ServiceUnavailable","code":503}"#;

/// The proxy; ends with the test.
pub(crate) struct Proxy {
    url: String,
    doing: Arc<Doing>,
    _serving: Running,
}

struct Doing {
    upstream: Client,
    requests: Mutex<BTreeMap<String, usize>>,
    is_storm: AtomicBool,
    refused: AtomicUsize,
    /// How often watches were cut, and whether the last time was abrupt.
    cuts: watch::Sender<(usize, bool)>,
    forgets: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy to the tests' API server.
    pub(crate) async fn start() -> Self {
        let mut config = Config::infer().await.expect("a kubeconfig");
        // What it sees is what the API server says.
        config.default_retry = false;
        let doing = Arc::new(Doing {
            upstream: Client::try_from(config).expect("a client"),
            requests: Mutex::default(),
            is_storm: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            cuts: watch::Sender::new((0, false)),
            forgets: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&doing));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serve = async move { axum::serve(listener, router).await.expect("the proxy serves") };
        Self { url, doing, _serving: Running(tokio::spawn(serve)) }
    }

    /// Returns the controller's client, which speaks to the API server through the proxy.
    pub(crate) fn client(&self) -> Client {
        client::build(Config::new(self.url.parse().expect("a URL"))).expect("a client")
    }

    /// Returns how many requests there were of each kind, as `PATCH imagebatches/status`.
    pub(crate) fn requests(&self) -> BTreeMap<String, usize> {
        self.doing.requests.lock().expect("not poisoned").clone()
    }

    /// From now on, or no more, every request is answered by 429 or 503.
    pub(crate) fn storm(&self, is_storm: bool) {
        self.doing.is_storm.store(is_storm, Ordering::Relaxed);
    }

    /// Returns how many requests were refused.
    pub(crate) fn refused(&self) -> usize {
        self.doing.refused.load(Ordering::Relaxed)
    }

    /// Ends all watches, abruptly or as a server does that shuts down; returns how many.
    pub(crate) fn cut_watches(&self, is_abrupt: bool) -> usize {
        let watches = self.doing.cuts.receiver_count();
        self.doing.cuts.send_modify(|cuts| *cuts = (cuts.0 + 1, is_abrupt));
        watches
    }

    /// The next watches, that many, are told that their past is forgotten: they have to list anew.
    pub(crate) fn forget(&self, watches: usize) {
        self.doing.forgets.store(watches, Ordering::Relaxed);
    }

    /// Whether all of them have been told.
    pub(crate) fn has_forgotten(&self) -> bool {
        self.doing.forgets.load(Ordering::Relaxed) == 0
    }
}

async fn pass(State(doing): State<Arc<Doing>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let is_watch = parts.uri.query().is_some_and(|it| it.contains("watch=true"));
    let kind = kind(parts.method.as_str(), parts.uri.path(), is_watch);
    *doing.requests.lock().expect("not poisoned").entry(kind).or_default() += 1;
    if doing.is_storm.load(Ordering::Relaxed) {
        let json = (header::CONTENT_TYPE, "application/json".to_owned());
        return if doing.refused.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            (StatusCode::TOO_MANY_REQUESTS, [json, (header::RETRY_AFTER, "1".to_owned())], OVERLOADED).into_response()
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, [json], UNAVAILABLE).into_response()
        };
    }
    let less = |left: usize| left.checked_sub(1);
    if is_watch && doing.forgets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
        return ([(header::CONTENT_TYPE, "application/json")], GONE).into_response();
    }
    let path = parts.uri.path_and_query().expect("a path").as_str();
    let mut forwarded = http::Request::builder().method(parts.method).uri(path);
    for name in [header::CONTENT_TYPE, header::ACCEPT] {
        if let Some(value) = parts.headers.get(&name) {
            forwarded = forwarded.header(name, value);
        }
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("the body arrives");
    let forwarded = forwarded.body(kube::client::Body::from(body.to_vec())).expect("a request");
    let (parts, body) = doing.upstream.send(forwarded).await.expect("the API server answers").into_parts();
    let mut response = Response::builder().status(parts.status);
    for name in [header::CONTENT_TYPE, header::RETRY_AFTER] {
        if let Some(value) = parts.headers.get(&name) {
            response = response.header(name, value);
        }
    }
    if !is_watch {
        return response.body(Body::new(body)).expect("a response");
    }
    let mut cuts = doing.cuts.subscribe();
    let until = async move { cuts.changed().await };
    let end = async move { doing.cuts.borrow().1.then(|| Err("the connection is cut".into())) };
    let end = stream::once(end).filter_map(std::future::ready);
    let events = body.into_data_stream().map(|it| it.map_err(Into::<axum::BoxError>::into));
    response.body(Body::from_stream(events.take_until(Box::pin(until)).chain(end))).expect("a response")
}

/// `GET /apis/batch/v1/namespaces/it/jobs` is `GET jobs`, its watch `WATCH jobs`.
fn kind(method: &str, path: &str, is_watch: bool) -> String {
    let words: Vec<&str> = path.trim_matches('/').split('/').collect();
    // Behind the version, and the namespace where there is one: resource, name, subresource.
    let version = if words[0] == "api" { 1 } else { 2 };
    let rest = &words[version + 1..];
    let rest = if rest.len() > 2 && rest[0] == "namespaces" { &rest[2..] } else { rest };
    let resource = rest.iter().take(1).chain(rest.iter().skip(2)).copied().collect::<Vec<_>>().join("/");
    format!("{} {resource}", if is_watch { "WATCH" } else { method })
}
