//! Logs that go to a collector: the same lines as on standard error, with the same fields.

use std::collections::BTreeMap;
use std::path::Path;

use imagebatch::api::stage::Stage;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::collector::{Collector, ENDPOINT, attributes};
use super::{csv, log_file, until};
use crate::compressor::Batch;
use crate::harness::Harness;
use crate::harness::process::{Gateway, Process, append};
use crate::intake::{answer, post};
use crate::webhook::{OLD, create_secret, receiver};

/// What is said of a request, each line as its level, message and fields.
type Said = Vec<(String, String, BTreeMap<String, Value>)>;

/// Returns what a role wrote to standard error of a request.
fn written(path: &Path, request: &str) -> Said {
    let text = std::fs::read_to_string(path).expect("a log");
    let lines = text.lines().filter_map(|line| serde_json::from_str::<BTreeMap<String, Value>>(line).ok());
    let mut said: Said = lines
        .filter(|line| line.get("request_id").is_some_and(|it| it == request))
        .map(|mut line| {
            let mut take = |name: &str| line.remove(name).expect("each line has it").as_str().expect("text").to_owned();
            let (level, message) = (take("level"), take("message"));
            let _ = (take("target"), take("timestamp"));
            line.values_mut().for_each(round);
            (level, message, line)
        })
        .collect();
    sort(&mut said);
    said
}

/// Returns what a collector got from a role of a request.
fn sent(collector: &Collector, service: &str, request: &str) -> Said {
    let got = collector.got();
    let of_role = got.records.iter().filter(|(from, _)| from == service);
    let mut said: Said = of_role
        .map(|(_, record)| line_of(record))
        .filter(|it| it.2.get("request_id") == Some(&json!(request)))
        .collect();
    sort(&mut said);
    said
}

fn line_of(record: &LogRecord) -> (String, String, BTreeMap<String, Value>) {
    let mut fields: BTreeMap<String, Value> =
        attributes(&record.attributes).into_iter().map(|(name, value)| (name, plain(value))).collect();
    if !record.trace_id.is_empty() {
        assert_eq!(record.span_id.len(), 8, "a trace has spans");
        fields.insert("trace_id".to_owned(), hex::encode(&record.trace_id).into());
    }
    let level = match record.severity_number() {
        SeverityNumber::Debug => "DEBUG",
        SeverityNumber::Info => "INFO",
        SeverityNumber::Warn => "WARN",
        SeverityNumber::Error => "ERROR",
        other => panic!("{other:?} is no level of ours"),
    };
    fields.values_mut().for_each(round);
    assert_eq!(record.severity_text, level);
    assert!(record.time_unix_nano > 0 && record.observed_time_unix_nano > 0);
    let body = record.body.as_ref().and_then(|it| it.value.clone()).map(plain).expect("a message");
    (level.to_owned(), body.as_str().expect("text").to_owned(), fields)
}

fn plain(value: Any) -> Value {
    match value {
        Any::StringValue(text) => text.into(),
        Any::BoolValue(flag) => flag.into(),
        Any::IntValue(integer) => integer.into(),
        Any::DoubleValue(float) => float.into(),
        other => panic!("{other:?} is not sent"),
    }
}

/// Text does not always give back the last digit of a fraction.
fn round(value: &mut Value) {
    if let Some(float) = value.as_f64().filter(|_| !value.is_i64()) {
        *value = format!("{float:.6e}").into();
    }
}

fn sort(said: &mut Said) {
    said.sort_by_key(|it| serde_json::to_string(it).expect("JSON"));
}

#[tokio::test]
async fn all_lines_of_a_request_are_at_the_collector_with_their_fields() {
    let mut harness = Harness::start().await;
    let collector = Collector::start().await;
    create_secret(&harness, "imagebatch-webhook", "secret", OLD).await;
    let (hook, _, _receiver) = receiver(&[204]).await;
    let roles = ["gateway", "controller", "compressor"];
    let logs = roles.map(|role| log_file(&harness, role));
    // What is sent in time does not count here: all of it is left at the end.
    let settings = [
        (ENDPOINT, &*collector.url),
        ("IMAGEBATCH_LOG", "imagebatch=debug,info"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "3600000"),
    ];
    let mut gateway = Gateway::start_with(&harness, &settings, append(&logs[0])).await;
    // This one is killed, so it must send in time.
    let soon = [settings[0], settings[1], ("OTEL_BLRP_SCHEDULE_DELAY", "50")];
    let _controller = Process::controller_with(&harness, &soon, append(&logs[1]));
    harness.pod_log = Some(logs[2].clone());
    harness.pod_variables = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();

    let request = format!("find-me-{}", harness.namespace);
    let csv = csv(&harness, &["mountain-thumb.jpg", "page.jpg"]);
    let upload = post(&gateway.url, &format!("?webhook={hook}")).header("x-request-id", &request).body(csv);
    let (status, body) = answer(upload).await;
    assert_eq!(status, 202, "{body}");
    let name = body["id"].as_str().expect("an id");
    harness.run_job(name, Stage::Run).await;
    harness.wait_finished(name).await;
    gateway.process.send(Signal::TERM);
    assert!(gateway.process.ended().await.success());

    for (role, path) in roles.iter().zip(&logs) {
        let service = format!("imagebatch-{role}");
        // The controller goes on speaking of the batch, and each of its lines is there a little later.
        until("every line is there", async || {
            (written(path, &request) == sent(&collector, &service, &request)).then_some(())
        })
        .await;
        let said = written(path, &request);
        assert!(!said.is_empty(), "{role} says nothing of {request}");
        assert!(said.iter().all(|it| it.2.contains_key("trace_id") || *role == "controller"), "{said:#?}");
        std::fs::remove_file(path).expect("it can be removed");
    }
    let got = collector.got();
    let secrets = ["IMAGEBATCH_S3_SECRET_ACCESS_KEY", "IMAGEBATCH_MONGODB_URI"].map(|it| &*harness.environment()[it]);
    for (service, record) in &got.records {
        let text = format!("{record:?}");
        assert!(secrets.iter().chain(&[OLD]).all(|it| !text.contains(it)), "{service}: {text}");
    }
    let from: BTreeMap<&str, usize> = got.records.iter().fold(BTreeMap::new(), |mut from, (service, _)| {
        *from.entry(service.as_str()).or_default() += 1;
        from
    });
    assert_eq!(from.len(), roles.len(), "{from:?}");
}

