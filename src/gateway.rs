//! The gateway: CSV in over HTTP, request id out; then status, reports and images.
//!
//! ```text
//! POST /v1/batches                 body -> upload (storage, validator) -> submit (ImageBatch, record)
//! POST /v1/batches/{id}/retry      batch -> its retry (ImageBatch, record)
//! POST /v1/batches/{id}/cancel     batch -> spec.cancel
//! GET  /v1/batches/{id}            batch -> status
//! GET  /v1/batches/{id}/output.csv batch -> report -> object
//! GET  /images/{key}               image -> object
//! GET  /                           the web page, whose files are in /assets
//! ```
//!
//! It keeps nothing of its own: any replica answers for every batch, and any may die at any instant.
//! Around each request stands `request`, which gives it an id, a problem document when it fails and
//! one log line.

pub mod check;
pub mod error;
pub mod health;
pub mod state;

mod batch;
mod body;
mod cancel;
mod cluster;
mod deliveries;
mod idempotency;
mod image;
mod object;
mod options;
mod page;
mod raw;
mod report;
mod request;
mod retry;
mod server;
mod status;
mod submit;
mod upload;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use crate::manifest::limits::LimitArgs;
use crate::metrics::gateway::GatewayMetrics;
use crate::records::{Patience, Records, RecordsArgs};
use crate::storage::{Storage, StorageArgs};
use crate::telemetry;
use error::{ApiError, Code};
use state::{AppState, Settings};

/// What a gateway needs to serve.
#[derive(Args, Debug)]
pub struct GatewayArgs {
    /// Address of the API.
    #[arg(long, env = "IMAGEBATCH_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "IMAGEBATCH_OPS_LISTEN", default_value = "127.0.0.1:8081")]
    ops_listen: SocketAddr,
    /// How callers are authenticated. This release knows only none: whoever reaches the address can
    /// upload and read, so it must be asked for.
    #[arg(long, env = "IMAGEBATCH_AUTHENTICATION", value_parser = ["none"])]
    authentication: String,
    /// Namespace of requests that name none.
    #[arg(long, env = "IMAGEBATCH_NAMESPACE")]
    namespace: String,
    /// Namespaces in which batches are worked on; by default the one above.
    #[arg(long, env = "IMAGEBATCH_NAMESPACES", value_delimiter = ',')]
    namespaces: Vec<String>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Most uploads at the same time; each holds 20 MiB at most, and 32 MiB more while serial numbers
    /// that do not count upwards are compared.
    #[arg(long, env = "IMAGEBATCH_MAX_CONCURRENT_UPLOADS", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_concurrent_uploads: u16,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    records: RecordsArgs,
}

/// How long storage is tried while a client waits.
const STORAGE_PATIENCE: Duration = Duration::from_secs(15);
/// How long requests are accepted after the signal: until no Service sends them here any more.
const LEAVING: Duration = Duration::from_secs(2);
/// How long uploads in flight may take after that; those that are late are aborted.
const UPLOADS: Duration = Duration::from_secs(20);
/// How long all requests in flight may take; with the pause above it is less than the 30 s a pod has.
const GRACE: Duration = Duration::from_secs(25);

/// Serves until a signal ends it.
pub async fn serve(args: &GatewayArgs) -> anyhow::Result<()> {
    let (listen, ops_listen) = (args.listen, args.ops_listen);
    let state = connect(args).await?;
    let api = TcpListener::bind(listen).await.with_context(|| format!("failed to listen on {listen}"))?;
    let ops = TcpListener::bind(ops_listen).await.with_context(|| format!("failed to listen on {ops_listen}"))?;
    tracing::info!(%listen, %ops_listen, namespaces = state.settings.namespaces.join(","), "serving");

    let (stop_api, stop_ops) = (CancellationToken::new(), CancellationToken::new());
    let ops = tokio::spawn(server::serve(ops, ops_router(state.clone()), stop_ops.clone(), Duration::ZERO));
    let api = tokio::spawn(server::serve(api, router(state.clone()), stop_api.clone(), GRACE));
    telemetry::shutdown().await;
    state.readiness.end();
    tokio::time::sleep(LEAVING).await;
    stop_api.cancel();
    state.submissions.close();
    let ending = state.ending.clone();
    tokio::spawn(async move {
        tokio::time::sleep(UPLOADS).await;
        ending.cancel();
    });
    let end = async { tokio::join!(api, state.submissions.wait()).0 };
    tokio::time::timeout(GRACE, end)
        .await
        .context("requests were still in flight at the end")?
        .context("the server panicked")?;
    stop_ops.cancel();
    ops.await.context("the server of the health checks panicked")
}

