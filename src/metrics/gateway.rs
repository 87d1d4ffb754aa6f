//! Metrics of the gateway.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{own, register, register_in, registry, text};

/// Seconds of a request: from a status to an upload of a gibibyte.
const REQUEST_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// The families, and the text that they make.
#[derive(Debug)]
pub struct GatewayMetrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    request_duration: Family<Asked, Histogram, fn() -> Histogram>,
    pub(crate) requests_in_flight: Gauge,
    pub(crate) uploads_in_flight: Gauge,
    pub(crate) upload_bytes: Counter,
    pub(crate) upload_problems: Family<[(&'static str, String); 1], Counter>,
}

/// What was asked for: a route's template and not its path.
#[derive(EncodeLabelSet, Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    route: String,
    method: &'static str,
}

/// What was answered.
#[derive(EncodeLabelSet, Debug, Clone, PartialEq, Eq, Hash)]
struct Answered {
    route: String,
    method: &'static str,
    status: String,
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        let mut registry = registry();
        let own = own(&mut registry);
        let histogram: fn() -> Histogram = || Histogram::new(REQUEST_SECONDS);
        Self {
            requests: register(own, "http_requests", "Requests that were answered or given up", Family::default()),
            request_duration: register_in(
                own,
                Unit::Seconds,
                "http_request_duration",
                "Time from a request's head to the end of its answer",
                Family::new_with_constructor(histogram),
            ),
            requests_in_flight: register(own, "http_requests_in_flight", "Requests under way", Gauge::default()),
            uploads_in_flight: register(own, "uploads_in_flight", "Uploads under way", Gauge::default()),
            upload_bytes: register_in(
                own,
                Unit::Bytes,
                "upload",
                "Bytes of CSV that were received, after decompression",
                Counter::default(),
            ),
            upload_problems: register(
                own,
                "upload_problems",
                "Problems for which rows, or whole uploads, were refused",
                Family::default(),
            ),
            registry,
        }
    }
}

impl GatewayMetrics {
    /// Returns everything as Prometheus reads it.
    #[must_use]
    pub fn text(&self) -> String {
        text(&self.registry)
    }

    /// Counts a request at its end; without a status the client went away before the answer.
    pub(crate) fn count_request(
        &self,
        route: &str,
        method: &http::Method,
        status: Option<http::StatusCode>,
        duration: Duration,
    ) {
        let (route, method) = (route.to_owned(), bounded(method));
        self.request_duration
            .get_or_create_owned(&Asked { route: route.clone(), method })
            .observe(duration.as_secs_f64());
        let status = status.map_or_else(|| "abandoned".to_owned(), |it| it.as_u16().to_string());
        self.requests.get_or_create_owned(&Answered { route, method, status }).inc();
    }
}

/// Returns the word for a method. Clients can think up others, and each would be a time series.
fn bounded(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
