//! The compressor's executable: the stages of a batch, and `compress-file` for local files.

use std::process::ExitCode;

use clap::Parser;
use imagebatch::compressor::{self, CompressorArgs};
use imagebatch::telemetry;

fn main() -> ExitCode {
    let args = CompressorArgs::parse();
    match telemetry::start(&args.log)
        .and_then(|()| telemetry::block_on(async { Ok(compressor::run(args.command).await) }))
    {
        Ok(Err(error)) if error.is_permanent() => {
            telemetry::exit_code(Err(error.into()));
            ExitCode::from(compressor::PERMANENT_EXIT_CODE)
        }
        result => telemetry::exit_code(result.and_then(|stage| Ok(stage?))),
    }
}
