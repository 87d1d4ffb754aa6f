//! The codec's sandbox with children that misbehave as a codec in a stranger's hands would.
//!
//! The children are processes of this executable: they confine themselves and serve as the real ones
//! do, but do what the "image" says. So this file has a main function of its own.

mod child;
mod lives;
mod misbehaviour;
mod pool;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some(child::CHILD) => child::run(),
        Some(child::UNCONFINED) => child::unconfined(),
        Some(child::PARENT) => lives::parent(),
        _ => {
            let trials = misbehaviour::trials().into_iter().chain(lives::trials()).chain(pool::trials());
            libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
        }
    }
}

/// A test that runs on a runtime of its own and fails by a panic.
fn trial<F: Future<Output = ()> + 'static>(name: &'static str, test: fn() -> F) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failed::from)?;
        runtime.block_on(test());
        Ok(())
    })
}
