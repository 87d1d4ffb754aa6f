//! What Prometheus reads: the families of metrics of each role, and their text.
//!
//! Names have the prefix `imagebatch_`, the unit and, for counters, `_total`; words that are codes elsewhere
//! (outcomes, states, problems) are the same words here. No label has a value per batch. `docs/metrics.md`
//! lists all of them, and a test compares that page with what is served.
//!
//! Pods of Jobs live too briefly to be asked: what they did reaches the controller through the status.

pub mod controller;
pub mod gateway;

mod process;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

/// Type of the text: `OpenMetrics`, which Prometheus asks for.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Labels whose names and values are words of this program.
pub(crate) type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Returns a registry with what every process has.
fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(process::Process));
    let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    own(&mut registry).register("build", "The version of this process", version);
    registry
}

/// Returns the part of a registry whose names have this program's prefix.
fn own(registry: &mut Registry) -> &mut Registry {
    registry.sub_registry_with_prefix("imagebatch")
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn register_in<M: Metric + Clone>(registry: &mut Registry, unit: Unit, name: &str, help: &str, metric: M) -> M {
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

/// Returns counters that have each word of a label from the start: a rate does not see the first count of one
/// that was not there before.
fn counters(label: &'static str, words: &[&'static str]) -> Family<Labels<1>, Counter> {
    let family = Family::<Labels<1>, Counter>::default();
    for word in words {
        drop(family.get_or_create(&[(label, *word)]));
    }
    family
}

/// Returns everything that is registered as Prometheus reads it.
fn text(registry: &Registry) -> String {
    let mut text = String::new();
    if let Err(error) = encode(&mut text, registry) {
        // A String takes everything, so this is a collector's fault; what stands before it is still right.
        tracing::error!(%error, "failed to write the metrics");
    }
    text
}

/// Counts one more of something that is under way until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl InFlight {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
