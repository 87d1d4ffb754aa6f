//! The compressor's executable: the stages of a batch, and `compress-file` for local files.

use std::process::ExitCode;

use clap::Parser;
use imagebatch::compressor::{self, Command, CompressorArgs};
use imagebatch::telemetry;

fn main() -> ExitCode {
    let args = CompressorArgs::parse();
    let work = match args.command {
        Command::Work(work) => work,
        // It has no use for a log, and confines itself before there are threads.
        Command::CodecChild(child) => return codec_child(&child),
    };
    match telemetry::start(&args.log).and_then(|()| telemetry::block_on(async { Ok(compressor::run(work).await) })) {
        Ok(Err(error)) => {
            let code = error.exit_code();
            let failure = telemetry::exit_code(Err(error.into()));
            code.map_or(failure, ExitCode::from)
        }
        result => telemetry::exit_code(result.map(drop)),
    }
}

/// Its parent reads standard error when it ends.
fn codec_child(args: &compressor::sandbox::child::CodecChildArgs) -> ExitCode {
    match compressor::sandbox::child::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}
