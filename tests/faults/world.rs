//! The world outside of the cluster, played by this process: three good hosts, one that misbehaves in
//! every way, and a receiver of webhooks. Services without pods lead to it.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::cluster::{try_kubectl, url};

const HOSTS: [&str; 3] = ["shop-a", "shop-b", "shop-c"];
/// The host that misbehaves, how it does, and what becomes of its images.
const BAD_HOST: &str = "shop-bad";
const MISDEEDS: [(&str, &str); 6] = [
    ("stalls", "FetchTimeout"),
    ("trickles", "FetchTimeout"),
    ("lies-about-its-length", "BodyIncomplete"),
    ("redirects-for-ever", "RedirectRefused"),
    ("gzip-bomb", "FileTooLarge"),
    ("never-ends", "FileTooLarge"),
];
/// Images of a row.
const SLOTS: usize = 4;

/// A row of the CSV.
pub(crate) struct Row {
    pub(crate) urls: Vec<String>,
    /// What its images fail with, where they are meant to.
    pub(crate) reason: Option<&'static str>,
}

#[derive(Clone)]
struct Site {
    photograph: Bytes,
    bomb: Bytes,
    /// Whether the good hosts take their time, too.
    slow: Arc<AtomicBool>,
    hooks: Arc<Mutex<Vec<String>>>,
}

pub(crate) struct World {
    site: Site,
    task: tokio::task::JoinHandle<()>,
}

impl World {
    /// Serves on all addresses, and makes the Services that lead here.
    pub(crate) async fn start(slow: bool) -> Self {
        let photograph = std::fs::read("tests/data/images/mountain-thumb.jpg").expect("a photograph").into();
        let site = Site { photograph, bomb: bomb().await, slow: Arc::new(slow.into()), hooks: Arc::default() };
        let router = Router::new()
            .route("/photographs/{name}", get(show))
            .route("/misdeeds/{name}", get(misbehave))
            .route("/hook", post(take))
            .with_state(site.clone());
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("the world turns") });
        let address = std::env::var("DEMO_HOST").expect("DEMO_HOST is not set: run the tests by tests/run faults");
        for name in HOSTS.into_iter().chain([BAD_HOST]) {
            for object in service(name, &address, port) {
                try_kubectl(&["apply", "-f", "-"], &object.to_string()).expect("the Service is accepted");
            }
        }
        Self { site, task }
    }

    /// Lets the good hosts answer at once from here on.
    pub(crate) fn hurry(&self) {
        self.site.slow.store(false, Ordering::Relaxed);
    }

    /// Returns the ids of the webhooks that arrived, in their order.
    pub(crate) fn webhook_ids(&self) -> Vec<String> {
        self.site.hooks.lock().expect("not poisoned").clone()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.task.abort();
        for name in HOSTS.into_iter().chain([BAD_HOST]) {
            // What is left of it does not matter.
            let _ = try_kubectl(&["delete", "service", name], "");
            let _ = try_kubectl(&["delete", "endpointslice", name], "");
        }
    }
}

/// Returns a CSV of this many images, and its rows.
pub(crate) fn csv(images: usize, misdeeds: bool) -> (String, Vec<Row>) {
    let mut rows: Vec<Row> = (0..images.div_ceil(SLOTS))
        .map(|row| Row {
            urls: (row * SLOTS..images.min((row + 1) * SLOTS))
                .map(|image| at(HOSTS[image % HOSTS.len()], &format!("photographs/{image}.jpg")))
                .collect(),
            reason: None,
        })
        .collect();
    // In the middle, where the faults are.
    for (name, reason) in MISDEEDS.iter().filter(|_| misdeeds) {
        let row = Row { urls: vec![at(BAD_HOST, &format!("misdeeds/{name}"))], reason: Some(reason) };
        rows.insert(rows.len() / 2, row);
    }
    let mut csv = "S. No.,Product Name,Input Image Urls\n".to_owned();
    for (index, row) in rows.iter().enumerate() {
        writeln!(csv, "{index},Postcard {index},\"{}\"", row.urls.join(",")).expect("a String grows");
    }
    (csv, rows)
}

