//! What every binary does first and last: one TLS provider, structured logs, traces where they are asked
//! for, and one way to end.

pub mod trace;

mod fields;
mod json;
mod lines;
mod logs;
mod otlp;

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::failpoint;
use lines::Lines;

/// How logs are written.
#[derive(clap::Args, Debug, Clone)]
pub struct LogArgs {
    /// Log filter, for example info or imagebatch=debug,info.
    #[arg(id = "log", long = "log", env = "IMAGEBATCH_LOG", default_value = "info", global = true)]
    pub filter: String,
    /// Log format: json for machines, text for people.
    #[arg(id = "log_format", long = "log-format", env = "IMAGEBATCH_LOG_FORMAT", default_value = "json", value_parser = ["json", "text"], global = true)]
    pub format: String,
}

/// Installs the TLS provider and the subscriber; call once, before anything else. `role` is this process' name
/// in traces.
pub fn start(args: &LogArgs, role: &str) -> anyhow::Result<()> {
    // The crates below would each be content with another provider; rustls panics when it must choose.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let filter =
        EnvFilter::try_new(&args.filter).map_err(|error| anyhow::anyhow!("--log {:?}: {error}", args.filter))?;
    // Who changed what is written whatever else is not.
    let filter = filter.add_directive("audit=info".parse()?);
    let (json, logger) = (args.format == "json", logs::logger(role)?);
    let text =
        (!json).then(|| tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(filter.clone()));
    let lines = (json || logger.is_some()).then(|| Lines::new(json, logger).with_filter(filter));
    tracing_subscriber::registry().with(text).with(lines).with(trace::layer(role)?).try_init()?;
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    failpoint::set_up()
}

/// Runs a role to its end.
pub fn block_on<T>(role: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(role);
    // Without waiting for what blocks, such as the look-up of a name: who must stop stops now.
    runtime.shutdown_background();
    result
}

/// Completes at SIGTERM or SIGINT.
pub async fn shutdown() {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::error!(%error, "failed to listen for SIGTERM");
            return std::future::pending().await;
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    tracing::info!("shutting down");
}

/// Returns the exit code of a role and logs its error with all causes, once. Lines and spans that are left are sent.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    let code = match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if tracing::dispatcher::has_been_set() {
                tracing::error!(error = format!("{error:#}"), "ended by an error");
            } else {
                // There is no log where its own settings are wrong.
                eprintln!("{error:#}");
            }
            ExitCode::FAILURE
        }
    };
    end();
    code
}

/// Sends the log lines and spans that are left, for a short time at most; call once, last.
pub fn end() {
    std::thread::scope(|threads| {
        threads.spawn(trace::end);
        logs::end();
    });
}

/// Returns an error and its causes on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(current) = cause {
        line = format!("{line}: {current}");
        cause = current.source();
    }
    line
}
