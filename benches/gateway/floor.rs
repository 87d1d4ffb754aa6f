//! The floor: a bare axum handler that answers a status request with a constant, as a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;

use crate::process::{Running, free_address};

/// Where this executable shall serve the floor.
const LISTEN: &str = "BENCH_FLOOR_LISTEN";
/// What the floor answers.
const BODY: &str = "BENCH_FLOOR_BODY";

/// Returns whether this process shall be the floor.
pub(crate) fn is_asked() -> bool {
    std::env::var_os(LISTEN).is_some()
}

/// Starts a floor that answers this, and returns it with its address once it listens.
pub(crate) async fn start(body: &str) -> Result<(Running, SocketAddr)> {
    let executable = std::env::current_exe()?;
    let address = free_address()?;
    let variables = [(LISTEN, address.to_string()), (BODY, body.to_owned())];
    let floor = Running::start(executable.to_str().context("a path")?, &[], &variables, Stdio::inherit())?;
    floor.until_it_listens(address).await
}

/// Serves until the process is killed.
pub(crate) fn serve() -> Result<()> {
    let (address, body) = (std::env::var(LISTEN)?, Bytes::from(std::env::var(BODY)?));
    let answer = move || async move { ([(CONTENT_TYPE, "application/json")], body.clone()) };
    let routes = Router::new().route("/v1/batches/{id}", get(answer));
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await?;
        // As the gateway does: else an answer may wait for the client's acknowledgement.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        Ok(axum::serve(listener, routes).await?)
    })
}
