//! What every binary does first: one TLS provider, structured logs, and one way to end.

use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::failpoint;

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

/// Installs the TLS provider and the subscriber; call once, before anything else.
pub fn start(args: &LogArgs) -> anyhow::Result<()> {
    // The crates below would each be content with another provider; rustls panics when it must choose.
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let filter =
        EnvFilter::try_new(&args.filter).map_err(|error| anyhow::anyhow!("--log {:?}: {error}", args.filter))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if args.format == "json" {
        subscriber.json().flatten_event(true).with_current_span(true).with_span_list(false).init();
    } else {
        subscriber.init();
    }
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

/// Returns the exit code of a role and logs its error with all causes, once.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "ended by an error");
            ExitCode::FAILURE
        }
    }
}
