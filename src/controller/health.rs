//! `/livez`, `/readyz` and `/metrics` of the controller.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use tokio::sync::watch;

use crate::metrics;
use crate::metrics::controller::ControllerMetrics;

/// Serves until `shutdown`. Ready means that the indexes exist, and that this process works or stands by.
pub async fn serve(
    listen: SocketAddr,
    ready: watch::Receiver<bool>,
    metrics: Arc<ControllerMetrics>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let text = async move || ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.text());
    let router = Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(ready);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn readyz(State(ready): State<watch::Receiver<bool>>) -> (StatusCode, &'static str) {
    if *ready.borrow() { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting") }
}
