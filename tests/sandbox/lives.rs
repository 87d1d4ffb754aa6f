//! How long children live: as their parent, as the image that is waited for, and not without bounds.

use std::io::Write;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use imagebatch::api::compression::Compression;
use imagebatch::compressor::sandbox::Sandbox;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::child::{PARENT, sandbox};
use crate::trial;

/// No child takes longer.
const LONG: Duration = Duration::from_secs(600);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_child_that_hangs_ends_with_its_parent", a_child_that_hangs_ends_with_its_parent),
        trial("a_child_ends_with_the_image_that_nobody_waits_for", a_child_ends_with_its_image),
        trial("children_end_with_the_pool", children_end_with_the_pool),
        trial("a_child_that_was_killed_while_it_waited_costs_nothing", a_killed_child_costs_nothing),
    ]
}

/// Has a child, prints its process id, and lets it hang.
pub(crate) fn parent() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let sandbox = sandbox(1, LONG);
        let child = id(&sandbox).await.as_raw_nonzero();
        writeln!(std::io::stdout(), "{child}").expect("a pipe");
        let hung = sandbox.compress(b"hang", &Compression::default()).await;
        panic!("it hangs, but {hung:?}");
    })
}

async fn a_child_that_hangs_ends_with_its_parent() {
    let mut command = tokio::process::Command::new(std::env::current_exe().expect("this executable"));
    let mut parent = command.arg(PARENT).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("a process");
    let mut lines = BufReader::new(parent.stdout.take().expect("a pipe")).lines();
    let child = lines.next_line().await.expect("a pipe").expect("a line");
    let child = Pid::from_raw(child.parse().expect("a number")).expect("a process id");
    until("the child works", || is_hanging(child)).await;
    parent.kill().await.expect("it can be killed");
    until("the child is gone", || is_dead(child)).await;
}

async fn a_child_ends_with_its_image() {
    let sandbox = sandbox(1, LONG);
    let child = id(&sandbox).await;
    let options = Compression::default();
    tokio::select! {
        hung = sandbox.compress(b"hang", &options) => panic!("it hangs, but {hung:?}"),
        () = until("the child works", || is_hanging(child)) => {}
    }
    until("the child is gone", || is_dead(child)).await;
    let next = sandbox.compress(b"next", &options).await.expect("a child").expect("a result");
    assert_eq!(next.bytes.as_deref(), Some(b"next".as_slice()));
}

async fn children_end_with_the_pool() {
    let sandbox = sandbox(1, LONG);
    let child = id(&sandbox).await;
    assert_eq!(id(&sandbox).await, child, "a child is kept for the next image");
    drop(sandbox);
    until("the child is gone", || is_dead(child)).await;
}

async fn a_killed_child_costs_nothing() {
    let sandbox = sandbox(1, LONG);
    let child = id(&sandbox).await;
    kill_process(child, Signal::KILL).expect("it lives");
    until("the child is dead", || is_dead(child)).await;
    assert_ne!(id(&sandbox).await, child);
}

async fn id(sandbox: &Sandbox) -> Pid {
    let named = sandbox.compress(b"name yourself", &Compression::default()).await.expect("a child");
    let text = String::from_utf8(named.expect("a result").bytes.expect("a number")).expect("a number");
    Pid::from_raw(text.parse().expect("a number")).expect("a process id")
}

/// Returns what Linux says of a process from its state on; nothing when there is no such process.
fn stat(process: Pid) -> Option<Vec<String>> {
    let line = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).ok()?;
    // Behind the name, which is in parentheses.
    Some(line.rsplit(") ").next()?.split(' ').map(str::to_owned).collect())
}

/// Returns whether a process has spent so much time that it must be what hangs: a start takes a tenth of it.
fn is_hanging(process: Pid) -> bool {
    let ticks = stat(process).and_then(|it| it.get(11)?.parse::<u64>().ok());
    ticks.is_some_and(|ticks| ticks >= 20)
}

/// Returns whether a process has ended; its parent, or a runtime of another test, may not have asked yet.
fn is_dead(process: Pid) -> bool {
    stat(process).is_none_or(|it| it[0] == "Z")
}

async fn until(what: &str, met: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !met() {
            tokio::task::yield_now().await;
        }
    });
    assert!(waited.await.is_ok(), "in a minute: {what}");
}
