//! The gateway: CSV in over HTTP, request id out; then status, reports and images.
//!
//! ```text
//! POST /v1/batches                 body -> upload (storage, validator) -> submit (ImageBatch, record)
//! GET  /v1/batches                 cache, records -> list
//! POST /v1/batches/{id}/retry      batch -> its retry (ImageBatch, record)
//! POST /v1/batches/{id}/cancel     batch -> spec.cancel
//! GET  /v1/batches/{id}            batch (cache, cluster, records) -> status
//! GET  /v1/batches/{id}/events     cache -> states as they change
//! GET  /v1/batches/{id}/products   manifest, products, outcomes -> rows
//! GET  /v1/batches/{id}/output.csv batch -> report -> object
//! GET  /images/{key}               image -> object
//! GET  /                           the web page, whose files are in /assets
//! ```
//!
//! `routes` lists every route, with what it needs and what its documentation says.
//!
//! It keeps nothing of its own: any replica answers for every batch, and any may die at any instant.
//! Around each request stands `request`, which gives it an id, a problem document when it fails and
//! one log line. Before each route of `routes` stands `auth`, which decides whether it may be used.

pub mod auth;
pub mod check;
pub mod cors;
pub mod error;
pub mod health;
pub mod idempotency;
pub mod image;
pub mod key;
pub mod openapi;
pub mod rate;
pub mod routes;
pub mod state;
pub mod tls;

mod address;
mod batch;
mod body;
mod cache;
mod cancel;
mod cluster;
mod delete;
mod deliveries;
mod events;
mod follow;
mod list;
mod object;
mod options;
mod page;
mod products;
mod quota;
mod raw;
mod reference;
mod report;
mod request;
mod retry;
mod server;
mod status;
mod submit;
mod upload;
mod view;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::STRICT_TRANSPORT_SECURITY;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::manifest::limits::LimitArgs;
use crate::metrics::gateway::GatewayMetrics;
use crate::records::{Patience, Records, RecordsArgs};
use crate::storage::presign::Presigner;
use crate::storage::{Storage, StorageArgs};
use crate::telemetry;
use auth::Auth;
use auth::args::AuthArgs;
use auth::guard::guarded;
use cors::Origin;
use error::{ApiError, Code};
use image::Delivery;
use rate::RateArgs;
use routes::Route;
use state::{AppState, Settings};
use tls::TlsArgs;

/// What a gateway needs to serve.
#[derive(Args, Debug)]
pub struct GatewayArgs {
    /// Address of the API.
    #[arg(long, env = "IMAGEBATCH_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of /livez, /readyz and /metrics.
    #[arg(long, env = "IMAGEBATCH_OPS_LISTEN", default_value = "127.0.0.1:8081")]
    ops_listen: SocketAddr,
    #[command(flatten)]
    auth: AuthArgs,
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
    /// Most clients that wait for a change at the same time, by event streams or by `Prefer: wait`.
    #[arg(long, env = "IMAGEBATCH_MAX_EVENT_STREAMS", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_event_streams: u32,
    /// Origins of web pages that may call the API in a browser, such as <https://shop.example>; by default none.
    #[arg(long, env = "IMAGEBATCH_CORS_ORIGINS", value_delimiter = ',')]
    cors_origins: Vec<Origin>,
    /// How /images/ hands out images: the gateway streams them, or redirects to URLs of storage that are
    /// signed for a while.
    #[arg(long, env = "IMAGEBATCH_IMAGE_DELIVERY", value_enum, default_value = "stream")]
    image_delivery: DeliveryArg,
    /// With redirects: the URL of the S3 endpoint that clients reach; by default the gateway's own.
    #[arg(long, env = "IMAGEBATCH_S3_PUBLIC_ENDPOINT")]
    s3_public_endpoint: Option<url::Url>,
    /// With redirects: seconds that a signed URL is valid.
    #[arg(long, env = "IMAGEBATCH_PRESIGNED_URL_SECONDS", default_value_t = 3_600, value_parser = clap::value_parser!(u32).range(60..=604_800))]
    presigned_url_seconds: u32,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    storage: StorageArgs,
    #[command(flatten)]
    records: RecordsArgs,
}

/// The word for an [`image::Delivery`].
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum DeliveryArg {
    Stream,
    Redirect,
}