async fn connect(args: &GatewayArgs) -> anyhow::Result<AppState> {
    let GatewayArgs { namespace, namespaces, .. } = args;
    let namespaces = if namespaces.is_empty() { vec![namespace.clone()] } else { namespaces.clone() };
    ensure!(
        namespaces.contains(namespace),
        "--namespace {namespace:?} is not among --namespaces {:?}",
        namespaces.join(",")
    );
    let settings = Settings {
        namespace: namespace.clone(),
        namespaces,
        limits: args.limits.limits(),
        max_concurrent_uploads: args.max_concurrent_uploads.into(),
    };
    let storage = Storage::with_retries(&args.storage, STORAGE_PATIENCE)?;
    let records = Records::new(&args.records, Patience::Short).await?;
    let client = cluster::connect().await.context("failed to set up the Kubernetes client")?;
    Ok(AppState::new(settings, storage, records, client))
}

/// Returns the API.
pub fn router(state: AppState) -> Router {
    let routes = Router::new()
        .route("/v1/batches", post(submit::submit))
        .route("/v1/batches/{id}", get(status::show))
        .route("/v1/batches/{id}/deliveries", get(deliveries::list))
        .route("/v1/batches/{id}/deliveries/redeliver", post(deliveries::redeliver))
        .route("/v1/batches/{id}/deliveries/test", post(deliveries::test))
        .route("/v1/batches/{id}/retry", post(retry::retry))
        .route("/v1/batches/{id}/cancel", post(cancel::cancel))
        .route("/v1/batches/{id}/output.csv", get(report::output_csv))
        .route("/v1/batches/{id}/failed.csv", get(report::failed_csv))
        .route("/images/{*key}", get(image::image))
        .route("/", get(page::index))
        .route("/assets/{name}", get(page::asset));
    let metrics = Arc::clone(&state.metrics);
    observed(routes.with_state(state), metrics)
}

/// Returns the health checks and the metrics.
pub fn ops_router(state: AppState) -> Router {
    let routes = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics));
    let metrics = Arc::clone(&state.metrics);
    observed(routes.with_state(state), metrics)
}

/// Adds what surrounds every request, those without a route too.
fn observed(routes: Router, metrics: Arc<GatewayMetrics>) -> Router {
    routes
        .fallback(async || ApiError::new(Code::NotFound, "no resource has this path"))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(from_fn_with_state(metrics, request::observe))
}

fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().map_or_else(|_| String::new(), |it| (*it).to_owned()),
    };
    let detail = "the gateway failed; its log says more under this request id";
    ApiError::new(Code::Internal, detail).caused_by(format!("panic: {text}")).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header::CONTENT_TYPE;

    async fn panics() {
        panic!("boom");
    }

    #[tokio::test]
    async fn a_panic_costs_only_its_request() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("the listener is bound");
        let (router, stop) =
            (observed(Router::new().route("/panic", get(panics)), Arc::default()), CancellationToken::new());
        let server = tokio::spawn(server::serve(listener, router, stop.clone(), GRACE));
        let client = reqwest::Client::builder().no_proxy().build().expect("the client has no special needs");

        for (path, status, code) in [("panic", 500, "Internal"), ("none", 404, "NotFound")] {
            let request = client.get(format!("http://{address}/{path}")).header("x-request-id", "mine");
            let response = request.send().await.expect("the server answers");
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(response.headers()["x-request-id"], "mine");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            let problem: serde_json::Value =
                serde_json::from_str(&response.text().await.expect("there is a body")).expect("the body is JSON");
            assert_eq!(problem["code"], code, "{problem}");
            assert!(!problem.to_string().contains("boom"), "{problem}");
        }
        drop(client);
        stop.cancel();
        server.await.expect("the server ends in order");
    }
}
