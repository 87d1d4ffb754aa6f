//! `kubectl imagebatch`: what a user does with batches, from a terminal.
//!
//! ```text
//! validate                                   the file alone
//! submit, status, list, watch, retry, cancel API server: ImageBatches, and ConfigMaps of small files
//! large submits, output, failures            gateway: through a port-forward, or at its URL
//! logs, key, doctor                          API server: pods, the Secret of API keys, everything
//! ```
//!
//! Results go to standard output; progress, notes and errors to standard error. docs/kubectl-plugin.md explains
//! each command and the exit codes.

pub mod args;

mod bars;
mod cancel;
mod cluster;
mod diagnostic;
mod doctor;
mod failures;
mod follow;
mod gateway;
mod key;
mod line;
mod list;
mod logs;
mod options;
mod output;
mod print;
mod reference;
mod retry;
mod status;
mod submit;
mod validate;
mod watch;

use std::process::ExitCode;

use args::{Cli, Command};
use cluster::Cluster;
use gateway::Gateway;

/// How a command ended, as its exit code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Everything that was asked for is done.
    Done,
    /// The batch ran to its end and some images have no result, or `validate` left rows out.
    Partial,
    /// The batch failed or was stopped, the CSV is not valid, or `doctor` found a fault.
    Failed,
    /// Ctrl-C while a batch was waited for; it goes on.
    Interrupted,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        // 1 is for commands that could not be carried out.
        Self::from(match end {
            End::Done => 0,
            End::Partial => 2,
            End::Failed => 3,
            End::Interrupted => 130,
        })
    }
}

/// Carries a command out.
pub async fn run(cli: Cli) -> anyhow::Result<End> {
    let Cli { connection, command } = cli;
    match command {
        Command::Validate(args) => return validate::validate(&args),
        Command::Completion(args) => return reference::completion(&args),
        Command::Man(args) => return reference::man(&args),
        _ => {}
    }
    let cluster = Cluster::connect(&connection.cluster).await?;
    let gateway = Gateway::new(&cluster, connection.gateway);
    match command {
        Command::Submit(args) => submit::submit(&cluster, &gateway, &args).await,
        Command::Status(args) => status::status(&cluster, &gateway, &args).await,
        Command::List(args) => list::list(&cluster, &gateway, &args).await,
        Command::Watch(args) => watch::watch(&cluster, &args).await,
        Command::Failures(args) => failures::failures(&cluster, &gateway, &args).await,
        Command::Output(args) => output::output(&cluster, &gateway, &args).await,
        Command::Retry(args) => retry::retry(&cluster, &args).await,
        Command::Cancel(args) => cancel::cancel(&cluster, &args).await,
        Command::Logs(args) => logs::logs(&cluster, &args).await,
        Command::Key(args) => key::key(&cluster, &gateway, &args).await,
        Command::Doctor(args) => doctor::doctor(&cluster, &gateway, &args).await,
        Command::Validate(_) | Command::Completion(_) | Command::Man(_) => Ok(End::Done),
    }
}

/// Returns whether an error says that nobody reads standard output any more.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kinds = error.chain().filter_map(|it| it.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kinds.into_iter().any(|it| it == std::io::ErrorKind::BrokenPipe)
}