#[tokio::test]
async fn lines_can_be_sent_without_traces_and_traces_without_lines() {
    let mut harness = Harness::start().await;
    for (exporter, lines, spans) in [("OTEL_TRACES_EXPORTER", true, false), ("OTEL_LOGS_EXPORTER", false, true)] {
        let collector = Collector::start().await;
        harness.pod_variables = [(ENDPOINT, &*collector.url), (exporter, "none")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        Batch::of_products(&harness, &[&["mountain-thumb.jpg"]]).succeed(&["run"]).await;
        let got = collector.got();
        assert_eq!((!got.records.is_empty(), !got.spans.is_empty()), (lines, spans), "{exporter}=none");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_is_complained_of_once() {
    let mut harness = Harness::start().await;
    let log = log_file(&harness, "compressor");
    harness.pod_log = Some(log.clone());
    harness.pod_variables =
        [(ENDPOINT, "http://127.0.0.1:1"), ("OTEL_BLRP_SCHEDULE_DELAY", "1"), ("OTEL_BSP_SCHEDULE_DELAY", "1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
    Batch::of_products(&harness, &[&["mountain-thumb.jpg"]]).succeed(&["run"]).await;
    let text = std::fs::read_to_string(&log).expect("a log");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let complaints: Vec<Value> =
        lines.filter(|it| it["target"].as_str().is_some_and(|it| it.starts_with("opentelemetry"))).collect();
    assert_eq!(complaints.len(), 1, "{complaints:#?}");
    std::fs::remove_file(&log).expect("it can be removed");
}

#[tokio::test]
async fn what_the_sending_says_is_not_sent() {
    let harness = Harness::start().await;
    let collector = Collector::start().await;
    let log = log_file(&harness, "gateway");
    // The clients of the stores and of the API server speak as well, which begets the sendings.
    let level = ("IMAGEBATCH_LOG", "hyper_util=trace,reqwest=trace,info");
    let settings = [(ENDPOINT, &*collector.url), level, ("OTEL_BLRP_SCHEDULE_DELAY", "50")];
    let mut gateway = Gateway::start_with(&harness, &settings, append(&log)).await;
    let address = collector.url.trim_start_matches("http://");
    let said = || std::fs::read_to_string(&log).expect("a log").lines().filter(|it| it.contains(address)).count();
    until("the client says where it sends to, again and again", async || {
        reqwest::get(format!("{}/readyz", gateway.ops_url)).await.expect("the gateway answers");
        (said() > 10).then_some(())
    })
    .await;
    gateway.process.send(Signal::TERM);
    assert!(gateway.process.ended().await.success());
    let got = collector.got();
    let (about, others): (Vec<_>, Vec<_>) = got.records.iter().partition(|it| format!("{it:?}").contains(address));
    assert!(about.is_empty() && !others.is_empty(), "{} of {}: {:#?}", about.len(), got.records.len(), about.first());
    std::fs::remove_file(&log).expect("it can be removed");
}

#[tokio::test]
async fn a_collector_that_hangs_costs_records_and_no_line() {
    let mut harness = Harness::start().await;
    // It takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let log = log_file(&harness, "compressor");
    harness.pod_log = Some(log.clone());
    harness.pod_variables = [
        (ENDPOINT, &*url),
        ("IMAGEBATCH_LOG", "imagebatch=debug,info"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    Batch::of_products(&harness, &[&["mountain-thumb.jpg"]]).succeed(&["run"]).await;
    let text = std::fs::read_to_string(&log).expect("a log");
    for message in ["ingested", "compressing", "image done", "reported", "failed to send the last lines"] {
        assert!(text.contains(&format!("\"message\":\"{message}\"")), "{message:?} is not in {text}");
    }
    assert_eq!(text.matches("due to queue full").count(), 1, "{text}");
    std::fs::remove_file(&log).expect("it can be removed");
}
