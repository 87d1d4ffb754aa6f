//! The system calls of a codec child: memory, its three pipes, and its own end. Any other kills it.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Calls that are harmless with any argument.
const ALLOWED: [i64; 20] = [
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Locks, also of the allocator, and seeds of hash tables.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    // Where the kernel does not serve it from memory.
    libc::SYS_clock_gettime,
    libc::SYS_getpid,
    libc::SYS_gettid,
    // The C library asks for the sizes of memory and machine before it sorts or allocates.
    libc::SYS_sysinfo,
    libc::SYS_sched_getaffinity,
    // What the runtime does around a stack overflow, a panic and an abort.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Returns the filter for this process.
pub(super) fn program() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    let word = SeccompCmpArgLen::Dword;
    let is = |value: u64| SeccompCondition::new(0, word.clone(), SeccompCmpOp::Eq, value);
    let bits = |argument: u8, mask: i32, value: i32| {
        SeccompCondition::new(argument, word.clone(), SeccompCmpOp::MaskedEq(mask as u64), value as u64)
    };
    let mut allow = |call: i64, conditions: Vec<SeccompCondition>| -> Result<(), BackendError> {
        rules.entry(call).or_default().push(SeccompRule::new(conditions)?);
        Ok(())
    };
    // Descriptors that the parent may have inherited and not closed stay out of reach.
    allow(libc::SYS_read, vec![is(0)?])?;
    for stream in [1, 2] {
        allow(libc::SYS_write, vec![is(stream)?])?;
        allow(libc::SYS_writev, vec![is(stream)?])?;
    }
    // No new code, and nothing of a file.
    let not_executable = || bits(2, libc::PROT_EXEC, 0);
    allow(libc::SYS_mmap, vec![not_executable()?, bits(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS)?])?;
    allow(libc::SYS_mprotect, vec![not_executable()?])?;
    // An abort is a signal to itself; a signal to the parent is not.
    allow(libc::SYS_tgkill, vec![is(std::process::id().into())?])?;
    let target = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, target)?.try_into()
}