impl GatewayArgs {
    fn image_delivery(&self) -> anyhow::Result<Delivery> {
        if self.image_delivery == DeliveryArg::Stream {
            ensure!(self.s3_public_endpoint.is_none(), "--s3-public-endpoint is for --image-delivery=redirect alone");
            return Ok(Delivery::Stream);
        }
        let valid = Duration::from_secs(self.presigned_url_seconds.into());
        let presigner = Presigner::new(&self.storage, self.s3_public_endpoint.as_ref(), valid)?;
        if self.auth.private_images {
            presigner.check_private()?;
        }
        Ok(Delivery::Redirect(presigner))
    }
}

/// A year.
const HSTS: &str = "max-age=31536000";
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
    let tls = args.tls.load()?;
    let state = connect(args).await?;
    let api = TcpListener::bind(listen).await.with_context(|| format!("failed to listen on {listen}"))?;
    let ops = TcpListener::bind(ops_listen).await.with_context(|| format!("failed to listen on {ops_listen}"))?;
    tracing::info!(%listen, %ops_listen, namespaces = state.settings.namespaces.join(","), "serving");
    if tls.is_none() {
        tracing::warn!("the API is served without encryption, as --plain-http asks");
    }

    let (stop_api, stop_ops) = (CancellationToken::new(), CancellationToken::new());
    let ops = tokio::spawn(server::serve(ops, None, ops_router(state.clone()), stop_ops.clone(), Duration::ZERO));
    if let Some(tls) = tls.clone() {
        tokio::spawn(async move { tls.renew().await });
    }
    let secure = tls.is_some();
    let api = tokio::spawn(server::serve(api, tls, hardened(router(state.clone()), secure), stop_api.clone(), GRACE));
    telemetry::shutdown().await;
    state.readiness.end();
    tokio::time::sleep(LEAVING).await;
    stop_api.cancel();
    state.stopping.cancel();
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
    args.rate.check(args.limits.limits().max_rows)?;
    let settings = Settings {
        namespace: namespace.clone(),
        namespaces,
        limits: args.limits.limits(),
        max_concurrent_uploads: args.max_concurrent_uploads.into(),
        rate: args.rate.clone(),
        authenticated: false,
        max_event_streams: args.max_event_streams as usize,
        cors_origins: args.cors_origins.clone(),
        image_delivery: args.image_delivery()?,
    };
    let storage = Storage::with_retries(&args.storage, STORAGE_PATIENCE)?;
    let records = Records::new(&args.records, Patience::Short).await?;
    let client = cluster::connect().await.context("failed to set up the Kubernetes client")?;
    let auth = Auth::connect(&args.auth, &client, namespace).await?;
    Ok(AppState::new(settings, auth, storage, records, client))
}

/// Returns the API.
pub fn router(state: AppState) -> Router {
    let mut routes = Router::new();
    for Route { path, access, handler, .. } in routes::routes() {
        routes = routes.route(path, guarded(&state, access, handler));
    }
    if !state.settings.cors_origins.is_empty() {
        routes = routes.layer(cors::layer(&state.settings.cors_origins));
    }
    let (metrics, rate) = (Arc::clone(&state.metrics), Arc::clone(&state.rate));
    let limited = routes.fallback(absent).with_state(state).layer(from_fn_with_state(rate, rate::by_address));
    observed(limited, metrics)
}

/// Has browsers come back by HTTPS alone (RFC 6797).
fn hardened(routes: Router, secure: bool) -> Router {
    let header = secure.then(|| HeaderValue::from_static(HSTS));
    routes.layer(SetResponseHeaderLayer::if_not_present(STRICT_TRANSPORT_SECURITY, header))
}

async fn absent() -> ApiError {
    ApiError::new(Code::NotFound, "no resource has this path")
}

/// Returns the health checks and the metrics.
pub fn ops_router(state: AppState) -> Router {
    let routes = Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(absent);
    let metrics = Arc::clone(&state.metrics);
    observed(routes.with_state(state), metrics)
}

/// Adds what surrounds every request, those without a route too.
fn observed(routes: Router, metrics: Arc<GatewayMetrics>) -> Router {
    routes.layer(CatchPanicLayer::custom(answer_panic)).layer(from_fn_with_state(metrics, request::observe))
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
        let (router, stop) = (
            observed(Router::new().route("/panic", get(panics)).fallback(absent), Arc::default()),
            CancellationToken::new(),
        );
        let server = tokio::spawn(server::serve(listener, None, router, stop.clone(), GRACE));
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
