//! The commands and their options.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::cluster::ClusterArgs;
use super::gateway::GatewayArgs;
use super::{cancel, doctor, failures, key, list, logs, output, reference, retry, status, submit, validate, watch};

/// Exit codes, as `--help` and the man page have them.
const EXIT_CODES: &str = "\
Exit codes:
  0    everything that was asked for is done
  1    it could not be done: a wrong option, no answer of the cluster or the gateway, no right
  2    partly: the batch ran to its end and some images have no result; validate left rows out
  3    the batch failed or was stopped, the CSV is not valid, or doctor found a fault
  130  Ctrl-C while waiting; the batch goes on";

/// Compress the images of a product CSV on Kubernetes.
#[derive(Parser, Debug)]
#[command(name = "kubectl-imagebatch", version, after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// Where the cluster and the gateway are.
    #[command(flatten)]
    pub(super) connection: Connection,
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Cli {
    /// Reads the command line; help speaks of it as kubectl's users type it.
    pub fn read() -> Result<Self, clap::Error> {
        let matches = Self::command().bin_name("kubectl imagebatch").try_get_matches()?;
        Self::from_arg_matches(&matches)
    }
}

/// Where the cluster and the gateway are.
#[derive(clap::Args, Debug)]
pub(super) struct Connection {
    #[command(flatten)]
    pub(super) cluster: ClusterArgs,
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Check a CSV and make a batch of it.
    Submit(submit::SubmitArgs),
    /// Check a CSV as the gateway would, without a cluster.
    Validate(validate::ValidateArgs),
    /// Show a batch.
    Status(status::StatusArgs),
    /// List batches, the youngest first.
    List(list::ListArgs),
    /// Follow a batch to its end, or the changes of all batches.
    Watch(watch::WatchArgs),
    /// List the images of a batch that have no result, and why.
    Failures(failures::FailuresArgs),
    /// Download the CSV with the new URLs.
    Output(output::OutputArgs),
    /// Fetch a batch's failed images again, by a new batch.
    Retry(retry::RetryArgs),
    /// Stop a batch; what is done is kept and reported.
    Cancel(cancel::CancelArgs),
    /// Print the logs of a batch's pods.
    Logs(logs::LogsArgs),
    /// Make, list and revoke API keys of the gateway.
    Key(key::KeyArgs),
    /// Check the installation and your rights, and say how to mend what is wrong.
    Doctor(doctor::DoctorArgs),
    /// Print a script that completes commands in a shell.
    Completion(reference::CompletionArgs),
    /// Write man pages.
    Man(reference::ManArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
