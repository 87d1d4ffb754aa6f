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
    let start = telemetry::start(&args.log, "compressor");
    match start.and_then(|()| telemetry::block_on(async { Ok(compressor::run(work).await) })) {
        // It is logged already, where its batch was known.
        Ok(Err(error)) => {
            telemetry::end();
            error.exit_code().map_or(ExitCode::FAILURE, ExitCode::from)
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
