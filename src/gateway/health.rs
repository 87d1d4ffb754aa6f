//! `/livez`, `/readyz` and `/metrics`, on their own port: whether the process runs, whether everything that
//! an upload needs can be reached, and what Prometheus reads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::cluster;
use super::error::{ApiError, Code, chain};
use super::state::AppState;
use crate::metrics;

/// Longest time for one check.
const CHECK: Duration = Duration::from_secs(2);
/// How long an answer is good for: probes and people do not add up to load.
const FRESH: Duration = Duration::from_secs(2);
/// Name of an ImageBatch that need not exist; asking for it proves access, rights and the CRD.
const PROBE: &str = "probe";

/// What was found last, and whether the gateway is about to end.
#[derive(Debug, Default)]
pub struct Readiness {
    ending: AtomicBool,
    last: Mutex<Option<(Instant, Checks)>>,
}

impl Readiness {
    /// Makes the gateway unready for good: no new requests shall be sent to it.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Checks {
    storage: bool,
    records: bool,
    cluster: bool,
}

impl Checks {
    fn passed(self) -> bool {
        self.storage && self.records && self.cluster
    }

    fn document(self) -> Value {
        let word = |passed: bool| if passed { "ok" } else { "failed" };
        json!({
            "storage": word(self.storage),
            "mongodb": word(self.records),
            "apiServer": word(self.cluster),
        })
    }
}

/// Answers `/livez`: the process answers, so it lives.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({ "alive": true }))
}

/// Answers `/readyz`.
pub(crate) async fn ready(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    if state.readiness.ending.load(Ordering::Relaxed) {
        return Err(ApiError::new(Code::NotReady, "the gateway is shutting down"));
    }
    let checks = last_checks(&state).await;
    if checks.passed() {
        return Ok(Json(json!({ "ready": true, "checks": checks.document() })));
    }
    Err(ApiError::new(Code::NotReady, "not everything that uploads need can be reached")
        .with("checks", checks.document()))
}

/// Answers `/metrics`.
pub(crate) async fn metrics(State(state): State<AppState>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], state.metrics.text())
}

/// Returns the last result while it is fresh; else checks, once for all who wait.
async fn last_checks(state: &AppState) -> Checks {
    let mut last = state.readiness.last.lock().await;
    if let Some((when, checks)) = *last
        && when.elapsed() < FRESH
    {
        return checks;
    }
    let (storage, records, cluster) = tokio::join!(
        check("storage", state.storage.check()),
        check("mongodb", state.records.check()),
        check("apiServer", cluster::find(&state.client, &state.settings.namespace, PROBE)),
    );
    let checks = Checks { storage, records, cluster };
    *last = Some((Instant::now(), checks));
    checks
}

async fn check<T, E: std::error::Error + 'static>(name: &str, call: impl Future<Output = Result<T, E>>) -> bool {
    match tokio::time::timeout(CHECK, call).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::warn!(check = name, error = chain(&error), "not ready");
            false
        }
        Err(_) => {
            tracing::warn!(check = name, "not ready: no answer in time");
            false
        }
    }
}
