//! Metrics of the controller.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Labels, counters, own, register, register_in, registry, text};

/// Seconds of a reconcile: a read of the cache at the one end, its timeout at the other.
const RECONCILE_SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Seconds that people and queues wait: from less than a second to a day.
const WAIT_SECONDS: [f64; 14] =
    [0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];
/// Seconds of a webhook's answer; its timeout is 20.
const WEBHOOK_SECONDS: [f64; 8] = [0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 20.0];

/// The families, and the text that they make.
#[derive(Debug)]
pub struct ControllerMetrics {
    registry: Registry,
    batches: Arc<Batches>,
    /// 1 where this controller is the one that works, 0 where it stands by.
    pub leader: Gauge,
    pub(crate) reconciles: Counter,
    pub(crate) reconcile_errors: Family<Labels<1>, Counter>,
    pub(crate) reconcile_duration: Histogram,
    pub(crate) reconciles_in_flight: Gauge,
    pub(crate) watch_errors: Counter,
    pub(crate) job_creation: Histogram,
    pub(crate) finished_batches: Family<[(&'static str, String); 1], Counter>,
    pub(crate) batch_duration: Histogram,
    pub(crate) images: Family<Labels<1>, Counter>,
    pub(crate) input_bytes: Counter,
    pub(crate) output_bytes: Counter,
    pub(crate) webhook_attempts: Family<Labels<1>, Counter>,
    pub(crate) webhook_duration: Histogram,
}

impl Default for ControllerMetrics {
    fn default() -> Self {
        let mut registry = registry();
        let batches = Arc::new(Batches::default());
        let own = own(&mut registry);
        own.register_collector(Box::new(Arc::clone(&batches)));
        let seconds = || Unit::Seconds;
        Self {
            leader: register(own, "leader", "Whether this controller is the one that works", Gauge::default()),
            reconciles: register(own, "reconciles", "Reconciles that ended", Counter::default()),
            reconcile_errors: register(
                own,
                "reconcile_errors",
                "Reconciles that failed",
                counters("kind", &["ApiServer", "Conflict", "Records", "Storage", "Timeout"]),
            ),
            reconcile_duration: register_in(
                own,
                seconds(),
                "reconcile_duration",
                "Time of a reconcile",
                Histogram::new(RECONCILE_SECONDS),
            ),
            reconciles_in_flight: register(own, "reconciles_in_flight", "Reconciles under way", Gauge::default()),
            watch_errors: register(own, "watch_errors", "Watches that broke off with an error", Counter::default()),
            job_creation: register_in(
                own,
                seconds(),
                "job_creation_latency",
                "Time from an ImageBatch's creation to that of its first Job",
                Histogram::new(WAIT_SECONDS),
            ),
            finished_batches: register(own, "finished_batches", "Batches that ended", Family::default()),
            batch_duration: register_in(
                own,
                seconds(),
                "batch_duration",
                "Time from an ImageBatch's creation to its end",
                Histogram::new(WAIT_SECONDS),
            ),
            images: register(
                own,
                "images",
                "Images with an outcome",
                counters("outcome", &["Compressed", "KeptOriginal", "Failed"]),
            ),
            input_bytes: register_in(
                own,
                Unit::Bytes,
                "image_input",
                "Bytes of the images that succeeded, as downloaded",
                Counter::default(),
            ),
            output_bytes: register_in(
                own,
                Unit::Bytes,
                "image_output",
                "Bytes of the images that succeeded, as stored",
                Counter::default(),
            ),
            webhook_attempts: register(
                own,
                "webhook_attempts",
                "Calls of webhooks",
                counters("result", &["Delivered", "Pending", "Failed", "Disabled"]),
            ),
            webhook_duration: register_in(
                own,
                seconds(),
                "webhook_duration",
                "Time of a call of a webhook",
                Histogram::new(WEBHOOK_SECONDS),
            ),
            batches,
            registry,
        }
    }
}

impl ControllerMetrics {
    /// Returns everything as Prometheus reads it.
    #[must_use]
    pub fn text(&self) -> String {
        text(&self.registry)
    }

    /// Takes figures of batches that exist from here too; each watch knows its own.
    pub(crate) fn count_batches_by(&self, census: impl Fn() -> Census + Send + Sync + 'static) {
        self.batches.0.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(census));
    }
}

/// The batches that exist.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// How many there are, by their state's word.
    pub(crate) states: BTreeMap<String, i64>,
    /// How many wait for their turn.
    pub(crate) waiting: i64,
    /// Age of the oldest one that waits.
    pub(crate) oldest_waiting: Duration,
}

impl Census {
    fn add(mut self, other: Self) -> Self {
        for (state, count) in other.states {
            *self.states.entry(state).or_default() += count;
        }
        self.waiting += other.waiting;
        self.oldest_waiting = self.oldest_waiting.max(other.oldest_waiting);
        self
    }
}

/// Counts the batches whenever it is asked, so that the figures are right from the first answer on.
#[derive(Default)]
struct Batches(RwLock<Vec<Box<dyn Fn() -> Census + Send + Sync>>>);

impl fmt::Debug for Batches {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Batches")
    }
}

impl Collector for Batches {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let censuses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // One that stands by knows of no batches.
        let Some(census) = censuses.iter().map(|it| it()).reduce(Census::add) else { return Ok(()) };
        let Census { states, waiting, oldest_waiting } = census;
        let mut batches = encoder.encode_descriptor("batches", "ImageBatches that exist.", None, MetricType::Gauge)?;
        for (state, count) in states {
            ConstGauge::new(count).encode(batches.encode_family(&[("state", state)])?)?;
        }
        let help = "ImageBatches that wait for their turn.";
        let metric = encoder.encode_descriptor("waiting_batches", help, None, MetricType::Gauge)?;
        ConstGauge::new(waiting).encode(metric)?;
        let help = "Age of the oldest ImageBatch that waits; 0 where none does.";
        let (name, unit) = ("oldest_waiting_batch_age", Unit::Seconds);
        let metric = encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        ConstGauge::new(oldest_waiting.as_secs_f64()).encode(metric)
    }
}
