//! What a process gives up before it reads a stranger's bytes, for good.
//!
//! | given up | by |
//! |---|---|
//! | network, files, processes, signals to others, other descriptors | the filter of system calls (`filter.rs`) |
//! | memory without bound | `RLIMIT_AS` |
//! | writing files, opening descriptors, memory dumps | `RLIMIT_FSIZE`, `RLIMIT_NOFILE`, `RLIMIT_CORE`, not dumpable |
//! | privileges of the executables it might start | no new privileges |
//! | outliving its parent | the parent-death signal |

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::{io, process, stdio};

use super::filter;

/// Why a process could not confine itself.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// The kernel refused one of the steps.
    #[error("failed to {action}")]
    Restrict {
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Errno,
    },
    /// The filter of system calls could not be built, or the kernel does not know such filters.
    #[error("failed to filter system calls")]
    Filter(#[from] seccompiler::Error),
    /// The filter is written for `x86_64` and aarch64.
    #[error("failed to filter system calls of this processor")]
    Processor(#[from] seccompiler::BackendError),
}

/// Confines this process to its standard streams and `memory` bytes of address space. What it does beyond
/// that kills it (`SIGSYS`), or fails.
pub fn confine(memory: u64) -> Result<(), ConfineError> {
    // The parent reads standard error only at the end: nothing may wait for it.
    restrict("set standard error non-blocking", fcntl_setfl(stdio::stderr(), OFlags::NONBLOCK))?;
    // Of the thread that started it, to be exact: threads of a runtime live as long as it does.
    restrict("bind its life to the parent's", process::set_parent_process_death_signal(Some(Signal::KILL)))?;
    limit("limit its address space", Resource::As, memory)?;
    limit("forbid memory dumps", Resource::Core, 0)?;
    // A pipe as the node's core_pattern takes dumps of any size.
    restrict("forbid memory dumps", process::set_dumpable_behavior(DumpableBehavior::NotDumpable))?;
    limit("forbid files", Resource::Fsize, 0)?;
    limit("forbid descriptors", Resource::Nofile, 3)?;
    // It also gives up new privileges.
    seccompiler::apply_filter_all_threads(&filter::program()?)?;
    Ok(())
}

fn limit(action: &'static str, resource: Resource, most: u64) -> Result<(), ConfineError> {
    restrict(action, process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }))
}

fn restrict(action: &'static str, result: io::Result<()>) -> Result<(), ConfineError> {
    result.map_err(|source| ConfineError::Restrict { action, source })
}
