//! The kubectl plugin's executable: kubectl runs it as `kubectl imagebatch`.

use std::process::ExitCode;

use imagebatch::plugin::{self, args::Cli};
use imagebatch::telemetry;

fn main() -> ExitCode {
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to read it.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    // rustls panics when it must choose between providers; nobody has installed one before.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match telemetry::block_on(plugin::run(cli)) {
        Ok(end) => end.into(),
        // Who reads only the first lines closes the pipe.
        Err(error) if plugin::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
