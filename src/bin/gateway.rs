//! The gateway's executable: `run` serves, `check` asks a gateway that does, `key` makes an API key, `openapi`
//! describes the API.

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use imagebatch::gateway::check::{self, CheckArgs};
use imagebatch::gateway::key::{self, KeyArgs};
use imagebatch::gateway::{self, GatewayArgs, openapi};
use imagebatch::telemetry::{self, LogArgs};

/// Takes CSVs over HTTP, and serves status, reports and images.
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
    /// Run the gateway.
    Run(Box<GatewayArgs>),
    /// Check a running gateway: exits 0 when it answers as it should.
    Check(CheckArgs),
    /// Make an API key; prints it, and what the Secret of API keys must hold for it.
    Key(KeyArgs),
    /// Print the OpenAPI document.
    Openapi,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    telemetry::exit_code(telemetry::start(&cli.log, "gateway").and_then(|()| match cli.command {
        Command::Run(args) => telemetry::block_on(gateway::serve(&args)),
        Command::Check(args) => telemetry::block_on(check::check(&args)),
        Command::Key(args) => key::create(&args),
        Command::Openapi => Ok(std::io::stdout().write_all(openapi::text().as_bytes())?),
    }))
}
