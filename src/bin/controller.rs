//! The controller's executable: `run`, and `crd` to print the CustomResourceDefinition.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use imagebatch::api::image_batch;
use imagebatch::controller::{self, context::ControllerArgs};
use imagebatch::telemetry::{self, LogArgs};

/// Brings ImageBatches to their end by Jobs.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the controller.
    Run(Box<ControllerArgs>),
    /// Print the CustomResourceDefinition as YAML.
    Crd,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::exit_code(telemetry::start(&cli.log, "controller").and_then(|()| match cli.command {
        Command::Run(args) => telemetry::block_on(controller::serve(&args)),
        Command::Crd => Ok(std::io::stdout().write_all(image_batch::crd_yaml()?.as_bytes())?),
    }))
}
