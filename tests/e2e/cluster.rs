//! The doors of the cluster: kubectl, the gateway's URL, and the database by a port-forward.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use mongodb::bson::{Document, doc};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);
const ORIGIN: &str = "http://origin.imagebatch-demo.svc.cluster.local:8080";

/// Returns what `tests/run e2e` says of the cluster.
pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by tests/run e2e"))
}

/// Runs kubectl in the demonstration's namespace and returns what it prints; fails with what it says.
pub(crate) fn kubectl(arguments: &[&str]) -> String {
    try_kubectl(arguments, "").unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
}

/// Runs kubectl with an input.
pub(crate) fn try_kubectl(arguments: &[&str], input: &str) -> Result<String, String> {
    let namespace = variable("DEMO_NAMESPACE");
    let arguments: Vec<&str> = ["--namespace", &namespace].iter().chain(arguments).copied().collect();
    run("kubectl", &arguments, input)
}

/// Runs a command with an input and returns what it prints, or what it complains of.
pub(crate) fn run(command: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(command)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command} is not in the path: {error}"));
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the input is read");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Upgrades the release to itself with other values.
pub(crate) fn helm_upgrade(values: &[&str]) {
    let upgrade = ["upgrade", "imagebatch", "charts/imagebatch", "--reuse-values", "--hide-notes"];
    let values = values.iter().flat_map(|it| ["--set", it]);
    helm_release(&upgrade.into_iter().chain(values).collect::<Vec<_>>());
}

/// Does something to the release, and waits until its controllers are the new ones.
pub(crate) fn helm_release(arguments: &[&str]) {
    let namespace = variable("DEMO_NAMESPACE");
    let all = ["--namespace", &namespace].into_iter().chain(arguments.iter().copied());
    let all: Vec<&str> = all.chain(["--wait", "--timeout=180s"]).collect();
    run("helm", &all, "").unwrap_or_else(|error| panic!("helm {arguments:?}: {error}"));
    kubectl(&["rollout", "status", "deployment/imagebatch-controller", "--timeout=120s"]);
}

/// Returns an object as JSON.
pub(crate) fn get(kind: &str, name: &str) -> Value {
    serde_json::from_str(&kubectl(&["get", kind, name, "--output=json"])).expect("JSON")
}

/// Returns the names of the objects with a label.
pub(crate) fn names(kinds: &str, selector: &str) -> Vec<String> {
    let listed = kubectl(&["get", kinds, "--selector", selector, "--output=name", "--ignore-not-found"]);
    listed.lines().map(str::to_owned).collect()
}

/// Waits until the probe answers true. The cluster offers no event for everything that is asked here.
pub(crate) async fn wait_until(what: &str, mut probe: impl FnMut() -> bool) {
    let start = Instant::now();
    while !probe() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}\n{}",
            kubectl(&["get", "imagebatches,jobs,pods"])
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits for the end of a batch as a user does, and returns it.
pub(crate) fn wait_finished(name: &str) -> Value {
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    kubectl(&["wait", "--for=condition=Finished", &timeout, &format!("imagebatch/{name}")]);
    get("imagebatch", name)
}

/// Returns the gateway's URL of a path.
pub(crate) fn url(path: &str) -> String {
    format!("{}{path}", variable("DEMO_URL"))
}

/// Returns the URL of a photograph at the cluster's web server.
pub(crate) fn origin(path: &str) -> String {
    format!("{ORIGIN}/{path}")
}

/// Returns the sample CSV of the demonstration.
pub(crate) fn sample_csv() -> String {
    let template = std::fs::read_to_string("tests/data/csv/sample.csv.in").expect("the sample");
    template.replace("@ORIGIN@", ORIGIN)
}

/// Returns a CSV of many photographs, large enough that pods run for seconds and are met while they do.
pub(crate) fn many(rows: usize, slots: usize) -> String {
    let mut csv = "S. No.,Product Name,Input Image Urls\n".to_owned();
    for row in 1..=rows {
        let urls: Vec<String> = (0..slots).map(|slot| origin(&format!("forest-stream.jpg?{row}-{slot}"))).collect();
        writeln!(csv, "{row},Postcard {row},\"{}\"", urls.join(",")).expect("a String grows");
    }
    csv
}

