//! A codec child that does what the image says, after it confined itself.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use codec::{Compressed, Error, Format};
use imagebatch::compressor::sandbox::child::serve;
use imagebatch::compressor::sandbox::confine::confine;
use imagebatch::compressor::sandbox::{Sandbox, Settings};

/// First argument of a process that is a codec child.
pub(crate) const CHILD: &str = "misbehaving-codec-child";
/// First argument of one that cannot confine itself.
pub(crate) const UNCONFINED: &str = "unconfined-codec-child";
/// First argument of one that has a child that hangs.
pub(crate) const PARENT: &str = "parent-of-a-hanging-child";

/// Address space of the children.
const MEMORY: u64 = 512 << 20;
/// Most bytes of a result.
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// Returns a pool of these children.
pub(crate) fn sandbox(threads: usize, timeout: Duration) -> Sandbox {
    sandbox_of(CHILD, threads, timeout)
}

pub(crate) fn sandbox_of(argument: &str, threads: usize, timeout: Duration) -> Sandbox {
    let program = std::env::current_exe().expect("this executable");
    Sandbox::new(Settings { program, arguments: vec![argument.to_owned()], threads, timeout, max_bytes: MAX_BYTES })
}

pub(crate) fn unconfined() -> ExitCode {
    eprintln!("there is no seccomp here");
    ExitCode::FAILURE
}

pub(crate) fn run() -> ExitCode {
    let parent = rustix::process::getppid().expect("a parent");
    let variables = std::env::vars_os().count();
    // Never closed, as one that a parent forgot.
    let inherited = std::mem::ManuallyDrop::new(std::fs::File::open("/etc/passwd").expect("a file"));
    confine(MEMORY).expect("this system has seccomp");
    let served = serve(MAX_BYTES, |source, _| match source {
        b"hang" => loop {
            std::hint::spin_loop();
        },
        b"panic" => panic!("the codec has a fault"),
        b"abort" => std::process::abort(),
        b"overflow the stack" => Ok(answer(recurse(0).to_string())),
        b"allocate at once" => Ok(answer(vec![1; 8 << 30])),
        b"allocate bit by bit" => {
            let mut hoard = Vec::new();
            loop {
                hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            }
        }
        b"open a file" => Ok(answer(std::fs::read("/etc/passwd").unwrap_or_default())),
        b"read an inherited file" => Ok(answer(std::io::read_to_string(&*inherited).unwrap_or_default())),
        b"open a socket" => Ok(answer(std::net::TcpStream::connect("127.0.0.1:1").is_ok().to_string())),
        b"start a process" => Ok(answer(std::process::Command::new("/bin/true").status().is_ok().to_string())),
        b"end the parent" => {
            let killed = rustix::process::kill_process(parent, rustix::process::Signal::KILL);
            Ok(answer(killed.is_ok().to_string()))
        }
        b"lift a limit" => {
            let most = rustix::process::Rlimit { current: None, maximum: None };
            let lifted = rustix::process::setrlimit(rustix::process::Resource::As, most);
            Ok(answer(lifted.is_ok().to_string()))
        }
        b"write much to standard error" => {
            let mut errors = std::io::stderr().lock();
            let written = (0..1_000).filter(|_| errors.write_all(&[b'.'; 1_000]).is_ok()).count();
            Ok(answer(written.to_string()))
        }
        b"answer with garbage" => {
            let mut output = std::io::stdout().lock();
            output.write_all(&[0xff; 64]).and_then(|()| output.flush()).expect("the pipe is open");
            Err(Error::NotAnImage("garbage"))
        }
        b"answer with too much" => Ok(answer(vec![1; MAX_BYTES + 1])),
        b"count variables" => Ok(answer(variables.to_string())),
        b"name yourself" => Ok(answer(std::process::id().to_string())),
        echo => Ok(answer(echo)),
    });
    served.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn answer(bytes: impl Into<Vec<u8>>) -> Compressed {
    Compressed {
        format: Format::Png,
        source_format: Format::Png,
        width: 1,
        height: 1,
        source_quality: 100,
        quality: 50,
        quality_floor: false,
        bytes: Some(bytes.into()),
    }
}

#[expect(unconditional_recursion, reason = "it is to overflow the stack")]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 512]);
    recurse(frame[0] + 1) + frame[1]
}
