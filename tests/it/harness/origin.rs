//! A web server on loopback with the photographs of `tests/data/images`, and with paths that fail in
//! the ways that hosts of strangers fail. It counts its requests.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;

use super::bombs;

/// The server; ends with the test.
pub(crate) struct Origin {
    base: String,
    requests: Requests,
    mended: Mended,
    task: tokio::task::JoinHandle<()>,
}

type Requests = Arc<Mutex<HashMap<String, usize>>>;
type Mended = Arc<Mutex<HashSet<String>>>;

impl Origin {
    pub(crate) async fn start() -> Self {
        let requests = Requests::default();
        let mended = Mended::default();
        let state = (Arc::clone(&requests), Arc::clone(&mended));
        let router = Router::new().route("/{*path}", get(answer)).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.expect("the origin serves") });
        Self { base, requests, mended, task }
    }

    /// Returns the URL of a file of `tests/data/images`, or of one of the paths of [`answer`].
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    /// From now on `later/FILE` is that file; before it is 404.
    pub(crate) fn mend(&self, file: &str) {
        self.mended.lock().expect("not poisoned").insert(file.to_owned());
    }

    /// Returns how often a path was asked for.
    pub(crate) fn requests(&self, path: &str) -> usize {
        self.requests.lock().expect("not poisoned").get(path).copied().unwrap_or_default()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State((requests, mended)): State<(Requests, Mended)>, UrlPath(path): UrlPath<String>) -> Response {
    if let Some(file) = path.strip_prefix("later/")
        && !mended.lock().expect("not poisoned").contains(file)
    {
        *requests.lock().expect("not poisoned").entry(path).or_default() += 1;
        return StatusCode::NOT_FOUND.into_response();
    }
    let count = {
        let mut requests = requests.lock().expect("not poisoned");
        let count = requests.entry(path.clone()).or_default();
        *count += 1;
        *count
    };
    match path.as_str() {
        "fault/gone" => StatusCode::GONE.into_response(),
        "fault/forbidden" => StatusCode::FORBIDDEN.into_response(),
        "fault/teapot" => StatusCode::IM_A_TEAPOT.into_response(),
        "fault/broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "fault/overloaded" => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "3600")]).into_response(),
        "fault/twice" if count <= 2 => StatusCode::BAD_GATEWAY.into_response(),
        "fault/twice" => file("mountain-thumb.jpg").await,
        "fault/loop" => redirect("/fault/loop"),
        "fault/to-metadata" => redirect("http://169.254.169.254/latest/meta-data"),
        "fault/to-image" => redirect("/wall-clock.jpg"),
        "fault/stalls" => Body::from_stream(stream::pending::<Result<String, std::io::Error>>()).into_response(),
        // Announces more than it sends, and sends enough for the header to leave.
        "fault/short" => {
            let half = bytes::Bytes::from(vec![0_u8; 1 << 19]);
            let body = Body::from_stream(stream::iter([Ok::<_, std::io::Error>(half)]));
            ([(header::CONTENT_LENGTH, (1 << 20).to_string())], body).into_response()
        }
        "fault/endless" => {
            let chunk = bytes::Bytes::from(vec![0_u8; 1 << 16]);
            Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()))).into_response()
        }
        "bomb/gzip" => ([(header::CONTENT_ENCODING, "gzip")], bomb("gzip")).into_response(),
        "csv/good.csv" => csv("https://shop.example/1.jpg"),
        "csv/bad.csv" => csv("nothing"),
        "csv/page.csv" => "<!DOCTYPE html><html></html>".into_response(),
        path => match path.strip_prefix("bomb/") {
            Some(name) => bomb(name).into_response(),
            None => file(path.trim_start_matches("later/")).await,
        },
    }
}

fn bomb(name: &str) -> Vec<u8> {
    bombs::all().iter().find(|bomb| bomb.name == name).expect("a bomb").bytes.clone()
}

fn csv(image: &str) -> Response {
    format!("S. No.,Product Name,Input Image Urls\n1,Chair,{image}\n").into_response()
}

fn redirect(to: &str) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, to.to_owned())]).into_response()
}

async fn file(name: &str) -> Response {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/images");
    match tokio::fs::read(folder.join(name)).await {
        Ok(bytes) => bytes.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}
