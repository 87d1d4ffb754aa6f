//! A collector that keeps the spans and log records that it gets by OTLP.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::harness::Running;

/// Switches on what is sent.
pub(super) const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// What a collector got, each with the service that sent it.
#[derive(Default)]
pub(super) struct Got {
    pub(super) spans: Vec<(String, Span)>,
    pub(super) records: Vec<(String, LogRecord)>,
}

pub(super) struct Collector {
    pub(super) url: String,
    got: Arc<Mutex<Got>>,
    _serving: Running,
}

impl Collector {
    pub(super) async fn start() -> Self {
        let got = Arc::<Mutex<Got>>::default();
        let router = Router::new()
            .route("/v1/traces", post(take_spans))
            .route("/v1/logs", post(take_records))
            .with_state(Arc::clone(&got));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let serve = async move { axum::serve(listener, router).await.expect("the collector serves") };
        Self { url, got, _serving: Running(tokio::spawn(serve)) }
    }

    pub(super) fn got(&self) -> MutexGuard<'_, Got> {
        self.got.lock().expect("not poisoned")
    }
}

async fn take_spans(State(got): State<Arc<Mutex<Got>>>, body: Bytes) {
    for sent in ExportTraceServiceRequest::decode(body).expect("spans").resource_spans {
        let service = service(sent.resource);
        let spans = sent.scope_spans.into_iter().flat_map(|it| it.spans).map(|it| (service.clone(), it));
        got.lock().expect("not poisoned").spans.extend(spans);
    }
}

async fn take_records(State(got): State<Arc<Mutex<Got>>>, body: Bytes) {
    for sent in ExportLogsServiceRequest::decode(body).expect("records").resource_logs {
        let service = service(sent.resource);
        let records = sent.scope_logs.into_iter().flat_map(|it| it.log_records).map(|it| (service.clone(), it));
        got.lock().expect("not poisoned").records.extend(records);
    }
}

fn service(resource: Option<Resource>) -> String {
    match attributes(&resource.expect("a resource").attributes).remove("service.name") {
        Some(Value::StringValue(name)) => name,
        other => panic!("service.name is {other:?}"),
    }
}

pub(super) fn attributes(list: &[KeyValue]) -> BTreeMap<String, Value> {
    list.iter().filter_map(|it| Some((it.key.clone(), it.value.clone()?.value?))).collect()
}
