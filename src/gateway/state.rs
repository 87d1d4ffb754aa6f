//! What every handler gets: the clients, the settings, and what bounds the work.

use std::ops::Deref;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::auth::Auth;
use super::cache::Cache;
use super::cors::Origin;
use super::error::{ApiError, Code};
use super::health::Readiness;
use super::image::Delivery;
use super::rate::{RateArgs, RateLimits};
use crate::manifest::source::Limits;
use crate::metrics::gateway::GatewayMetrics;
use crate::records::Records;
use crate::storage::Storage;

/// What the gateway is told about its installation.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Where a request without `?namespace=` goes.
    pub namespace: String,
    /// The namespaces in which batches are worked on; the default one is among them.
    pub namespaces: Vec<String>,
    /// Bounds of an uploaded CSV.
    pub limits: Limits,
    /// Most uploads at the same time.
    pub max_concurrent_uploads: usize,
    /// How much one caller may ask.
    pub rate: RateArgs,
    /// Whether callers are told apart: then each may have another default, and is not told of the others.
    pub authenticated: bool,
    /// Most event streams, and requests that wait for a change, at the same time.
    pub max_event_streams: usize,
    /// Where web pages may come from that call the API in a browser.
    pub cors_origins: Vec<Origin>,
    /// How stored images are handed out.
    pub image_delivery: Delivery,
}

impl Settings {
    /// Checks that batches are worked on in a namespace.
    pub(crate) fn check_namespace(&self, namespace: &str) -> Result<(), ApiError> {
        if self.namespaces.iter().any(|it| it == namespace) {
            return Ok(());
        }
        if self.authenticated {
            return Err(ApiError::new(Code::NamespaceNotEnabled, format!("namespace {namespace:?} is not enabled")));
        }
        let detail = format!("namespace {namespace:?} is not enabled; enabled are: {}", self.namespaces.join(", "));
        Err(ApiError::new(Code::NamespaceNotEnabled, detail).with("namespaces", &self.namespaces))
    }

    /// Returns the path of a batch; the namespace is named only when it is not everybody's default.
    pub(crate) fn batch_path(&self, namespace: &str, id: &str, below: &str) -> String {
        if namespace == self.namespace && !self.authenticated {
            format!("/v1/batches/{id}{below}")
        } else {
            format!("/v1/batches/{id}{below}?namespace={namespace}")
        }
    }
}

/// Clients and settings, shared by all requests; a clone costs next to nothing, as each request needs several.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// What is shared.
pub struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) storage: Storage,
    pub(crate) records: Records,
    pub(crate) client: kube::Client,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) cache: Cache,
    /// Cancelled once no request shall wait any longer.
    pub(crate) stopping: CancellationToken,
    pub(crate) submissions: TaskTracker,
    pub(crate) ending: CancellationToken,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) metrics: Arc<GatewayMetrics>,
    pub(crate) rate: Arc<RateLimits>,
}

impl AppState {
    /// Returns the state of a gateway that talks to these.
    ///
    /// Must be called in a runtime: the watch of ImageBatches begins here.
    #[must_use]
    pub fn new(settings: Settings, auth: Arc<Auth>, storage: Storage, records: Records, client: kube::Client) -> Self {
        let settings = Settings { authenticated: auth.is_on(), ..settings };
        Self(Arc::new(Shared {
            uploads: Arc::new(Semaphore::new(settings.max_concurrent_uploads)),
            streams: Arc::new(Semaphore::new(settings.max_event_streams)),
            cache: Cache::start(&client, &settings.namespaces),
            stopping: CancellationToken::new(),
            submissions: TaskTracker::new(),
            ending: CancellationToken::new(),
            readiness: Arc::new(Readiness::default()),
            metrics: Arc::new(GatewayMetrics::default()),
            rate: Arc::new(RateLimits::new(&settings.rate)),
            settings: Arc::new(settings),
            auth,
            storage,
            records,
            client,
        }))
    }
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
