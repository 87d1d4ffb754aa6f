//! What logs and traces have in common on their way to a collector: OTLP over HTTP with protobuf.
//!
//! All is said by the standard's variables. `OTEL_EXPORTER_OTLP_ENDPOINT` switches both on,
//! `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT` and `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` one of them, and
//! `OTEL_LOGS_EXPORTER=none` or `OTEL_TRACES_EXPORTER=none` switches one off.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use reqwest::Certificate;
use reqwest::blocking::Client;

/// What records and spans are called by, besides their names.
pub(super) const SCOPE: &str = "imagebatch";
/// How long the end of a process may wait for what is left.
pub(super) const END: Duration = Duration::from_secs(3);
/// The one protocol that is spoken, also where nothing says so.
const PROTOCOL: &str = "http/protobuf";
/// Longest time of one request where `OTEL_EXPORTER_OTLP_TIMEOUT` says nothing, as the standard has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent.
#[derive(Clone, Copy)]
pub(super) enum Signal {
    Logs,
    Traces,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Logs => "LOGS",
            Self::Traces => "TRACES",
        }
    }
}

/// Returns whether a collector is named for it, in a way that can be followed.
pub(super) fn is_asked_for(signal: Signal) -> anyhow::Result<bool> {
    let exporter = format!("OTEL_{}_EXPORTER", signal.name());
    match variable(&exporter).as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(false),
        Some(other) => bail!("{exporter} is {other:?}: this program knows otlp and none"),
    }
    let is_off = variable("OTEL_SDK_DISABLED").is_some_and(|it| it.eq_ignore_ascii_case("true"));
    if is_off || of_signal(signal, "ENDPOINT").is_none() {
        return Ok(false);
    }
    if let Some((name, protocol)) = of_signal(signal, "PROTOCOL") {
        ensure!(protocol == PROTOCOL, "{name} is {protocol:?}: this program speaks {PROTOCOL} only");
    }
    Ok(true)
}

/// Returns who sends: the role, and in a cluster the pod.
pub(super) fn resource(role: &str) -> Resource {
    let mut resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if variable("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(format!("imagebatch-{role}"));
    }
    if let Some(host) = variable("HOSTNAME") {
        // In a cluster this is the pod's name.
        if variable("KUBERNETES_SERVICE_HOST").is_some() {
            resource = resource.with_attribute(KeyValue::new("k8s.pod.name", host.clone()));
        }
        resource = resource.with_attribute(KeyValue::new("service.instance.id", host));
    }
    resource.build()
}

/// Returns the client that sends, with the authorities of `OTEL_EXPORTER_OTLP_CERTIFICATE` beside the public ones.
pub(super) fn client(signal: Signal) -> anyhow::Result<Client> {
    let timeout = match of_signal(signal, "TIMEOUT") {
        None => TIMEOUT,
        Some((name, text)) => {
            Duration::from_millis(text.parse().with_context(|| format!("{name} is {text:?}, no milliseconds"))?)
        }
    };
    let mut client = Client::builder().timeout(timeout);
    if let Some((name, path)) = of_signal(signal, "CERTIFICATE") {
        let pem = std::fs::read(&path).with_context(|| format!("failed to read {path:?}, which {name} names"))?;
        for authority in Certificate::from_pem_bundle(&pem).with_context(|| format!("{path:?} is no PEM"))? {
            client = client.add_root_certificate(authority);
        }
    }
    // A client that blocks cannot be made where futures run.
    let built = std::thread::scope(|threads| threads.spawn(|| client.build()).join());
    built
        .map_err(|_| anyhow::anyhow!("the making of it panicked"))
        .and_then(|it| it.map_err(Into::into))
        .context("failed to set up the client of the collector")
}

/// Returns a variable of the signal's own, or of both, with its name.
fn of_signal(signal: Signal, what: &str) -> Option<(String, String)> {
    let names = [format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name()), format!("OTEL_EXPORTER_OTLP_{what}")];
    names.into_iter().find_map(|name| variable(&name).map(|value| (name, value)))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|it| !it.is_empty())
}
