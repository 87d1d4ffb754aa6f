//! Traces: one of them goes from the upload to each image, through all roles.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;

use imagebatch::api::stage::Stage;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::collector::{Collector, ENDPOINT, attributes};
use super::{csv, until};
use crate::compressor::Batch;
use crate::harness::process::{Gateway, Process};
use crate::harness::{Harness, PATIENCE};
use crate::intake::{answer, post};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn attribute(span: &Span, key: &str) -> Option<Value> {
    attributes(&span.attributes).remove(key)
}

/// Returns what is below a span, a line each: when it began, how long it took, its name, and who sent it. This is what
/// docs/observability.md shows.
fn tree(trace: &[(String, Span)], parent: &str, indent: &str) -> String {
    let begin = trace.iter().map(|(_, span)| span.start_time_unix_nano).min().unwrap_or_default();
    let milliseconds = |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from)).as_secs_f64() * 1e3;
    let mut children: Vec<_> = trace.iter().filter(|(_, it)| hex::encode(&it.parent_span_id) == parent).collect();
    children.sort_by_key(|(_, span)| span.start_time_unix_nano);
    let mut text = String::new();
    for (service, span) in children {
        let (from, to) = (span.start_time_unix_nano, span.end_time_unix_nano);
        let said = |key| match attribute(span, key) {
            Some(Value::StringValue(text)) => format!(" {key}={text}"),
            Some(Value::IntValue(integer)) => format!(" {key}={integer}"),
            _ => String::new(),
        };
        let said: String = ["url", "outcome", "reason", "bytes_in", "bytes_out"].map(said).concat();
        let (at, long) = (milliseconds(begin, from), milliseconds(from, to));
        writeln!(text, "{at:8.1} {long:8.1}  {indent}{}  {service}{said}", span.name).expect("a String grows");
        text += &tree(trace, &hex::encode(&span.span_id), &format!("{indent}  "));
    }
    text
}

#[tokio::test]
async fn a_trace_goes_from_the_upload_to_each_image() {
    let mut harness = Harness::start().await;
    let collector = Collector::start().await;
    let url = collector.url.clone();
    let soon = ("OTEL_BSP_SCHEDULE_DELAY", "50");
    let gateway = Gateway::start(&harness, &[(ENDPOINT, &url), soon]).await;
    let _controller = Process::controller(&harness, &[(ENDPOINT, &url), soon]);
    // What is left at the end of a pod is sent then.
    harness.pod_variables = vec![(ENDPOINT.to_owned(), url.clone())];
    let csv = csv(&harness, &["wall-clock.jpg?secret=1", "page.jpg"]);
    reqwest::get(format!("{}/livez", gateway.ops_url)).await.expect("the gateway answers");
    let request = post(&gateway.url, "").header("traceparent", format!("00-{TRACE}-{CALLER}-01")).body(csv);
    let (status, body) = answer(request).await;
    assert_eq!(status, 202, "{body}");
    let id = body["id"].as_str().expect("an id");
    harness.run_job(id, Stage::Run).await;
    harness.wait_finished(id).await;

    // Each span's name below that of its parent, by the way from the caller.
    let expected = BTreeMap::from([
        ("imagebatch-gateway: caller > POST /v1/batches", 1),
        ("imagebatch-gateway: POST /v1/batches > upload", 1),
        ("imagebatch-gateway: POST /v1/batches > create", 1),
        ("imagebatch-controller: POST /v1/batches > create job run", 1),
        ("imagebatch-compressor: create job run > pod run", 1),
        ("imagebatch-compressor: pod run > ingest", 1),
        ("imagebatch-compressor: pod run > compress", 1),
        ("imagebatch-compressor: pod run > report", 1),
        ("imagebatch-compressor: compress > image", 2),
        ("imagebatch-compressor: image > fetch", 2),
        ("imagebatch-compressor: image > transform", 2),
        ("imagebatch-compressor: image > store", 1),
        ("imagebatch-compressor: compress > record", 1),
    ]);
    let found = async || {
        let spans = collector.got().spans.clone();
        let of_trace: Vec<_> = spans.into_iter().filter(|(_, span)| hex::encode(&span.trace_id) == TRACE).collect();
        let mut names: BTreeMap<Vec<u8>, &str> =
            of_trace.iter().map(|(_, span)| (span.span_id.clone(), span.name.as_str())).collect();
        names.insert(hex::decode(CALLER).expect("digits"), "caller");
        let mut edges: BTreeMap<String, usize> = BTreeMap::new();
        for (service, span) in &of_trace {
            let parent = names.get(&span.parent_span_id).unwrap_or(&"unknown");
            *edges.entry(format!("{service}: {parent} > {}", span.name)).or_default() += 1;
        }
        let edges: BTreeMap<&str, usize> = edges.iter().map(|(edge, count)| (edge.as_str(), *count)).collect();
        let complete = edges == expected;
        if !complete {
            eprintln!("{edges:#?}");
        }
        complete.then_some(of_trace)
    };
    let of_trace = until("the trace is complete", found).await;
    let all = collector.got().spans.len();
    assert_eq!(of_trace.len(), all, "probes, and reconciles that create no Job, are in no trace");
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("trace.txt");
    std::fs::write(path, tree(&of_trace, CALLER, "")).expect("it can be written");
    let images: Vec<&Span> = of_trace.iter().map(|(_, span)| span).filter(|span| span.name == "image").collect();
    let (failed, good): (Vec<&Span>, Vec<&Span>) =
        images.into_iter().partition(|span| attribute(span, "reason").is_some());
    assert_eq!(attribute(failed[0], "reason"), Some(Value::StringValue("NotAnImage".to_owned())));
    assert_eq!(failed[0].status.as_ref().map(|it| it.code), Some(2), "an error");
    assert!(matches!(attribute(good[0], "bytes_out"), Some(Value::IntValue(1..))), "{good:?}");
    let address = Value::StringValue(harness.origin.url("wall-clock.jpg"));
    assert_eq!(attribute(good[0], "url"), Some(address), "without its query");
}

#[tokio::test]
async fn a_collector_that_hangs_holds_up_no_pod() {
    let mut harness = Harness::start().await;
    // It takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    harness.pod_variables = vec![(ENDPOINT.to_owned(), url)];
    Batch::of_products(&harness, &[&["mountain-thumb.jpg"]]).succeed(&["run"]).await;
}

#[tokio::test]
async fn a_protocol_that_is_not_spoken_is_refused() {
    let harness = Harness::start().await;
    let gateway = tokio::process::Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["run", "--authentication=none", "--namespace=default"])
        .envs(harness.environment())
        .envs([(ENDPOINT, "http://127.0.0.1:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, gateway).await.expect("it ends").expect("it can be started");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\""), "{text}");
}
