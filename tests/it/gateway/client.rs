//! Clients of the gateway: one that speaks HTTP properly, and one that stops in the middle.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::PATIENCE;

/// Two rows, three images.
pub(super) const CSV: &str = "S. No.,Product Name,Input Image Urls\n\
    1,Bowl,https://shop.example/1.jpg\n\
    2,\"Clock, round\",\"https://shop.example/2.jpg, https://shop.example/3.jpg\"\n";
/// The type of a form made by [`form`].
pub(super) const FORM: &str = "multipart/form-data; boundary=frontier";

/// Returns a form with these parts, each a name and its content.
pub(super) fn form(parts: &[(&str, &[u8])]) -> Bytes {
    let mut form = Vec::new();
    for (name, content) in parts {
        let head = format!(
            "--frontier\r\ncontent-disposition: form-data; name=\"{name}\"; filename=\"products.csv\"\r\n\
             content-type: text/csv\r\n\r\n"
        );
        form.extend_from_slice(head.as_bytes());
        form.extend_from_slice(content);
        form.extend_from_slice(b"\r\n");
    }
    form.extend_from_slice(b"--frontier--\r\n");
    form.into()
}

/// Returns a valid CSV of exactly that many bytes.
pub(super) fn csv_of(bytes: usize) -> String {
    const ROW: usize = 100_000;
    let mut csv = "S. No.,Product Name,Input Image Urls,Notes\n".to_owned();
    while csv.len() < bytes {
        let left = bytes - csv.len();
        let row = "1,Bowl,https://shop.example/1.jpg,";
        let notes = if left < 2 * ROW { left } else { ROW } - row.len() - 1;
        csv.extend([row, &"n".repeat(notes), "\n"]);
    }
    csv
}

/// Asks a gateway.
pub(super) struct Asker {
    client: Client,
    url: String,
}

impl Asker {
    pub(super) fn new(url: &str) -> Self {
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().expect("the client has no special needs");
        Self { client, url: url.to_owned() }
    }

    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("the gateway answers")
    }

    /// Uploads a body of that type; the query begins with `?` or is empty.
    pub(super) async fn upload(&self, query: &str, kind: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.request(Method::POST, &format!("/v1/batches{query}")).header(CONTENT_TYPE, kind);
        request.body(body).send().await.expect("the gateway answers")
    }

    /// Uploads a CSV that is accepted, and returns its id.
    pub(super) async fn submit(&self, csv: &str) -> String {
        let response = self.upload("", "text/csv", csv.to_owned()).await;
        assert_eq!(response.status(), 202);
        json(response).await["id"].as_str().expect("an id").to_owned()
    }
}

pub(super) async fn json(response: Response) -> Value {
    response.json().await.expect("JSON")
}

/// Returns the problem document of a response that must have that status and code.
pub(super) async fn problem(response: Response, status: u16, code: &str) -> Value {
    let (url, got, headers) = (response.url().clone(), response.status(), response.headers().clone());
    let text = response.text().await.expect("a body");
    assert_eq!(got, status, "{url}: {text}");
    check_problem(&headers, &text, url.path(), code)
}

/// Checks what every problem document has, and returns it.
pub(super) fn check_problem(headers: &HeaderMap, text: &str, path: &str, code: &str) -> Value {
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json", "{text}");
    let document: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(document["code"], code, "{document:#}");
    assert_eq!(document["type"], format!("tag:imagebatch.io,2026:problem:{code}"), "{document:#}");
    assert_eq!(document["instance"], path, "{document:#}");
    assert_eq!(document["requestId"], headers["x-request-id"].to_str().expect("text"), "{document:#}");
    for member in ["title", "detail"] {
        assert!(document[member].as_str().is_some_and(|it| !it.is_empty()), "{member}: {document:#}");
    }
    document
}

/// Row, line, column and code of a problem.
pub(super) type Place<'a> = (Option<u64>, Option<u64>, Option<&'a str>, &'a str);

/// Returns where every problem of a refused CSV is.
pub(super) fn places(problem: &Value) -> Vec<Place<'_>> {
    let errors = problem["errors"].as_array().expect("a list").iter();
    errors
        .map(|it| {
            let code = it["code"].as_str().expect("a code");
            (it["row"].as_u64(), it["line"].as_u64(), it["column"].as_str(), code)
        })
        .collect()
}

/// A connection on which every byte is ours.
pub(super) struct Wire(BufReader<TcpStream>);

/// What came over the wire.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Wire {
    /// Connects and sends a request's head.
    pub(super) async fn open(url: &str, request_line: &str, headers: &[&str]) -> Self {
        let host = url.trim_start_matches("http://");
        let stream = TcpStream::connect(host).await.expect("the gateway listens");
        let mut wire = Self(BufReader::new(stream));
        let mut lines =
            vec![format!("{request_line} HTTP/1.1"), format!("host: {host}"), "connection: close".to_owned()];
        lines.extend(headers.iter().map(|it| (*it).to_owned()));
        wire.send(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes()).await;
        wire
    }

    /// Begins an upload and waits until the gateway asks for its body: from then on it is running.
    pub(super) async fn upload(url: &str, framing: &str, kind: &str) -> Self {
        let headers = [framing, &format!("content-type: {kind}"), "expect: 100-continue"];
        let mut wire = Self::open(url, "POST /v1/batches", &headers).await;
        let interim = wire.head().await;
        assert!(interim.starts_with("HTTP/1.1 100 "), "{interim}");
        wire
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        tokio::time::timeout(PATIENCE, self.0.write_all(bytes))
            .await
            .expect("the gateway reads")
            .expect("the connection stands");
    }

    /// Returns the answer, which ends with the connection.
    pub(super) async fn answer(mut self) -> Answer {
        let head = self.head().await;
        let mut lines = head.lines();
        let status = lines.next().and_then(|it| it.split(' ').nth(1)).and_then(|it| it.parse().ok());
        let mut headers = HeaderMap::new();
        for (name, value) in lines.filter_map(|it| it.split_once(": ")) {
            let name: reqwest::header::HeaderName = name.parse().expect("a header's name");
            headers.append(name, value.parse().expect("a header's value"));
        }
        let mut body = String::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_to_string(&mut body)).await;
        read.expect("the connection ends").expect("the body is whole");
        Answer { status: status.unwrap_or_else(|| panic!("a status in {head:?}")), headers, body }
    }

    async fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = tokio::time::timeout(PATIENCE, self.0.read_line(&mut head)).await;
            let bytes = read.expect("the gateway answers").expect("the connection stands");
            assert_ne!(bytes, 0, "the connection ended after {head:?}");
        }
        head
    }
}