/// Uploads a CSV as a careful client does: again under the same key until it is accepted.
pub(crate) async fn upload(csv: &str) -> String {
    let key = uuid::Uuid::now_v7().to_string();
    let request = || {
        let request = reqwest::Client::new().post(url("/v1/batches"));
        let request = request.query(&[("parallelism", "4"), ("webhook", &at(HOSTS[0], "hook"))]);
        request.header("content-type", "text/csv").header("idempotency-key", &key).body(csv.to_owned()).send()
    };
    for _ in 0..20 {
        if let Ok(response) = request().await {
            let (status, body) = (response.status(), response.text().await.unwrap_or_default());
            if status == StatusCode::ACCEPTED {
                let answer: Value = serde_json::from_str(&body).expect("JSON");
                return answer["id"].as_str().expect("an id").to_owned();
            }
            assert!(status.is_server_error(), "{status}: {body}");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("the upload is not accepted");
}

/// A batch must not end before all faults have come, however fast the machine is.
async fn show(State(site): State<Site>) -> Bytes {
    if site.slow.load(Ordering::Relaxed) {
        // Below the time that a host has for its first byte.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }
    site.photograph
}

/// Returns the namespace of the installation.
pub(crate) fn namespace() -> String {
    std::env::var("DEMO_NAMESPACE").expect("DEMO_NAMESPACE is not set: run the tests by tests/run faults")
}

fn at(host: &str, path: &str) -> String {
    format!("http://{host}.{}.svc.cluster.local:8080/{path}", namespace())
}

fn service(name: &str, address: &str, port: u16) -> [Value; 2] {
    [
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name },
            "spec": { "ports": [{ "name": "http", "port": 8080, "targetPort": port }] } }),
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": name, "labels": { "kubernetes.io/service-name": name } },
            "ports": [{ "name": "http", "port": port }], "endpoints": [{ "addresses": [address] }] }),
    ]
}

async fn misbehave(State(site): State<Site>, Path(name): Path<String>) -> Response {
    let drops = |every: u64, bytes: usize| {
        stream::unfold((), move |()| async move {
            tokio::time::sleep(Duration::from_millis(every)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from(vec![0; bytes])), ()))
        })
    };
    match name.as_str() {
        "stalls" => std::future::pending().await,
        "trickles" => Body::from_stream(drops(500, 1)).into_response(),
        "lies-about-its-length" => {
            // Enough for the header to leave before the connection breaks off.
            let half = Bytes::from(vec![0; 1 << 19]);
            let body = Body::from_stream(stream::iter([Ok::<_, std::io::Error>(half)]));
            ([(header::CONTENT_LENGTH, (1 << 20).to_string())], body).into_response()
        }
        "redirects-for-ever" => (StatusCode::FOUND, [(header::LOCATION, "redirects-for-ever")]).into_response(),
        "gzip-bomb" => ([(header::CONTENT_ENCODING, "gzip")], site.bomb).into_response(),
        "never-ends" => Body::from_stream(drops(1, 1 << 16)).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Half a gigabyte of nothing.
async fn bomb() -> Bytes {
    let mut encoder = GzipEncoder::new(Vec::new());
    for _ in 0..512 {
        encoder.write_all(&vec![0; 1 << 20]).await.expect("a Vec grows");
    }
    encoder.shutdown().await.expect("a Vec grows");
    encoder.into_inner().into()
}

/// Refuses the first webhook, and takes the others.
async fn take(State(site): State<Site>, headers: HeaderMap) -> StatusCode {
    let mut hooks = site.hooks.lock().expect("not poisoned");
    hooks.push(headers["webhook-id"].to_str().expect("text").to_owned());
    if hooks.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
}