/// Uploads a CSV and returns the answer.
pub(crate) async fn upload(csv: String, query: &str) -> reqwest::Response {
    let client = reqwest::Client::new();
    let request = client.post(url(&format!("/v1/batches{query}"))).header("content-type", "text/csv").body(csv);
    request.send().await.expect("the gateway answers")
}

/// Uploads a CSV that is accepted and returns the request id.
pub(crate) async fn upload_accepted(csv: String, query: &str) -> String {
    let response = upload(csv, query).await;
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().expect("text").to_owned();
    let body: Value = response.json().await.expect("JSON");
    let id = body["id"].as_str().expect("an id").to_owned();
    assert_eq!(location, format!("/v1/batches/{id}"));
    id
}

/// Uploads a CSV under a request id of the client's own and returns the batch's.
pub(crate) async fn upload_as(request: &str, csv: String) -> String {
    let upload = reqwest::Client::new().post(url("/v1/batches")).header("content-type", "text/csv");
    let response = upload.header("x-request-id", request).body(csv).send().await.expect("the gateway answers");
    assert_eq!(response.status(), 202);
    let body: Value = response.json().await.expect("JSON");
    body["id"].as_str().expect("an id").to_owned()
}

/// Returns the documents of a batch in a collection.
pub(crate) async fn records(collection: &str, uid: &str) -> Vec<Document> {
    let (_forward, database) = database().await;
    let found = database.collection::<Document>(collection).find(doc! { "batch": uid }).await;
    found.expect("MongoDB answers").try_collect().await.expect("MongoDB answers")
}

/// A port-forward, which ends when it is dropped, or when nobody can hear any more what it says.
pub(crate) struct Forward {
    /// The port on this machine.
    pub(crate) port: u16,
    _process: Child,
    _lines: Lines<BufReader<ChildStdout>>,
}

impl Forward {
    /// Forwards a port to that of a Service.
    pub(crate) async fn to(namespace: &str, service: &str, port: u16) -> Self {
        let mut process = tokio::process::Command::new("kubectl")
            .args(["--namespace", namespace, "port-forward", &format!("service/{service}"), &format!(":{port}")])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("kubectl is in the path");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let line = lines.next_line().await.expect("kubectl speaks").expect("kubectl says where it forwards");
        let local = line.split(" -> ").next().and_then(|it| it.rsplit(':').next()).and_then(|it| it.parse().ok());
        Self { port: local.expect("Forwarding from 127.0.0.1:PORT -> PORT"), _process: process, _lines: lines }
    }
}

/// Returns the installation's database, as long as the port-forward lasts.
pub(crate) async fn database() -> (Forward, mongodb::Database) {
    let forward = Forward::to(&variable("DEMO_NAMESPACE"), "imagebatch-mongodb", 27_017).await;
    let secret = get("secret", "imagebatch-connection");
    let uri = secret["data"]["IMAGEBATCH_MONGODB_URI"].as_str().expect("a URI");
    let uri = String::from_utf8(base64(uri)).expect("text");
    let authority = uri.trim_start_matches("mongodb://");
    let host = authority.split(['@', '/']).find(|it| it.contains(":27017")).expect("a host");
    let authorities = get("configmap", "imagebatch-ca");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("imagebatch-ca.crt");
    std::fs::write(&file, authorities["data"]["ca.crt"].as_str().expect("PEM")).expect("it can be written");
    let uri = uri.replace(host, &format!("127.0.0.1:{}", forward.port));
    let uri = uri.replace("/etc/imagebatch/ca/ca.crt", file.to_str().expect("text"));
    let client = mongodb::Client::with_uri_str(uri).await.expect("a URI");
    (forward, client.database("imagebatch"))
}

pub(crate) fn base64(text: &str) -> Vec<u8> {
    let bytes: k8s_openapi::ByteString = serde_json::from_value(text.into()).expect("base64");
    bytes.0
}
